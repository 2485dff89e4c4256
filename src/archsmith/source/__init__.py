"""Builds the models that users name, and makes them elastic."""

__all__ = ["building"]
