"""Networks as files: write them with a certificate, verify them, measure them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archsmith import certificate as proofs
from archsmith.api.devices import MeterOnUse, open_meters
from archsmith.api.front import Front, Member
from archsmith.api.materials import EVALUATION_BATCH, Materials, rebuild
from archsmith.api.progress import Listener, Progress, Stop, never, nobody
from archsmith.api.quantised_export import write_onnx
from archsmith.api.reading import nothing_left
from archsmith.api.run import Run
from archsmith.certificate import Certificate, Exported, Verdict
from archsmith.data import open_data
from archsmith.errors import DamagedFile, DeviceLost, Infeasible, Interrupted, InvalidOption, UserError
from archsmith.export._onnx_file import OnnxFile
from archsmith.export.base import Origin, check_suffix
from archsmith.export.safetensors import Safetensors
from archsmith.files import sha256
from archsmith.hardware import Measurement, Meter, open_device
from archsmith.hardware.profiling import Profile
from archsmith.metric import limits, on_device
from archsmith.supernet import Supernet


@dataclass(frozen=True)
class Written:
    """An exported network.

    Args:
        name: of the network.
        path: of the ONNX file; safetensors, architecture and certificate lie beside it.
        certificate: what was proven of it.
        warnings: limits that it was picked by and that the file, timed itself, does not keep.
    """

    name: str
    path: Path
    certificate: Certificate
    warnings: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The certificate for people."""
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


def export_front(front: Front, *, on_progress: Listener = nobody, stop: Stop = never) -> list[Written]:
    """Export every member into the run's ``exports/``; what is there and intact already is left alone.

    Raises:
        Interrupted: when ``stop`` asked to stop.
    """
    return _export_all(front.run, front.members, on_progress, stop)


def exports_intact(front: Front) -> bool:
    """Whether every member's files are there and those that were certified."""
    return all(_intact(m.name, front.run.exports / f"{m.name}.onnx") for m in front)


def export_from_run(
    folder: Path,
    *,
    pick: Sequence[str] = (),
    by: str | None = None,
    name: str | None = None,
    output: Path | None = None,
    on_progress: Listener = nobody,
) -> list[Written]:
    """Export from a run on disk: the named member, the best within limits, or all.

    Raises:
        InvalidOption: for contradictory wishes.
        Infeasible: when no member is within the limits of ``pick``, or no network within those of the search.
    """
    if name and (pick or by):
        raise InvalidOption("give either --name or --pick/--by, not both")
    run = Run.open(folder)
    front = run.front(on_progress=on_progress)
    if not front.members:
        raise Infeasible(nothing_left(run))
    if name:
        chosen = [front.named(name)]
    elif pick or by:
        chosen = [front.pick(*pick, by=by)]
    else:
        chosen = list(front.members)
    if output is None:
        with run.writing():
            return [_judged(w, pick) for w in _export_all(run, chosen, on_progress, never)]
    if len(chosen) != 1:
        raise InvalidOption(f"--output names one file, but {len(chosen)} networks are chosen; add --pick or --name")
    on_progress(Progress("export", chosen[0].name, 0, 1))
    written = export_member(chosen[0], output, chosen[0].materials(), build=_builds(on_progress))
    on_progress(Progress("export", chosen[0].name, 1, 1))
    return [_judged(written, pick)]


def export_member(
    member: Member,
    path: Path,
    materials: Materials,
    *,
    meters: Mapping[str, MeterOnUse] | None = None,
    build: proofs.Build = rebuild,
) -> Written:
    """Write one network in all formats and certify it.

    Args:
        member: of the front.
        path: of the ONNX file.
        materials: of the run.
        meters: open ones by device, where several networks are exported; its own otherwise.
        build: makes the supernet anew from the run's source; one for several networks makes it once.

    Raises:
        InvalidModel: when the network's forms do not agree: nothing is certified.
        StorageFull: when the disk is full.
    """
    check_suffix(path, ".onnx")
    supernet, names = materials.supernet, materials.supernet.input_names
    own, _ = materials.split(member.architecture)
    inputs, module = supernet.inputs_of(own), supernet.extract(own)
    again = build if materials.source is not None else lambda _: supernet
    origin = Origin(
        source=materials.source or {"live": "a Python model that only the process that searched it has"},
        architecture=own,
        plan=supernet.plan(own),
    )
    written, quantised = write_onnx(materials, member.architecture, module, path)
    Safetensors().write(module, inputs, path.with_suffix(".safetensors"), names=names, origin=origin)
    splits = {"val": materials.val, "test": materials.test}
    classifies = "accuracy_top1" in member.belief.values
    batches = {name: split for name, split in splits.items() if split is not None and classifies}
    with ExitStack() as stack:
        if meters is None:
            meters = _meters(materials, stack, nobody, never)
        proof = proofs.certify(
            Exported(
                path=path,
                supernet=supernet,
                architecture=own,
                quantised=quantised,
                build=again,
                inputs=inputs,
                names=names,
            ),
            batches=batches,
            meter=meters,
            believed=member.belief.values,
            details={**written.details, "data": materials.data},
        )
    return Written(member.name, path, proof)


def verify_file(
    path: Path, *, on: str | None = None, data: str | None = None, on_progress: Listener = nobody
) -> Verdict:
    """Check an exported network against its certificate with everything that is at hand here.

    Args:
        path: of the ONNX file or its certificate.
        on: device to measure on instead of each of the certificate's.
        data: where the data lies, if it has moved.
        on_progress: hears what is being done.

    Raises:
        DamagedFile: when there is no certificate that can be read.
    """
    proof = proofs.read_certificate(path)
    described = proof.data.get("export", {}).get("data")
    on_progress(Progress("verify", "reading the data"))
    batches = _batches(described, data)
    specs = {name: on or str(described["spec"]) for name, described in proofs.devices(proof).items()}
    with ExitStack() as stack:
        meters = {}
        for name, spec in specs.items():
            try:
                device = open_device(spec)
                on_progress(Progress("verify", f"taking {spec}"))
                meter = Meter(device, on_message=lambda text: on_progress(Progress("verify", text)))
                meters[name] = stack.enter_context(meter)
            except (UserError, DeviceLost):
                if on is not None:
                    raise
        on_progress(Progress("verify", "comparing outputs, judging, measuring"))
        verdict = proofs.verify(path, build=_builder(path, on_progress), batches=batches, meter=meters)
    on_progress(Progress("verify", "", 1, 1))
    return verdict


def measure_file(path: Path, *, on: str, on_progress: Listener = nobody) -> Measurement:
    """Measure the latency of an ONNX file.

    Raises:
        UserError: when there is no such file, or the device cannot run it.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    device = open_device(on)
    inputs = OnnxFile(path).example_inputs()
    on_progress(Progress("measure", f"taking {device.spec}"))
    with Meter(device, on_message=lambda text: on_progress(Progress("measure", text))) as meter:
        call = device.prepare_file(str(path), inputs)
        on_progress(Progress("measure", f"alternating {path.name} with the reference network"))
        found = meter.measure(call, effort="final")
    on_progress(Progress("measure", "", 1, 1))
    return found


def profile_file(path: Path, *, on: str, calls: int = 50, on_progress: Listener = nobody) -> Profile:
    """Where the time of an ONNX file goes, operator by operator.

    Raises:
        UserError: when there is no such file, or the device cannot run it or tells no such times.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    if calls < 1:
        raise InvalidOption(f"calls={calls}: a profile needs at least one call")
    device = open_device(on)
    inputs = OnnxFile(path).example_inputs()
    on_progress(Progress("profile", f"taking {device.spec}"))
    with Meter(device, on_message=lambda text: on_progress(Progress("profile", text))):  # alone on the hardware
        on_progress(Progress("profile", f"{calls} calls of {path.name}"))
        found = device.profile_file(str(path), inputs, calls=calls)
    on_progress(Progress("profile", "", 1, 1))
    return found


def _judged(written: Written, pick: Sequence[str]) -> Written:
    """With a warning for every limit of ``pick`` that the latency in the certificate does not keep."""
    timed = {on_device("latency_ms", name): part for name, part in proofs.parts_of(written.certificate.data).items()}
    warnings = []
    for limit in limits(pick):
        if limit.metric in timed:
            found = timed[limit.metric]["latency"]
            if (found["high"] > limit.bound) if limit.sense == "<=" else (found["low"] < limit.bound):
                warnings.append(
                    f"{written.path.name} was picked by {limit}, but its certificate says {found['latency_ms']:.4g} ms "
                    f"[{found['low']:.4g}, {found['high']:.4g}]: the limit no longer holds for certain; pick with a "
                    "tighter one to be on the safe side"
                )
    return replace(written, warnings=tuple(warnings))


def _export_all(run: Run, members: Sequence[Member], on_progress: Listener, stop: Stop) -> list[Written]:
    """Into the run's folder, one device lock for all."""
    found = {m.name: _intact(m.name, run.exports / f"{m.name}.onnx") for m in members}
    missing = [m for m in members if found[m.name] is None]
    build = _builds(on_progress)
    with ExitStack() as stack:
        meters: dict[str, MeterOnUse] | None = None
        for number, member in enumerate(missing):
            if stop():
                raise Interrupted("stopped while exporting; the same command goes on from there")
            on_progress(Progress("export", f"{member.name} as ONNX and safetensors", number, len(missing)))
            materials = member.materials()
            if meters is None:
                meters = _meters(materials, stack, on_progress, stop)
            path = run.exports / f"{member.name}.onnx"
            found[member.name] = export_member(member, path, materials, meters=meters, build=build)
    if missing:
        on_progress(Progress("export", str(run.exports), len(missing), len(missing)))
    return [w for w in found.values() if w is not None]


def _meters(materials: Materials, stack: ExitStack, on_progress: Listener, stop: Stop) -> dict[str, MeterOnUse]:
    """Of all devices of the run; each takes its device when it first has to measure."""
    return open_meters(materials.on, materials.anchors, stack, keep=lambda *_: None, on_progress=on_progress, stop=stop)


def _intact(name: str, path: Path) -> Written | None:
    """What was exported before, if every file is still the one that was certified."""
    try:
        proof = proofs.read_certificate(path)
    except DamagedFile:
        return None
    whole = all(
        file.is_file() and file.name == name and sha256(file) == digest for file, (name, digest) in proof.files.items()
    )
    return Written(name, path, proof) if whole else None


def _batches(described: Mapping[str, Any] | None, moved: str | None) -> dict[str, Iterable[Any]] | None:
    """The splits that the certificate speaks of, where they are at hand."""
    if not described or not (moved or described.get("spec")):
        return None
    try:
        found = open_data(
            moved or described["spec"],
            resize=described["resize"],
            seed=described["seed"],
            limit=described["images"],
            options=described.get("options"),
        )
    except UserError:
        if moved:
            raise
        return None
    return {split: found.batches(split, EVALUATION_BATCH) for split in ("val", "test")}


def _builder(path: Path, on_progress: Listener) -> proofs.Build | None:
    """Builds the supernet that a network came from, unless only the process that searched it could."""
    from archsmith.export.safetensors import ARCHITECTURE, read_architecture

    stem = path.name.removesuffix(proofs.SUFFIX).removesuffix(".onnx")
    try:
        source = read_architecture(path.with_name(stem + ARCHITECTURE))["source"]
    except DamagedFile:
        return _builds(on_progress)  # the check itself will say what is wrong with the file
    return None if "live" in source else _builds(on_progress)


def _builds(on_progress: Listener) -> proofs.Build:
    """Builds the supernet of each source once: tracing takes seconds, and what is built is only read."""
    built: dict[str, Supernet] = {}

    def build(source: Mapping[str, Any]) -> Supernet:
        key = json.dumps(source, sort_keys=True)
        if key not in built:
            built[key] = rebuild(source, on_progress=on_progress)
        return built[key]

    return build
