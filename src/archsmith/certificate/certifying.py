"""Making a certificate: the exported file is compared with the searched network, judged and timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archsmith.architecture import Architecture
from archsmith.candidates.fingerprints import fingerprint_of_batches
from archsmith.certificate.record import (
    ENDINGS,
    FORMAT,
    VERSION,
    Certificate,
    certificate_path,
    device_parts,
)
from archsmith.certificate.samples import sampled
from archsmith.errors import InvalidModel
from archsmith.evaluator.accuracy import count_correct, evaluating
from archsmith.export.onnx_tools.by_position import positional
from archsmith.export.onnx_tools.comparing import TOLERANCE, difference
from archsmith.export.onnx_tools.inputs import random_like, resized
from archsmith.export.onnx_tools.onnx_file import OnnxFile
from archsmith.export.safetensors import (
    Extracts,
    load_network,
)
from archsmith.files import sha256, write_json
from archsmith.hardware import environment
from archsmith.hardware.block_table import Measures
from archsmith.metric import on_device
from archsmith.structure.calls import in_order, logits_of
from archsmith.structure.resolution import Size, fitted
from archsmith.supernet.supernet import Supernet
from archsmith.value import Value

RANDOM_INPUTS = 8
"""Random inputs of one comparison."""


Build = Callable[[Mapping[str, Any]], Extracts]
Network = Callable[..., Any]


@dataclass(frozen=True)
class Quantised:
    """How a file was quantised.

    Args:
        full: the file before, in fp32.
        described: layers and their precisions, bits, calibration, as plain data for the certificate.
    """

    full: OnnxFile
    described: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A network whose files have been written.

    Args:
        path: of the ONNX file; safetensors and architecture file are beside it.
        supernet: that was searched.
        architecture: of the network.
        build: rebuilds the supernet from the source in the architecture file.
        inputs: example inputs; random ones are drawn in their shape.
        names: of the inputs, where the network takes them by name.
        module: the extracted network that was written; extracted anew unless given.
        quantised: how it was quantised, where it was. Then the fp32 network is proved equal, and the certificate
            records how far the quantised file's outputs differ from it.
    """

    path: Path
    supernet: Supernet
    architecture: Architecture
    build: Build
    inputs: tuple[Any, ...]
    names: tuple[str, ...] = ()
    module: nn.Module | None = None
    quantised: Quantised | None = None


def certify(
    exported: Exported,
    *,
    batches: Mapping[str, Iterable[Any]],
    meter: Measures | Mapping[str, Measures],
    believed: Mapping[str, Value] | None = None,
    details: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Certificate:
    """Prove an exported network equal, measure the file's accuracy and latency, and write the certificate beside it.

    Args:
        exported: the network and its files.
        batches: split -> iterable of ``(inputs, labels)``: for real inputs, and for accuracy.
        meter: open, on the device that was searched on; for several devices, name -> meter.
        believed: metric -> value in the search.
        details: of the exports, plain data (opset, exporter ...).
        seed: of the random inputs.

    Raises:
        InvalidModel: when any two forms of the network are not equal; nothing is written.
        MeasurementFailed: when the file cannot be timed.
    """
    path, inputs = exported.path, exported.inputs
    module = exported.module or exported.supernet.extract(exported.architecture)
    file = OnnxFile(path)
    quantised = exported.quantised
    forms = _forms(exported, module, file if quantised is None else quantised.full)
    probes = _probes(exported, batches, seed)
    compared = [row for name, x in probes.items() for row in _compare(forms, name, x)]
    if unequal := [row for row in compared if not row["relative"] <= TOLERANCE]:
        worst = max(unequal, key=lambda row: row["relative"])
        raise InvalidModel(
            f"{path} is not certified: on {worst['inputs']} inputs, {worst['between'][0]} and {worst['between'][1]} "
            f"differ by {worst['relative']:.2g} of the largest output, more than {TOLERANCE:g}"
        )
    sizes = exported.supernet.plan(exported.architecture).inputs
    accuracy = {split: accuracy_of(file, found, sizes, exported.names) for split, found in batches.items()}
    network = positional(module, exported.names)
    timed = {name: _time(path, m, network, inputs) for name, m in by_name(meter).items()}
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
            "items": RANDOM_INPUTS,
            "samples": sampled(file, inputs, seed),
        },
        "accuracy": accuracy,
        "believed": {name: value.to_json() for name, value in (believed or {}).items()},
        **({} if quantised is None else {"quantised": _apart(quantised, file, probes)}),
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


# Certifying ----------------------------------------------------------------------------------------------------------


def _forms(exported: Exported, module: nn.Module, file: OnnxFile) -> dict[str, Network]:
    """The network in its four forms, by name."""
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
        "ONNX file" if exported.quantised is None else "ONNX file before it was quantised": file,
    }


def _files(path: Path) -> list[Path]:
    return [path.with_suffix(ending) for ending in ENDINGS]


def _random(inputs: tuple[Any, ...], seed: int) -> tuple[Any, ...]:
    return random_like(resized(inputs, RANDOM_INPUTS), seed)


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


def _apart(quantised: Quantised, file: OnnxFile, probes: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """How the file was quantised, and how far its outputs differ from those of the fp32 network."""
    differs, agrees = {}, {}
    for name, inputs in probes.items():
        before, after = quantised.full(*inputs), file(*inputs)
        differs[name] = difference(before, after).relative
        one, other = logits_of(before), logits_of(after)
        if one is not None and other is not None and one.ndim == 2:
            agrees[name] = float((one.argmax(1) == other.argmax(1)).double().mean())
    return {**quantised.described, "differs": differs, "same_class": agrees}


def accuracy_of(
    file: OnnxFile, batches: Iterable[Any], sizes: Mapping[str, Size], names: Sequence[str]
) -> dict[str, Any]:
    """Accuracy on images resized for the network; ``data`` is the fingerprint of the data before that."""
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


def by_name(meter: Measures | Mapping[str, Measures] | None) -> Mapping[str, Measures]:
    """Meters by device, the only one under the empty name."""
    return meter if isinstance(meter, Mapping) else {} if meter is None else {"": meter}


def _line(path: Path, data: Mapping[str, Any]) -> str:
    believed = data["believed"].get
    judged = {"val": believed("accuracy_top1")}  # the search sees no other split
    accuracy = ", ".join(
        f"{split} accuracy {a['top1']:.2f} %{_searched(a['top1'], judged.get(split), 2)}"
        for split, a in data["accuracy"].items()
    )
    latencies = "; ".join(measured_line(x, believed(on_device("latency_ms", n))) for n, x in device_parts(data).items())
    worst = max(row["relative"] for row in data["outputs"]["compared"])
    equal = f"all forms of the network equal within {worst:.1g} of the largest output"
    if "quantised" in data:
        equal = f"{equal} in fp32; {_quantised_line(data['quantised'])}"
    if "size_mib" in data["believed"]:
        size = path.stat().st_size / 2**20
        equal = f"{size:.4g} MiB{_searched(size, believed('size_mib'), 3)}; {equal}"
    return f"{path.name}: {accuracy + ', ' if accuracy else ''}{latencies}; {equal}"


def _searched(now: float, believed: Mapping[str, Any] | None, digits: int) -> str:
    """The value in the search, where it differs: candidates are exported by a faster exporter, and quantised anew."""
    if believed is None or round(believed["value"] - now, digits) == 0:
        return ""
    return f" (the search found {believed['value']:.4g})"


def _quantised_line(data: Mapping[str, Any]) -> str:
    counts = Counter(data["layers"].values())
    layers = ", ".join(f"{n} of {data['of']} layers in {precision}" for precision, n in sorted(counts.items()))
    real = [name for name in data["differs"] if name != "random"] or ["random"]
    moved = max(data["differs"][name] for name in real)
    same = [data["same_class"][name] for name in real if name in data["same_class"]]
    of = f" and leaves {100 * min(same):.1f} % of inputs in their class" if same else ""
    return f"{layers}, which moves outputs by up to {moved:.2g} of the largest{of}"


def measured_line(part: Mapping[str, Any], said: Mapping[str, Any] | None) -> str:
    """The latency on one device, beside that in the search.

    Args:
        part: ``latency`` with ``of`` (``"file"`` or ``"module"``) and ``device``, as a certificate contains them.
        said: value and interval in the search; ``None`` where it did not measure.

    >>> latency = {"of": "file", "latency_ms": 2.31, "low": 2.2, "high": 2.4}
    >>> measured_line({"latency": latency, "device": {"spec": "onnxruntime:threads=1"}}, {"value": 2.25})
    'latency of the file 2.31 ms [2.2, 2.4] (the search found 2.25) on onnxruntime:threads=1'
    """
    latency = part["latency"]
    interval = f" [{said['low']:.4g}, {said['high']:.4g}]" if said and "low" in said else ""
    belief = f" (the search found {said['value']:.4g}{interval})" if said else ""
    return (
        f"latency of the {latency['of']} {latency['latency_ms']:.4g} ms "
        f"[{latency['low']:.4g}, {latency['high']:.4g}]{belief} on {part['device']['spec']}"
    )
