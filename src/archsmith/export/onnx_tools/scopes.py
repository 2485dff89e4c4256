"""Where an ONNX file records from which module of the network an operator comes."""

from __future__ import annotations

NAME_SCOPES = "pkg.torch.onnx.name_scopes"
"""Key of a node's metadata: a list of paths of modules from the outermost in, and last the operator itself."""


def place_of(name: str) -> str:
    """The module in the name of a node: ``/layer1/layer1.0/conv1/Conv`` is in ``layer1.0.conv1``."""
    found: list[str] = []
    for part in name.split("/")[1:-1]:
        if found and part.startswith(f"{found[-1]}."):  # children of a Sequential repeat its name
            found.pop()
        found.append(part)
    return ".".join(found)
