"""Exporting networks as files, each with its certificate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archsmith import certificate as proofs
from archsmith.architecture import Architecture
from archsmith.certificate import Certificate, Exported
from archsmith.delivery.onnx_file import write_onnx
from archsmith.errors import DamagedFile, UserError
from archsmith.export.base import Origin, check_suffix
from archsmith.export.safetensors import ARCHITECTURE_SUFFIX, Safetensors
from archsmith.files import sha256
from archsmith.hardware.meters import MeterOnUse, open_meters
from archsmith.progress import SILENT, Reporter
from archsmith.runs.context import SearchContext
from archsmith.source.building import rebuild
from archsmith.supernet import Supernet
from archsmith.trust import foreign, import_folders, names_of, remember
from archsmith.value import Value


@dataclass(frozen=True)
class Written:
    """An exported network.

    Args:
        name: of the network.
        path: of the ONNX file; safetensors, architecture and certificate are beside it.
        certificate: of the file.
        warnings: limits that it was picked by, and that the file does not meet when it is measured itself.
    """

    name: str
    path: Path
    certificate: Certificate
    warnings: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The certificate as one line of text."""
        return self.certificate.line

    def __repr__(self) -> str:
        return self.line

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "path": str(self.path),
            "certificate": dict(self.certificate.data),
            "warnings": list(self.warnings),
        }


def export_network(
    name: str,
    architecture: Architecture,
    believed: Mapping[str, Value],
    path: Path,
    context: SearchContext,
    *,
    meters: Mapping[str, MeterOnUse] | None = None,
    build: proofs.Build = rebuild,
) -> Written:
    """Write one network in all formats and certify it.

    Args:
        name: of the network.
        architecture: of the run's space.
        believed: metric -> value in the search.
        path: of the ONNX file.
        context: of the run.
        meters: device -> open meter; opened for this network unless given.
        build: rebuilds the supernet from the run's source; share one from :func:`builds` between networks.

    Raises:
        InvalidModel: when the network's forms are not equal; no certificate is written.
        StorageFull: when the disk is full.
    """
    check_suffix(path, ".onnx")
    weights = path.with_suffix(".safetensors")
    if weights.exists() and not path.with_suffix(ARCHITECTURE_SUFFIX).exists():  # a run's own, say
        raise UserError(f"{weights} exists and belongs to no exported network; give another name with --output")
    with names_of(context.names):
        proof = _certified(architecture, believed, path, context, meters, build)
    return Written(name, path, proof)


def _certified(
    architecture: Architecture,
    believed: Mapping[str, Value],
    path: Path,
    context: SearchContext,
    meters: Mapping[str, MeterOnUse] | None,
    build: proofs.Build,
) -> Certificate:
    supernet, names = context.supernet, context.supernet.input_names
    own, policy = context.split(architecture)
    inputs, module = supernet.inputs_of(own), supernet.extract(own)
    again = build if context.source is not None else lambda _: supernet
    origin = Origin(
        source=context.source or {"live": "a Python model that only the process that searched it has"},
        architecture=own,
        plan=supernet.plan(own),
    )
    written, quantised = write_onnx(context, own, policy, module, path)
    Safetensors().write(module, inputs, path.with_suffix(".safetensors"), names=names, origin=origin)
    splits = {"val": context.val, "test": context.test}
    classifies = "accuracy_top1" in believed
    batches = {name: split for name, split in splits.items() if split is not None and classifies}
    with ExitStack() as stack:
        if meters is None:
            meters = export_meters(context, stack, SILENT)
        proof = proofs.certify(
            Exported(
                path=path,
                supernet=supernet,
                architecture=own,
                module=module,
                quantised=quantised,
                build=again,
                inputs=inputs,
                names=names,
            ),
            batches=batches,
            meter=meters,
            believed=believed,
            details={**written.details, "data": context.data},
        )
    if not foreign():
        remember(proof.path, anywhere=True, imports_from=import_folders()[0])
    return proof


def export_meters(context: SearchContext, stack: ExitStack, reporter: Reporter) -> dict[str, MeterOnUse]:
    """Meters of all devices of the run; each takes its device's lock when it first has to measure."""
    with names_of(context.names):
        return open_meters(context.on, context.anchors, stack, keep=lambda *_: None, reporter=reporter)


def intact(name: str, path: Path) -> Written | None:
    """An earlier export, if every file is still the one that was certified; else ``None``."""
    try:
        proof = proofs.read_certificate(path)
    except DamagedFile:
        return None
    whole = all(
        file.is_file() and file.name == name and sha256(file) == digest for file, (name, digest) in proof.files.items()
    )
    return Written(name, path, proof) if whole else None


def builds(reporter: Reporter) -> proofs.Build:
    """A function that builds the supernet of each source once and shares it: tracing takes seconds."""
    built: dict[str, Supernet] = {}

    def build(source: Mapping[str, Any]) -> Supernet:
        key = json.dumps(source, sort_keys=True)
        if key not in built:
            built[key] = rebuild(source, reporter=reporter)
        return built[key]

    return build
