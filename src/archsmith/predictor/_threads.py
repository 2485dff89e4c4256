"""Arithmetic of small networks on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def one_thread(torch: ModuleType) -> Iterator[None]:
    """One thread and gradients inside the block: for so small a network a second thread only costs time.

    With several threads, sums are also rounded differently from one call to the next.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(before)
