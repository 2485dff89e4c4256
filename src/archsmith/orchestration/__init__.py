"""What one search needs and does."""

__all__ = ["conducting", "metrics", "reachable", "specification"]
