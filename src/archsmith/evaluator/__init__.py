"""Evaluators: what turns an architecture into numbers, one method a file."""

ROLE = "turn an architecture into numbers"

__all__ = ["kit"]
