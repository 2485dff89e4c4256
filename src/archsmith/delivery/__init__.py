"""Networks as files with their certificates: exporting and verifying."""

__all__ = ["files"]
