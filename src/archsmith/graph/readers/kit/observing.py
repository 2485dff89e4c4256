"""Observe every operator that runs, after torch has split composite operators."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class Observer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator that runs in its ``with`` block, with the result."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch wraps every call to hide it from its compiler, which takes as long as the call

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
