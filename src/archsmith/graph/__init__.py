"""Architectures as operator graphs."""

from __future__ import annotations

from archsmith.graph.batch import ABSENT, GraphBatch
from archsmith.graph.isomorphism import signatures

__all__ = ["ABSENT", "GraphBatch", "readers", "signatures"]
