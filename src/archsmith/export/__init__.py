"""What an extracted network is written as, one format a file."""

ROLE = "write a network as a file that others run"

__all__ = ["onnx_tools", "slicing"]
