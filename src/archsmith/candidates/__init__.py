"""The network of an architecture, wherever it comes from, as module and as file."""

__all__ = ["files", "fingerprints", "precisions", "quantised_files"]
