"""The proof that an exported file is the network that was searched, and what it does on the hardware.

``NAME.certificate.json`` lies beside ``NAME.onnx``, ``NAME.safetensors`` and ``NAME.architecture.json``.
:func:`certify` writes it, :func:`verify` checks it again, on this machine or another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from archsmith.architecture import Architecture
from archsmith.errors import DamagedFile, EvaluationFailed, InvalidModel, UnknownName, UserError
from archsmith.evaluation import Value
from archsmith.evaluator._fingerprint import fingerprint_of_batches
from archsmith.evaluator.accuracy import count_correct, evaluating
from archsmith.evaluator.latency import Measures
from archsmith.export._compare import TOLERANCE, difference, tensors
from archsmith.export._inputs import random_like, resized
from archsmith.export._onnx_file import OnnxFile
from archsmith.export._positional import positional
from archsmith.export.safetensors import (
    ARCHITECTURE,
    Extracts,
    inputs_from,
    load_network,
    names_from,
    read_architecture,
)
from archsmith.files import read_json, sha256, write_json
from archsmith.hardware import Measurement, environment
from archsmith.hardware._records import measured_line
from archsmith.metric import on_device
from archsmith.plan import Plan
from archsmith.supernet.calls import in_order
from archsmith.supernet.resolution import Size, fitted
from archsmith.supernet.supernet import Supernet

FORMAT = "archsmith certificate"
VERSION = 1
SUFFIX = ".certificate.json"
ITEMS = 8
"""Random inputs of one comparison."""
SHOWN = 8
"""Outputs that a certificate records, for a check without the model's source."""
DRIFT = 0.05
"""Latency ratios of one network on one kind of machine may differ by this share beyond their intervals."""
ATTEMPTS = 3
"""Latencies that must disagree, one after the other, before a certificate is refuted: machines have busy moments."""
FLIPPED = 0.002
"""Share of inputs, or one, whose class may change because another processor sums in another order."""

Build = Callable[[Mapping[str, Any]], Extracts]
Network = Callable[..., Any]
Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class Certificate:
    """What was proven of one exported network.

    Args:
        path: of the certificate.
        data: its content, plain data.
    """

    path: Path
    data: Mapping[str, Any]

    @property
    def line(self) -> str:
        """The certificate for people."""
        return str(self.data["line"])


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A network whose files have been written.

    Args:
        path: of the ONNX file; safetensors and architecture file lie beside it.
        supernet: that was searched.
        architecture: of the network.
        build: makes the supernet anew from the source in the architecture file.
        inputs: example inputs; random ones are drawn in their shape.
        names: of the inputs, where the network takes them by name.
    """

    path: Path
    supernet: Supernet
    architecture: Architecture
    build: Build
    inputs: tuple[Any, ...]
    names: tuple[str, ...] = ()


def certify(
    exported: Exported,
    *,
    batches: Mapping[str, Iterable[Any]],
    meter: Measures | Mapping[str, Measures],
    believed: Mapping[str, Value] | None = None,
    details: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Certificate:
    """Prove an exported network equal, judge and time the file, and write the certificate beside it.

    Args:
        exported: the network and its files.
        batches: split -> iterable of ``(inputs, labels)``: for real inputs, and for accuracy.
        meter: open, on the device that was searched on; of several devices by name.
        believed: metric -> what the search found.
        details: of the exports, plain data (opset, exporter ...).
        seed: of the random inputs.

    Raises:
        InvalidModel: when any two of the forms of the network are not equal; nothing is written.
        MeasurementFailed: when the file cannot be timed.
    """
    path, inputs = exported.path, exported.inputs
    module = exported.supernet.extract(exported.architecture)
    file = OnnxFile(path)
    forms = _forms(exported, module, file)
    probes = _probes(exported, batches, seed)
    compared = [row for name, x in probes.items() for row in _compare(forms, name, x)]
    if unequal := [row for row in compared if not row["relative"] <= TOLERANCE]:
        worst = max(unequal, key=lambda row: row["relative"])
        raise InvalidModel(
            f"{path} is not certified: on {worst['inputs']} inputs, {worst['between'][0]} and {worst['between'][1]} "
            f"differ by {worst['relative']:.2g} of the largest output, more than {TOLERANCE:g}"
        )
    sizes = exported.supernet.plan(exported.architecture).inputs
    accuracy = {split: _accuracy(file, found, sizes, exported.names) for split, found in batches.items()}
    network = positional(module, exported.names)
    timed = {name: _time(path, m, network, inputs) for name, m in _by_name(meter).items()}
    first, *others = timed
    data = {
        "format": FORMAT,
        "version": VERSION,
        "files": {f.name: sha256(f) for f in _files(path)},
        "architecture": exported.architecture.to_json(),
        "outputs": {
            "compared": compared,
            "tolerance": TOLERANCE,
            "seed": seed,
            "items": ITEMS,
            "first": _first(file(*_random(inputs, seed))),
        },
        "accuracy": accuracy,
        "believed": {name: value.to_json() for name, value in (believed or {}).items()},
        **timed[first],
        **({"others": {name: timed[name] for name in others}} if others else {}),
        **({"name": first} if first else {}),
        "export": dict(details or {}),
        "environment": environment(),
    }
    data = {**data, "line": _line(path, data)}
    target = certificate_path(path)
    write_json(target, data)
    return Certificate(target, data)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at again."""

    name: str
    status: Status
    detail: str


@dataclass(frozen=True)
class Verdict:
    """What :func:`verify` found.

    Args:
        path: of the certificate.
        checks: in order.
    """

    path: Path
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed; skipped checks do not count."""
        return all(c.status != "failed" for c in self.checks)

    def lines(self) -> list[str]:
        """For people, one a check and one for all."""
        found = [f"{c.status:7} {c.name}: {c.detail}" for c in self.checks]
        skipped = sum(c.status == "skipped" for c in self.checks)
        note = f" ({skipped} of {len(self.checks)} checks skipped)" if skipped else ""
        return [*found, f"{self.path.name} {'holds' if self.ok else 'DOES NOT HOLD'}{note}"]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"certificate": str(self.path), "ok": self.ok, "checks": [asdict(c) for c in self.checks]}


def verify(
    path: Path,
    *,
    build: Build | None = None,
    batches: Mapping[str, Iterable[Any]] | None = None,
    meter: Measures | Mapping[str, Measures] | None = None,
) -> Verdict:
    """Check an exported network against its certificate, with what is at hand.

    Args:
        path: of the network's ONNX file, or of the certificate.
        build: as in :func:`certify`; without it the module is not rebuilt.
        batches: split -> iterable of ``(inputs, labels)``; without them accuracy is not checked.
        meter: open, or several by name; latency is not checked on devices without one.

    Raises:
        DamagedFile: when the certificate itself is missing or cannot be read. Everything else that is wrong is a
            failed check.
    """
    certificate = read_certificate(path)
    data, target = certificate.data, certificate.path
    network = target.with_name(target.name.removesuffix(SUFFIX) + ".onnx")
    checks = [
        *(_attempt(f"file {name}", _check_hash, target.with_name(name), text) for name, text in data["files"].items()),
        _attempt("recorded outputs", _check_recorded, network, data["outputs"]),
        _attempt("rebuilt module", _check_rebuilt, network, data["outputs"], build),
        *(
            _attempt(f"accuracy on {split}", _check_accuracy, network, recorded, (batches or {}).get(split))
            for split, recorded in data["accuracy"].items()
        ),
        *(
            _attempt(on_device("latency", name), _check_latency, network, part, _by_name(meter).get(name))
            for name, part in _parts(data).items()
        ),
    ]
    return Verdict(target, tuple(checks))


def certificate_path(path: Path) -> Path:
    """Where the certificate of ``NAME.onnx`` lies."""
    return path if path.name.endswith(SUFFIX) else path.with_suffix(SUFFIX)


def read_certificate(path: Path) -> Certificate:
    """The certificate of an exported network.

    Args:
        path: of the certificate, or of the network's ONNX file.

    Raises:
        DamagedFile: when it is missing, no certificate, of a newer version, or parts of it are missing.
    """
    target = certificate_path(path)
    data = read_json(target, what="a certificate")
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise DamagedFile(f'{target} is no certificate of archsmith; it should say "format": "{FORMAT}"')
    if data.get("version") != VERSION:
        raise DamagedFile(f"{target} has version {data.get('version')}, this archsmith reads {VERSION}: update it")
    wanted = {"files": dict, "outputs": dict, "accuracy": dict, "latency": dict, "device": dict, "line": str}
    for name, kind in wanted.items():
        if not isinstance(data.get(name), kind):
            raise DamagedFile(f"{target} lacks its part {name!r}; export the network again")
    return Certificate(target, data)


def devices(certificate: Certificate) -> dict[str, Mapping[str, str]]:
    """Name -> spec and fingerprint of each device that a certificate speaks of; the only one is called ``""``."""
    return {name: part["device"] for name, part in _parts(certificate.data).items()}


# Certifying ----------------------------------------------------------------------------------------------------------


def _forms(exported: Exported, module: nn.Module, file: OnnxFile) -> dict[str, Network]:
    """The network in its four forms."""
    supernet, names = exported.supernet, exported.names
    by_position = positional(supernet, names)

    def active(*inputs: Any) -> Any:
        with evaluating(supernet), supernet.active(exported.architecture):
            return by_position(*inputs)

    reloaded = load_network(exported.path.with_suffix(".safetensors"), exported.build)
    return {
        "active subnet": active,
        "extracted module": positional(module, names),
        "reloaded module": positional(reloaded, names),
        "ONNX file": file,
    }


def _files(path: Path) -> list[Path]:
    return [path, path.with_suffix(".safetensors"), path.with_suffix(ARCHITECTURE)]


def _random(inputs: tuple[Any, ...], seed: int) -> tuple[Any, ...]:
    return random_like(resized(inputs, ITEMS), seed)


def _probes(exported: Exported, batches: Mapping[str, Iterable[Any]], seed: int) -> dict[str, tuple[Any, ...]]:
    """Inputs to compare on: random ones, and the first batch of each split."""
    found = {"random": _random(exported.inputs, seed)}
    sizes = exported.supernet.plan(exported.architecture).inputs
    for split, pairs in batches.items():
        for x, _ in pairs:
            found[split] = in_order(fitted(sizes, x, exported.names), exported.names)
            break
    return found


def _compare(forms: Mapping[str, Network], name: str, inputs: tuple[Any, ...]) -> list[dict[str, Any]]:
    with torch.no_grad():
        outputs = {form: network(*inputs) for form, network in forms.items()}
    rows = []
    for a, b in combinations(outputs, 2):
        apart = difference(outputs[a], outputs[b])
        rows.append({"inputs": name, "between": [a, b], "absolute": apart.absolute, "relative": apart.relative})
    return rows


def _accuracy(
    file: OnnxFile, batches: Iterable[Any], sizes: Mapping[str, Size], names: Sequence[str]
) -> dict[str, Any]:
    """Of images in the sizes that the network is for; the fingerprint is that of the data as they are."""
    right, total = count_correct(file, ((fitted(sizes, x, names), labels) for x, labels in batches))
    data = fingerprint_of_batches(batches)
    return {"top1": 100 * right / total, "right": right, "total": total, "data": data}


def _time(path: Path, meter: Measures, module: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
    """The latency of the file, or of the module on devices that run modules only, and the device."""
    device = meter.device
    of = "file" if path.suffix in device.files else "module"
    call = device.prepare_file(str(path), inputs) if of == "file" else device.prepare(module, inputs)
    return {
        "latency": meter.measure(call, effort="final").summary() | {"of": of},
        "device": {"spec": device.spec, "fingerprint": device.fingerprint},
    }


def _parts(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Device -> what a certificate says of it, the first device first."""
    return {data.get("name", ""): data, **data.get("others", {})}


def _by_name(meter: Measures | Mapping[str, Measures] | None) -> Mapping[str, Measures]:
    return meter if isinstance(meter, Mapping) else {} if meter is None else {"": meter}


def _first(outputs: Any) -> list[float]:
    flat = torch.cat([t.detach().double().flatten() for t in tensors(outputs)])
    return [float(v) for v in flat[:SHOWN]]


def _line(path: Path, data: Mapping[str, Any]) -> str:
    accuracy = ", ".join(f"{split} accuracy {a['top1']:.2f} %" for split, a in data["accuracy"].items())
    said = data["believed"].get
    latencies = "; ".join(measured_line(x, said(on_device("latency_ms", n))) for n, x in _parts(data).items())
    worst = max(row["relative"] for row in data["outputs"]["compared"])
    equal = f"all forms of the network equal within {worst:.1g} of the largest output"
    return f"{path.name}: {accuracy + ', ' if accuracy else ''}{latencies}; {equal}"


# Verifying -----------------------------------------------------------------------------------------------------------


def _attempt(name: str, check: Callable[..., tuple[Status, str]], *args: Any) -> Check:
    """Run a check; an error that archsmith raises on purpose is a failed check with its message."""
    try:
        return Check(name, *check(*args))
    except (UserError, EvaluationFailed) as error:
        return Check(name, "failed", str(error))
    except (KeyError, TypeError, ValueError) as error:
        return Check(name, "failed", f"this part of the certificate cannot be read: {error!r}")


def _check_hash(file: Path, recorded: str) -> tuple[Status, str]:
    if not file.is_file():
        return "failed", "is missing"
    if sha256(file) != recorded:
        return "failed", "is not the file that was certified: its bytes have changed"
    return "ok", f"sha256 {recorded[:16]}..."


def _recorded_inputs(network: Path, outputs: Mapping[str, Any]) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """The certificate's random inputs, and their names where the network takes them by name."""
    described = read_architecture(network.with_suffix(ARCHITECTURE))["inputs"]
    inputs = random_like(resized(inputs_from(described), outputs["items"]), outputs["seed"])
    return inputs, names_from(described)


def _check_recorded(network: Path, outputs: Mapping[str, Any]) -> tuple[Status, str]:
    inputs, _ = _recorded_inputs(network, outputs)
    found = _first(OnnxFile(network)(*inputs))
    apart = difference(torch.tensor(outputs["first"], dtype=torch.float64), torch.tensor(found, dtype=torch.float64))
    status: Status = "ok" if apart.relative <= 10 * outputs["tolerance"] else "failed"
    return (
        status,
        f"the file's outputs on the certificate's random inputs differ by {apart.relative:.1g} from those recorded",
    )


def _check_rebuilt(network: Path, outputs: Mapping[str, Any], build: Build | None) -> tuple[Status, str]:
    if build is None:
        return "skipped", "the source of the model is not at hand"
    inputs, names = _recorded_inputs(network, outputs)
    try:
        module = positional(load_network(network.with_suffix(".safetensors"), build), names)
    except UnknownName as error:
        return "skipped", f"the source of the model is not at hand: {error}"
    with torch.no_grad():
        apart = difference(module(*inputs), OnnxFile(network)(*inputs))
    status: Status = "ok" if apart.relative <= outputs["tolerance"] else "failed"
    return status, f"safetensors and ONNX file differ by {apart.relative:.1g} of the largest output"


def _check_accuracy(network: Path, recorded: Mapping[str, Any], batches: Iterable[Any] | None) -> tuple[Status, str]:
    if batches is None:
        return "skipped", f"the data is not at hand; {recorded['top1']:.2f} % when certified"
    described = read_architecture(network.with_suffix(ARCHITECTURE))
    sizes = Plan.from_json(described["plan"]).inputs
    found = _accuracy(OnnxFile(network), batches, sizes, names_from(described["inputs"]))
    if found["data"] != recorded["data"]:
        return "failed", (
            f"this is other data: {found['total']} inputs with fingerprint {found['data']}, "
            f"{recorded['total']} with {recorded['data']} when certified"
        )
    close = abs(found["right"] - recorded["right"]) <= max(1, FLIPPED * found["total"])
    return "ok" if close else "failed", f"{found['top1']:.2f} %, {recorded['top1']:.2f} % when certified"


def _check_latency(network: Path, data: Mapping[str, Any], meter: Measures | None) -> tuple[Status, str]:
    """Ratios to the reference are compared: they do not depend on when either machine's anchor was taken."""
    if meter is None:
        return "skipped", f"the device {data['device']['spec']} is not at hand"
    recorded = Measurement.from_json({k: v for k, v in data["latency"].items() if k != "of"})
    if data["latency"]["of"] != "file":
        return "skipped", f"{data['device']['spec']} runs modules, not files; nothing to time again"
    inputs = inputs_from(read_architecture(network.with_suffix(ARCHITECTURE))["inputs"])
    prepared = meter.device.prepare_file(str(network), random_like(inputs, 0))
    same = meter.device.fingerprint == data["device"]["fingerprint"]
    low, high = recorded.low / recorded.anchor_ms, recorded.high / recorded.anchor_ms
    for _ in range(ATTEMPTS):
        found = meter.measure(prepared, effort="final")
        now = f"{found} on {meter.device.spec}, {recorded} when certified"
        if not same:
            return "skipped", f"{now} on another machine, runtime or setting: the two do not compare"
        meets = found.low / found.anchor_ms <= high * (1 + DRIFT) and found.high / found.anchor_ms >= low * (1 - DRIFT)
        if meets and math.isfinite(low + high):
            return "ok", now
    return "failed", f"{now}, at the last of {ATTEMPTS} attempts"
