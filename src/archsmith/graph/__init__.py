"""Architectures as operator graphs."""

from __future__ import annotations

from archsmith.graph.batch import ABSENT, GraphBatch

__all__ = ["ABSENT", "GraphBatch"]
