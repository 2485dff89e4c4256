"""A run on disk: its folder, its weights, its results, and all that it works with, built again."""

__all__ = ["context", "folder", "results", "weights"]
