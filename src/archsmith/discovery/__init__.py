"""What can vary in any model: traced, found, proved."""

__all__ = ["account", "automatic", "elasticity", "literals", "stock"]
