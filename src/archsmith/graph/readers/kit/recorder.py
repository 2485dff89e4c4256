"""One run of a module in which a watcher sees every operator and every call of a module."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from archsmith.graph.readers.kit.shapes import Quick

Inputs = tuple[tuple[Any, ...], Mapping[str, Any]]
"""Positional inputs of one call and those by name."""


def meta_copy(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose parameters and buffers have shapes and no memory."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().to("meta")
    copied: nn.Module = copy.deepcopy(model, memo)
    return copied.eval()


def on_meta(inputs: Inputs) -> Inputs:
    """The same inputs without memory."""
    moved: Inputs = torch.utils._pytree.tree_map(lambda x: x.to("meta") if isinstance(x, Tensor) else x, inputs)
    return moved


@contextmanager
def slow_attention() -> Iterator[None]:
    """PyTorch's own attention as operators, not as one fused kernel for inference."""
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)


class Watcher(Protocol):
    """Sees what runs, in the order in which it runs."""

    def entered(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """The module ``name`` is called."""

    def left(self, name: str, output: Any) -> None:
        """The module ``name`` has returned."""

    def operator(self, function: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """The operator ``function`` was called; ``name`` is without namespace and overload."""


def record(
    model: nn.Module, inputs: Inputs, watcher: Watcher, *, within: AbstractContextManager[Any] | None = None
) -> Any:
    """The outputs of one call without gradients, which ``watcher`` sees.

    Args:
        model: in the mode in which it is to run; its hooks are as before afterwards.
        inputs: of the call.
        watcher: sees modules and operators.
        within: entered for the length of the call, innermost.
    """
    with ExitStack() as stack:
        for handle in _hooks(model, watcher):
            stack.callback(handle.remove)
        for context in (torch.no_grad(), slow_attention(), _Dispatched(watcher), within or nullcontext()):
            stack.enter_context(context)
        return model(*inputs[0], **inputs[1])


def _hooks(model: nn.Module, watcher: Watcher) -> Iterator[RemovableHandle]:
    for name, module in model.named_modules():
        yield module.register_forward_pre_hook(partial(_enter, watcher, name), with_kwargs=True)
        yield module.register_forward_hook(partial(_leave, watcher, name), always_call=False)


def _enter(watcher: Watcher, name: str, _module: nn.Module, args: Any, kwargs: Any) -> None:
    watcher.entered(name, args, kwargs)


def _leave(watcher: Watcher, name: str, _module: nn.Module, _args: Any, output: Any) -> None:
    watcher.left(name, output)


class _Dispatched(Quick):  # type: ignore[no-untyped-call]
    """Passes every operator to a watcher."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__({})
        self._watcher = watcher

    def seen(self, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        self._watcher.operator(func, name, args, kwargs, result)
