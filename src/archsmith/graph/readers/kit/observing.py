"""Seeing every operator that runs, below everything that torch takes apart by itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class Observer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operators that run in a ``with`` block are seen with their results."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would wrap every call so that its compiler leaves it alone: that takes as long as the call

    @abstractmethod
    def seen(self, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """One operator ran; ``name`` is without namespace and overload."""

    def run(self, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """The operator's result."""
        return func(*args, **kwargs)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = _named(func)
        result = self.run(func, name, args, kwargs or {})
        self.seen(func, name, args, kwargs or {}, result)
        return result


@cache
def _named(func: Any) -> str:
    name: str = func._schema.name.partition("::")[2]
    return name
