"""Which file of a folder is which split, by its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from archsmith.data.base import SPLITS
from archsmith.errors import InvalidData

NAMES = {"train": ("train",), "val": ("val", "valid", "validation", "dev"), "test": ("test",)}
"""Split -> how its file is called, before ``-00000-of-00002`` and the suffix."""


def split_code(stem: str) -> int | None:
    """Position in ``SPLITS`` of the split that a file of this name holds; ``None`` for none."""
    name = stem.partition("-")[0].lower()
    return next((code for code, split in enumerate(SPLITS) if name in NAMES[split]), None)


def split_files(path: Path, suffixes: Sequence[str]) -> list[tuple[int, str, Path]]:
    """Split code, name for messages, and file: of a folder of them, or of one file, which is all training data.

    Raises:
        InvalidData: where there is no such file, or no training split.
    """
    if not path.exists():
        raise InvalidData(f"there is no file {str(path)!r}")
    if path.is_file():
        return [(0, path.name, path)]
    there = sorted(f for suffix in suffixes for f in path.glob(f"*{suffix}"))
    found = [(code, f.name, f) for f in there if (code := split_code(f.stem)) is not None]
    if not any(code == 0 for code, _, _ in found):
        raise InvalidData(
            f"{path} has {', '.join(f.name for f in there)} but no train{suffixes[0]}; name the training table so"
        )
    return sorted(found)
