"""The content of a certificate's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Required, TypedDict

from archsmith.certificate.samples import Samples
from archsmith.errors import DamagedFile, InvalidOption
from archsmith.export.safetensors import ARCHITECTURE_SUFFIX
from archsmith.files import misfit, read_json
from archsmith.origin import DataOrigin

FORMAT = "archsmith certificate"
VERSION = 2
"""Since 2 a certificate contains inputs and outputs; before, only the first outputs on inputs drawn from a seed."""
SUFFIX = ".certificate.json"
ENDINGS = (".onnx", ".safetensors", ARCHITECTURE_SUFFIX)
"""Endings of the files that a certificate is about."""
LARGEST_CALL = 1024
"""Largest number of inputs in the call that a certificate records."""


class Outputs(TypedDict, total=False):
    """How far the forms of the network differ, and recorded outputs of the file."""

    compared: Required[list[dict[str, Any]]]
    tolerance: Required[float]
    seed: int
    items: int
    samples: Samples
    first: list[float]


class AccuracyRecord(TypedDict):
    """Accuracy on one split."""

    top1: float
    right: int
    total: int
    data: str


class LatencyRecord(TypedDict, total=False):
    """Latency on one device."""

    latency: Required[dict[str, Any]]
    device: Required[dict[str, str]]


class Quantisation(TypedDict, total=False):
    """How the file was quantised."""

    differs: dict[str, float]


class CertificateData(TypedDict, total=False):
    """The content of a certificate's file."""

    format: Required[str]
    version: Required[int]
    files: Required[dict[str, str]]
    outputs: Required[Outputs]
    accuracy: Required[dict[str, AccuracyRecord]]
    latency: Required[dict[str, Any]]
    device: Required[dict[str, str]]
    line: Required[str]
    others: dict[str, LatencyRecord]
    name: str
    quantised: Quantisation
    believed: dict[str, dict[str, Any]]
    export: dict[str, Any]


@dataclass(frozen=True)
class Certificate:
    """The certificate of one exported network.

    Args:
        path: of the certificate.
        data: its content, plain data.
    """

    path: Path
    data: Mapping[str, Any]

    @property
    def line(self) -> str:
        """The certificate as one line of text."""
        return str(self.data["line"])

    @property
    def network(self) -> Path:
        """The ONNX file."""
        return self.path.with_name(self.path.name.removesuffix(SUFFIX) + ".onnx")

    @property
    def architecture(self) -> Path:
        """The architecture file."""
        return self.path.with_name(self.path.name.removesuffix(SUFFIX) + ARCHITECTURE_SUFFIX)

    @property
    def files(self) -> dict[Path, tuple[str, str]]:
        """File beside the certificate -> its name and sha256 when it was certified; ``""`` where not recorded.

        Files are found by their ending. So files that were renamed or copied are checked themselves, not those that
        now have the old names.
        """
        stem = self.path.name.removesuffix(SUFFIX)
        recorded = dict.fromkeys(ENDINGS, "") | {
            ending: name for name in self.data["files"] for ending in ENDINGS if name.endswith(ending)
        }
        return {
            self.path.with_name(stem + ending): (name, str(self.data["files"].get(name, "")))
            for ending, name in recorded.items()
        }


def certificate_path(path: Path) -> Path:
    """The path of the certificate of ``NAME.onnx``."""
    return path if path.name.endswith(SUFFIX) else path.with_suffix(SUFFIX)


def read_certificate(path: Path) -> Certificate:
    """The certificate of an exported network.

    Args:
        path: of the certificate, or of the network's ONNX file.

    Raises:
        DamagedFile: when it is missing, no certificate, of a newer version, or of another form.
        InvalidOption: for a file of a kind that has no certificate.
    """
    if not path.name.endswith((*ENDINGS[:2], SUFFIX)):
        raise InvalidOption(f"{path} is neither an exported network (NAME.onnx) nor a certificate (NAME{SUFFIX})")
    target = certificate_path(path)
    data = read_json(target, what="a certificate")
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise DamagedFile(f'{target} is no certificate of archsmith; it should say "format": "{FORMAT}"')
    if data.get("version") not in range(1, VERSION + 1):
        raise DamagedFile(f"{target} has version {data.get('version')}, this archsmith reads {VERSION}: update it")
    if wrong := misfit(data, CertificateData) or _lacking(data):
        raise DamagedFile(f"{target} is no complete certificate ({wrong}); export the network again")
    return Certificate(target, data)


def certified_devices(certificate: Certificate) -> dict[str, Mapping[str, str]]:
    """Name -> spec and fingerprint of each device in a certificate; an unnamed one is called ``""``."""
    return {name: part["device"] for name, part in device_parts(certificate.data).items()}


def _lacking(data: Mapping[str, Any]) -> str:
    """What is missing or wrong beside types, in words; empty where nothing is."""
    if not 0 < data["outputs"].get("items", 1) <= LARGEST_CALL:
        return f"outputs of {data['outputs']['items']} items"
    if not {"samples", "first"} & data["outputs"].keys():
        return "it holds no outputs"
    if wrong := misfit(data.get("export", {}).get("data"), DataOrigin | None):
        return f"of the data: {wrong}"
    parts = device_parts(data).items()
    return next((f"{n or 'the device'} has no spec" for n, part in parts if not part["device"].get("spec")), "")


def device_parts(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Device -> the certificate's part about it, the first device first."""
    return {data.get("name", ""): data, **data.get("others", {})}
