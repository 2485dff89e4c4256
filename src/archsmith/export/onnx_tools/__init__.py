# Parts of file formats: no family of its own.
"""What exporters, devices and certificates share: inputs, outputs and the contents of ONNX files."""
