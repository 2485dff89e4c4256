"""Checking a certificate again, on this machine or another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from archsmith.certificate.certifying import (
    Build,
    accuracy_of,
    by_name,
)
from archsmith.certificate.record import device_parts, read_certificate
from archsmith.certificate.samples import compare_samples
from archsmith.errors import EvaluationFailed, MissingExtra, UnknownName, Untrusted, UserError
from archsmith.export.onnx_tools.by_position import positional
from archsmith.export.onnx_tools.comparing import difference, tensors
from archsmith.export.onnx_tools.inputs import random_like, resized
from archsmith.export.onnx_tools.onnx_file import OnnxFile
from archsmith.export.safetensors import (
    ARCHITECTURE_SUFFIX,
    inputs_from,
    load_network,
    names_from,
    read_architecture,
)
from archsmith.files import sha256
from archsmith.hardware import Measurement
from archsmith.hardware.block_table import Measures
from archsmith.metric import on_device
from archsmith.plan import Plan

LATENCY_DRIFT = 0.05
"""Share by which latency ratios of one network on equal machines may differ beyond their intervals."""
LATENCY_ATTEMPTS = 3
"""Measurements that must all disagree before a latency check fails: a machine may be busy for a moment."""
QUANTISED_DIFFERENCE_RATIO = 1.5
"""On another processor, a quantised file's difference from its fp32 network may be this many times the recorded one."""
QUANTISED_OUTPUT_SHARE = 0.05
"""Share of the largest output by which a quantised file may differ on another processor: a few steps of 256."""
CHANGED_CLASS_SHARE = 0.002
"""Share of inputs (at least one) whose class may change, as another processor sums in another order."""

Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """One check of a certificate.

    Args:
        name: of what is checked.
        status: its result.
        detail: the values, or the reason.
        proves: whether it says anything about the network. A hash does not: anybody can write one into a certificate.
    """

    name: str
    status: Status
    detail: str
    proves: bool = True


@dataclass(frozen=True)
class Verdict:
    """The result of :func:`verify`.

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

    @property
    def empty(self) -> bool:
        """Whether only hashes could be checked."""
        return self.ok and not any(c.status == "ok" and c.proves for c in self.checks)

    def lines(self) -> list[str]:
        """Text: one line a check and one for all of them."""
        found = [f"{c.status:7} {c.name}: {c.detail}" for c in self.checks]
        skipped = sum(c.status == "skipped" for c in self.checks)
        note = f" ({skipped} of {len(self.checks)} checks skipped)" if skipped else ""
        holds = "holds" if self.ok else "DOES NOT HOLD"
        return [*found, f"{self.path.name} {'could not be verified' if self.empty else holds}{note}"]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "certificate": str(self.path),
            "ok": self.ok,
            "verified": not self.empty,
            "checks": [asdict(c) for c in self.checks],
        }


def verify(
    path: Path,
    *,
    build: Build | None = None,
    batches: Mapping[str, Iterable[Any]] | None = None,
    meter: Measures | Mapping[str, Measures] | None = None,
    reasons: Mapping[str, str] | None = None,
) -> Verdict:
    """Check an exported network against its certificate, as far as model, data and devices are given.

    Args:
        path: of the network's ONNX file, or of the certificate.
        build: as in :func:`certify`; without it the module is not rebuilt.
        batches: split -> iterable of ``(inputs, labels)``; without them accuracy is not checked.
        meter: open, or several by name; latency is not checked on devices without one.
        reasons: why the data (``"accuracy"``) or devices (by name) are not available, for the checks that are skipped.

    Raises:
        DamagedFile: when the certificate itself is missing or cannot be read. Any other error is a failed check.
        InvalidOption: for a file of a kind that has no certificate.
    """
    certificate = read_certificate(path)
    data, target = certificate.data, certificate.path
    network, why = certificate.network, reasons or {}
    moved = float(data.get("quantised", {}).get("differs", {}).get("random", 0.0))
    checks = [
        *(
            replace(_attempt(f"file {file.name}", _check_hash, file, *then), proves=False)
            for file, then in certificate.files.items()
        ),
        _attempt("recorded outputs", _check_recorded, network, data["outputs"], moved),
        _attempt("rebuilt module", _check_rebuilt, network, data["outputs"], build, moved),
        *(
            _attempt(f"accuracy on {split}", _check_accuracy, network, recorded, batches, split, why)
            for split, recorded in data["accuracy"].items()
        ),
        *(
            _attempt(
                on_device("latency", name), _check_latency, network, part, by_name(meter).get(name), why.get(name, "")
            )
            for name, part in device_parts(data).items()
        ),
    ]
    return Verdict(target, tuple(checks if network.is_file() else map(_without, checks)))


def _without(check: Check) -> Check:
    """A check where the network's file is missing: skipped, because the check of the file has failed already."""
    return check if not check.proves else Check(check.name, "skipped", "the network's file is missing")


def _attempt(name: str, check: Callable[..., tuple[Status, str]], *args: Any) -> Check:
    """Run a check; an error that archsmith raises on purpose is a failed check with its message."""
    try:
        return Check(name, *check(*args))
    except (Untrusted, MissingExtra) as error:
        return Check(name, "skipped", str(error))
    except (UserError, EvaluationFailed) as error:
        return Check(name, "failed", str(error))
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, MemoryError, OverflowError) as error:
        return Check(name, "failed", f"this part of the certificate cannot be read: {error!r}")


def _check_hash(file: Path, name: str, recorded: str) -> tuple[Status, str]:
    if not file.is_file():
        return "failed", "is missing"
    if not recorded:
        return "failed", "the certificate records no hash of it; export the network again"
    if sha256(file) != recorded:
        which = "" if name == file.name else f", {name}"
        return "failed", f"is not the file that was certified{which}: its hash differs"
    return "ok", f"sha256 {recorded[:16]}..." + ("" if name == file.name else f", certified as {name}")


def _recorded_inputs(network: Path, outputs: Mapping[str, Any]) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """The certificate's random inputs, and their names where the network takes them by name."""
    described = read_architecture(network.with_suffix(ARCHITECTURE_SUFFIX))["inputs"]
    inputs = random_like(resized(inputs_from(described), outputs["items"]), outputs["seed"])
    return inputs, names_from(described)


def _check_recorded(network: Path, outputs: Mapping[str, Any], moved: float) -> tuple[Status, str]:
    """Compare with the recorded outputs; quantised files get more tolerance, as values may round to another step."""
    if "samples" in outputs:
        apart = compare_samples(OnnxFile(network), outputs["samples"])
    else:
        inputs, _ = _recorded_inputs(network, outputs)
        flat = torch.cat([t.detach().double().flatten() for t in tensors(OnnxFile(network)(*inputs))])
        then = torch.tensor(outputs["first"], dtype=torch.float64)
        apart = difference(then, flat[: len(then)])
    status: Status = (
        "ok" if apart.relative <= max(10 * outputs["tolerance"], min(QUANTISED_OUTPUT_SHARE, moved)) else "failed"
    )
    return (
        status,
        f"the file's outputs on the certificate's inputs differ by {apart.relative:.1g} from those recorded",
    )


def _check_rebuilt(network: Path, outputs: Mapping[str, Any], build: Build | None, moved: float) -> tuple[Status, str]:
    if build is None:
        return "skipped", "the source of the model is not available"
    inputs, names = _recorded_inputs(network, outputs)
    try:
        module = positional(load_network(network.with_suffix(".safetensors"), build), names)
    except UnknownName as error:
        return "skipped", f"the source of the model is not available: {error}"
    with torch.no_grad():
        apart = difference(module(*inputs), OnnxFile(network)(*inputs))
    if moved:
        status: Status = "ok" if apart.relative <= QUANTISED_DIFFERENCE_RATIO * moved else "failed"
        return status, (
            f"quantising moves the outputs by {apart.relative:.2g} of the largest, {moved:.2g} when certified"
        )
    status = "ok" if apart.relative <= outputs["tolerance"] else "failed"
    return status, f"safetensors and ONNX file differ by {apart.relative:.1g} of the largest output"


def _check_accuracy(
    network: Path,
    recorded: Mapping[str, Any],
    splits: Mapping[str, Iterable[Any]] | None,
    split: str,
    why: Mapping[str, str],
) -> tuple[Status, str]:
    batches = (splits or {}).get(split)
    if batches is None:
        reason = why.get("accuracy", "the data is not available")
        return "skipped", f"{reason}; {recorded['top1']:.2f} % when certified"
    described = read_architecture(network.with_suffix(ARCHITECTURE_SUFFIX))
    sizes = Plan.from_json(described["plan"]).inputs
    found = accuracy_of(OnnxFile(network), batches, sizes, names_from(described["inputs"]))
    if found["data"] != recorded["data"]:
        return "failed", (
            f"the data differ: {found['total']} inputs with fingerprint {found['data']}, "
            f"{recorded['total']} with {recorded['data']} when certified"
        )
    close = abs(found["right"] - recorded["right"]) <= max(1, CHANGED_CLASS_SHARE * found["total"])
    return "ok" if close else "failed", f"{found['top1']:.2f} %, {recorded['top1']:.2f} % when certified"


def _check_latency(network: Path, data: Mapping[str, Any], meter: Measures | None, why: str) -> tuple[Status, str]:
    """Compare ratios to the reference, which do not depend on when either machine's anchor was measured."""
    if meter is None:
        return "skipped", f"the device {data['device']['spec']} is not available{f': {why}' if why else ''}"
    recorded = Measurement.from_json({k: v for k, v in data["latency"].items() if k != "of"})
    if data["latency"]["of"] != "file":
        return "skipped", f"{data['device']['spec']} runs modules, not files; nothing to time again"
    inputs = inputs_from(read_architecture(network.with_suffix(ARCHITECTURE_SUFFIX))["inputs"])
    prepared = meter.device.prepare_file(str(network), random_like(inputs, 0))
    same = meter.device.fingerprint == data["device"]["fingerprint"]
    low, high = recorded.low / recorded.anchor_ms, recorded.high / recorded.anchor_ms
    for _ in range(LATENCY_ATTEMPTS):
        found = meter.measure(prepared, effort="final")
        now = f"{found} on {meter.device.spec}, {recorded} when certified"
        if not same:
            return "skipped", f"{now} on another machine, runtime or setting: the two are not comparable"
        now_low, now_high = found.low / found.anchor_ms, found.high / found.anchor_ms
        meets = now_low <= high * (1 + LATENCY_DRIFT) and now_high >= low * (1 - LATENCY_DRIFT)
        if meets and math.isfinite(low + high):
            return "ok", now
    return "failed", f"{now}, at the last of {LATENCY_ATTEMPTS} attempts"
