"""A run on disk: its folder, its weights, its results, and its supernet, data and devices rebuilt."""

__all__ = ["context", "folder", "results", "weights"]
