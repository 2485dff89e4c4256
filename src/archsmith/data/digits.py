"""scikit-learn's handwritten digits."""

from __future__ import annotations

from typing import final

import numpy as np

from archsmith.data._arrays import array_loader
from archsmith.data.base import Collection, DataSource
from archsmith.errors import require
from archsmith.method import Paper


@final
class Digits(DataSource):
    """Handwritten digits: 1,797 grey images of 8x8 pixels, embedded in scikit-learn, so nothing is downloaded."""

    paper = Paper(
        authors="Alpaydin, E. and Kaynak, C.",
        title="Optical Recognition of Handwritten Digits",
        year=1998,
        venue="UCI Machine Learning Repository",
        doi="10.24432/C50P49",
    )
    accepts = "'digits' (8x8 grey images that come with scikit-learn)"

    @classmethod
    def recognises(cls, spec: str) -> bool:
        """The name itself."""
        return spec == "digits"

    def read(self, spec: str) -> Collection:
        """All images in one split."""
        datasets = require("sklearn.datasets", extra="torch", purpose=f"The data {spec!r}")
        found = datasets.load_digits()
        images = np.rint(found.images[:, None] * (255 / 16)).astype(np.uint8)  # the source counts ink in 0..16
        return Collection(found.target, np.zeros(len(images), np.int8), array_loader(images))
