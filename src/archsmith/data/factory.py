"""Data that a function of the user's makes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from archsmith.data._arrays import ACCEPTED, array_loader, as_pixels, collection_of
from archsmith.data._texts import TextData
from archsmith.data._tokenizers import refuse_resize
from archsmith.data.base import Collection, Data, DataSource, OnProgress, Tokens
from archsmith.errors import ArchsmithError, InvalidData
from archsmith.method import OURS, import_object, importable_here


@final
class Factory(DataSource):
    """Data from a function of yours: ``module:factory``, importable from the current folder, called without arguments.

    It returns what ``open_data`` gives, a mapping of arrays with the names of an ``.npz`` file, or a pair
    ``(images, labels)``.
    """

    paper = OURS
    accepts = f"module:factory, a function that returns a Data, a dict of arrays ({ACCEPTED}) or a pair (x, y)"

    @classmethod
    def recognises(cls, spec: str) -> bool:
        """Two dotted names with a colon between them."""
        return re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", spec) is not None

    def read(self, spec: str) -> Collection:
        """What the function returns, checked like any other data."""
        with importable_here():
            make = import_object(spec, what="data")
            if not callable(make):
                raise InvalidData(f"{spec!r} is a {type(make).__name__}, not a function that returns data")
            try:
                found = make()
            except ArchsmithError:
                raise
            except Exception as error:
                raise InvalidData(f"{spec!r} failed with {type(error).__name__}: {error}") from error
        if isinstance(found, Data):
            return _from_data(found, spec)
        if isinstance(found, TextData):
            return _from_texts(found, spec)
        if isinstance(found, tuple | list) and len(found) == 2:
            found = {"x": found[0], "y": found[1]}
        if not isinstance(found, Mapping):
            raise InvalidData(f"{spec!r} returned a {type(found).__name__}; expected: {self.accepts}")
        return collection_of(found, repr(spec))


def _from_data(data: Data, spec: str) -> Collection:
    parts: list[Any] = [data.train, data.val, data.test]
    images = np.concatenate([as_pixels(part.images, f"images of {spec!r}") for part in parts])
    splits = np.repeat(np.arange(3), [len(part) for part in parts]).astype(np.int8)
    labels = np.concatenate([part.labels for part in parts])
    return Collection(labels, splits, array_loader(images), data.classes, (data.mean, data.std), data.notes)


def _from_texts(data: TextData, spec: str) -> Collection:
    parts = (data.train, data.val, data.test)
    inputs = {name: np.concatenate([part.inputs[name] for part in parts]) for name in data.train.inputs}
    splits = np.repeat(np.arange(3), [len(part) for part in parts]).astype(np.int8)

    def load(chosen: NDArray[np.intp], *, resize: int | None, on_progress: OnProgress | None) -> Tokens:
        refuse_resize(resize, spec)
        if on_progress is not None:
            on_progress(len(chosen), len(chosen))
        return Tokens({name: array[chosen] for name, array in inputs.items()}, data.vocabulary)

    labels = np.concatenate([part.labels for part in parts])
    return Collection(labels, splits, load, data.classes, notes=data.notes, noun="text")
