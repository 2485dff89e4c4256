"""Networks of a front, or of a run on disk, as files with certificates."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from archsmith import certificate as proofs
from archsmith.api.front import Front, Member
from archsmith.api.run import Run
from archsmith.delivery.files import Written, builds, export_meters, intact
from archsmith.errors import Infeasible, Interrupted, InvalidOption
from archsmith.hardware.meters import MeterOnUse
from archsmith.metric import limits, on_device
from archsmith.progress import SILENT, Listener, Reporter, nobody
from archsmith.report.of_run import nothing_left
from archsmith.runs.folder import RunFolder


def export_front(front: Front, *, reporter: Reporter = SILENT) -> list[Written]:
    """Export every member into the run's ``exports/``; intact earlier exports are kept.

    Raises:
        Interrupted: when ``stop`` asked to stop.
    """
    return _export_all(front.run, front.members, reporter)


def exports_intact(front: Front) -> bool:
    """Whether every member's files exist and are those that were certified."""
    return all(intact(m.name, front.run.exports / f"{m.name}.onnx") for m in front)


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

    With ``trust`` the run is treated as the user's own from now on.

    Raises:
        InvalidOption: for contradictory options.
        Infeasible: when no member is within the limits of ``pick``, or no network within those of the search.
        Untrusted: when the run is somebody else's and names code, files or agents.
    """
    reporter = Reporter(on_progress)
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
            return [_judged(w, pick) for w in _export_all(run, chosen, reporter)]
    if len(chosen) != 1:
        raise InvalidOption(f"--output names one file, but {len(chosen)} networks are chosen; add --pick or --name")
    reporter.at("export").progress(chosen[0].name, 0, 1)
    written = chosen[0].export(output, build=builds(reporter))
    reporter.at("export").progress(chosen[0].name, 1, 1)
    return [_judged(written, pick)]


def _judged(written: Written, pick: Sequence[str]) -> Written:
    """The export with a warning for every limit of ``pick`` that the latency in the certificate does not meet."""
    timed = {
        on_device("latency_ms", name): part for name, part in proofs.device_parts(written.certificate.data).items()
    }
    warnings = []
    for limit in limits(pick):
        if limit.metric in timed:
            found = timed[limit.metric]["latency"]
            if (found["high"] > limit.bound) if limit.sense == "<=" else (found["low"] < limit.bound):
                warnings.append(
                    f"{written.path.name} was picked by {limit}, but its certificate says {found['latency_ms']:.4g} ms "
                    f"[{found['low']:.4g}, {found['high']:.4g}], which may exceed the limit; pick with a tighter limit "
                    "to be safe"
                )
    return replace(written, warnings=(*written.warnings, *warnings))


def _export_all(run: RunFolder, members: Sequence[Member], reporter: Reporter) -> list[Written]:
    """Export into the run's folder, with one device lock for all."""
    found = {m.name: intact(m.name, run.exports / f"{m.name}.onnx") for m in members}
    missing = [m for m in members if found[m.name] is None]
    build = builds(reporter)
    if not run.names.own:  # the files came with somebody else's run, so their certificates prove nothing yet
        warning = "was exported where the run was made and is not verified here: run archsmith verify"
        found = {name: w and replace(w, warnings=(f"{w.path.name} {warning}",)) for name, w in found.items()}
    with ExitStack() as stack:
        meters: dict[str, MeterOnUse] | None = None
        for number, member in enumerate(missing):
            if reporter.stop():
                raise Interrupted("stopped while exporting; the same command goes on from there")
            reporter.at("export").progress(f"{member.name} as ONNX and safetensors", number, len(missing))
            context = member.context()
            if meters is None:
                meters = export_meters(context, stack, reporter)
            path = run.exports / f"{member.name}.onnx"
            found[member.name] = member.export(path, meters=meters, build=build)
    if missing:
        reporter.at("export").progress(str(run.exports), len(missing), len(missing))
    return [w for w in found.values() if w is not None]
