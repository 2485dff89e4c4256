"""Certificates: proof that an exported file equals the searched network, with its measured accuracy and latency.

``NAME.certificate.json`` lies beside ``NAME.onnx``, ``NAME.safetensors`` and ``NAME.architecture.json``.
:func:`certify` writes it, :func:`verify` checks it again, on this machine or another.
"""

from archsmith.certificate.certifying import Build, Exported, Quantised, certify
from archsmith.certificate.checking import Check, Verdict, verify
from archsmith.certificate.record import (
    SUFFIX,
    Certificate,
    certificate_path,
    certified_devices,
    device_parts,
    read_certificate,
)

__all__ = [
    "SUFFIX",
    "Build",
    "Certificate",
    "Check",
    "Exported",
    "Quantised",
    "Verdict",
    "certificate_path",
    "certified_devices",
    "certify",
    "device_parts",
    "read_certificate",
    "verify",
]
