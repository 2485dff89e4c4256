"""The network of an architecture, wherever it comes from, as module and as file."""
