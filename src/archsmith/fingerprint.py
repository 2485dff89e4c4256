"""Fingerprints: sixteen hexadecimal digits that are equal for equal data."""

from __future__ import annotations

import hashlib


def fingerprint_of(*parts: str | float) -> str:
    """The fingerprint of plain parts, in order.

    >>> fingerprint_of("accuracy", 7)
    '5aa07af036c914e3'
    """
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
