"""Where an ONNX file says from which module of the network an operator comes."""

NAME_SCOPES = "pkg.torch.onnx.name_scopes"
"""Key of a node's metadata: a list of paths of modules from the outermost in, and last the operator itself."""
