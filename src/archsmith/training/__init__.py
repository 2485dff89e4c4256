"""Ways to train a supernet, one method a file."""

ROLE = "train the weights of a supernet"

__all__ = ["kit"]
