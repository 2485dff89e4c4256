"""Folders of images, one folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import final

import numpy as np

from archsmith.data._images import encoded_loader
from archsmith.data.base import Collection, DataSource
from archsmith.errors import InvalidData
from archsmith.method import OURS

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
SPLIT_FOLDERS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}


@final
class ImageFolder(DataSource):
    """A folder ``train/CLASS/*.png`` with optional ``val`` and ``test``, or ``CLASS/*.png``.

    Images are sorted by path; images anywhere below a class folder belong to the class.
    """

    paper = OURS
    accepts = "a folder of images as train/CLASS/*.png (val/ and test/ beside it are optional) or CLASS/*.png"

    @classmethod
    def recognises(cls, spec: str) -> bool:
        """Any folder without tables."""
        tables = ("*.parquet", "train*.tsv", "train*.csv", "dataset_dict.json", "state.json")
        return Path(spec).is_dir() and not any(any(Path(spec).glob(pattern)) for pattern in tables)

    def read(self, spec: str) -> Collection:
        """The classes are the names of the folders, hidden ones left out."""
        files: list[Path] = []
        labels: list[str] = []
        splits: list[int] = []
        for folder, code in _split_folders(Path(spec)):
            for of_class in _folders(folder):
                found = sorted(f for f in of_class.rglob("*") if f.suffix.lower() in EXTENSIONS and f.is_file())
                files += found
                labels += [of_class.name] * len(found)
                splits += [code] * len(found)
        if not files:
            raise InvalidData(
                f"no images found in {spec!r}; expected train/CLASS/IMAGE or CLASS/IMAGE, with one of the extensions "
                f"{' '.join(EXTENSIONS)}"
            )
        load = encoded_loader(files.__getitem__, lambda i: str(files[i]))
        return Collection(np.array(labels), np.array(splits, np.int8), load)


def _split_folders(root: Path) -> list[tuple[Path, int]]:
    # A class may be called "train" as well: a split is a folder of folders.
    found = [
        (f, SPLIT_FOLDERS[f.name.lower()]) for f in _folders(root) if f.name.lower() in SPLIT_FOLDERS and _folders(f)
    ]
    if not any(code == 0 for _, code in found):
        if found:
            raise InvalidData(
                f"{root} has {', '.join(f.name for f, _ in found)} but no folder 'train'; put the training images there"
            )
        return [(root, 0)]
    return found


def _folders(root: Path) -> list[Path]:
    return sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith("."))
