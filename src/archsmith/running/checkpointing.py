"""Activation checkpointing: backward recomputes activations in the same subnet that ran forward.

``torch.utils.checkpoint`` calls the checkpointed function again during backward, when the shadows are already removed.
For the length of a call, the two names through which that module keeps the function are replaced by wrappers that store
the running subnets and enter them again. Verified against the sources of torch 2.13.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.utils import checkpoint as torch_checkpoint

Enter = Callable[[], AbstractContextManager[object]]
"""Makes a subnet the running one, for the length of a ``with`` block."""

_lock = threading.Lock()
_installed = 0
_reentrant = torch_checkpoint.CheckpointFunction
_generator = torch_checkpoint._checkpoint_without_reentrant_generator


class _Running(threading.local):
    def __init__(self) -> None:
        self.stack: tuple[Enter, ...] = ()


_running = _Running()


@contextmanager
def recomputable(enter: Enter) -> Iterator[None]:
    """Inside, functions that are checkpointed by this thread will be recomputed in the subnet that ``enter`` runs."""
    before = _running.stack
    _running.stack = (*before, enter)
    _install(+1)
    try:
        yield
    finally:
        _install(-1)
        _running.stack = before


def _install(change: int) -> None:
    global _installed  # noqa: PLW0603 - torch.utils.checkpoint is one per process
    with _lock:
        _installed += change
        if change > 0 and _installed == 1:
            torch_checkpoint.CheckpointFunction = _Reentrant  # type: ignore[assignment, misc]
            torch_checkpoint._checkpoint_without_reentrant_generator = _without_reentrant  # type: ignore[assignment]
        elif _installed == 0:
            torch_checkpoint.CheckpointFunction = _reentrant  # type: ignore[misc]
            torch_checkpoint._checkpoint_without_reentrant_generator = _generator


def _under_running(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` that enters the subnets running now whenever it is called."""
    stack = _running.stack
    if not stack:
        return function  # another thread, outside of every supernet

    @wraps(function, updated=())
    def again(*args: Any, **kwargs: Any) -> Any:
        with ExitStack() as entered:
            # Making the slices saves tensors for backward that the function did not save. Hide them from the
            # checkpoint's own hooks, which count the tensors that the function saves.
            with torch.autograd.graph.saved_tensors_hooks(_unchanged, _unchanged):
                for enter in stack:
                    entered.enter_context(enter())
            return function(*args, **kwargs)

    return again


def _unchanged(tensor: Tensor) -> Tensor:
    return tensor


class _Reentrant:
    """Stands in for ``CheckpointFunction``."""

    @staticmethod
    def apply(function: Callable[..., Any], *args: Any) -> Any:
        return _reentrant.apply(_under_running(function), *args)  # type: ignore[no-untyped-call]


def _without_reentrant(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return _generator(_under_running(function), *args, **kwargs)
