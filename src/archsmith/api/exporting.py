"""Networks as files: write them with a certificate, verify them, measure them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archsmith import certificate as proofs
from archsmith.api.devices import MeterOnUse, open_meters
from archsmith.api.front import Front, Member
from archsmith.api.materials import Materials, rebuild
from archsmith.api.progress import Listener, Progress, Stop, never, nobody
from archsmith.api.quantised_export import write_onnx
from archsmith.api.reading import nothing_left
from archsmith.api.run import Run
from archsmith.certificate import Certificate, Exported
from archsmith.errors import DamagedFile, Infeasible, Interrupted, InvalidOption, UserError
from archsmith.export._onnx_file import OnnxFile
from archsmith.export.base import Origin, check_suffix
from archsmith.export.safetensors import ARCHITECTURE, Safetensors
from archsmith.files import sha256
from archsmith.hardware import Measurement, Meter, open_device
from archsmith.hardware.profiling import Profile
from archsmith.metric import limits, on_device
from archsmith.supernet import Supernet
from archsmith.trust import foreign, import_folders, names_of, remember


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
    trust: bool = False,
    on_progress: Listener = nobody,
) -> list[Written]:
    """Export from a run on disk: the named member, the best within limits, or all.

    With ``trust`` the run is taken as the user's own from now on.

    Raises:
        InvalidOption: for contradictory wishes.
        Infeasible: when no member is within the limits of ``pick``, or no network within those of the search.
        Untrusted: when the run is somebody else's and names code, files or agents.
    """
    if name and (pick or by):
        raise InvalidOption("give either --name or --pick/--by, not both")
    run = Run.open(folder, trust=trust)
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
    written = export_member(chosen[0], output, chosen[0].materials(), build=builds(on_progress))
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
    weights = path.with_suffix(".safetensors")
    if weights.exists() and not path.with_suffix(ARCHITECTURE).exists():  # a run's own, say
        raise UserError(f"{weights} exists and belongs to no exported network; give another name with --output")
    with names_of(materials.names):
        return _exported(member, path, materials, meters, build)


def _exported(
    member: Member, path: Path, materials: Materials, meters: Mapping[str, MeterOnUse] | None, build: proofs.Build
) -> Written:
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
    if not foreign():
        remember(proof.path, anywhere=True, imports_from=import_folders()[0])
    return Written(member.name, path, proof)


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
    return replace(written, warnings=(*written.warnings, *warnings))


def _export_all(run: Run, members: Sequence[Member], on_progress: Listener, stop: Stop) -> list[Written]:
    """Into the run's folder, one device lock for all."""
    found = {m.name: _intact(m.name, run.exports / f"{m.name}.onnx") for m in members}
    missing = [m for m in members if found[m.name] is None]
    build = builds(on_progress)
    if not run.names.own:  # the run came with them: they are as good as its maker's word
        said = "was exported where the run was made, and nothing of it was proved here: archsmith verify does that"
        found = {name: w and replace(w, warnings=(f"{w.path.name} {said}",)) for name, w in found.items()}
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
    with names_of(materials.names):
        return open_meters(
            materials.on, materials.anchors, stack, keep=lambda *_: None, on_progress=on_progress, stop=stop
        )


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


def builds(on_progress: Listener) -> proofs.Build:
    """Builds the supernet of each source once: tracing takes seconds, and what is built is only read."""
    built: dict[str, Supernet] = {}

    def build(source: Mapping[str, Any]) -> Supernet:
        key = json.dumps(source, sort_keys=True)
        if key not in built:
            built[key] = rebuild(source, on_progress=on_progress)
        return built[key]

    return build
