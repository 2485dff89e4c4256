"""Verifying a certificate with the model, data and devices that its files name, as far as they may be used here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from archsmith import certificate as proofs
from archsmith.certificate import Certificate, Verdict
from archsmith.data import open_data
from archsmith.delivery.files import builds
from archsmith.errors import DamagedFile, DeviceLost, Untrusted, UserError
from archsmith.export.safetensors import read_architecture
from archsmith.files import sha256
from archsmith.hardware import Meter, open_device
from archsmith.progress import Listener, Reporter, nobody
from archsmith.runs.context import EVALUATION_BATCH
from archsmith.runs.folder import RunFolder
from archsmith.trust import Names, foreign, names_of, recall, refuse, remember


def verify_file(
    path: Path,
    *,
    on: str | None = None,
    data: str | None = None,
    trust: bool = False,
    on_progress: Listener = nobody,
) -> Verdict:
    """Check an exported network against its certificate, with everything that is available here.

    Code, data and agents that somebody else's files name are not used, except for networks of archsmith, timm and
    torchvision and archsmith's own data; checks that would need them are skipped and say so. Modules are never imported
    from the current folder.

    Args:
        path: of the ONNX file or its certificate.
        on: device to measure on instead of each of the certificate's.
        data: where the data are, if they have moved, or if the files are somebody else's.
        trust: use what the files name, now and from now on.
        on_progress: called with progress.

    Raises:
        DamagedFile: when there is no certificate that can be read.
    """
    reporter = Reporter(on_progress)
    proof = proofs.read_certificate(path)
    names = _names(proof, trust=trust)
    reasons: dict[str, str] = {}
    reporter.at("verify").progress("reading the data")
    batches = _batches(proof, data, names, reasons)
    with ExitStack() as stack:
        meters = _meters(proof, on, names, stack, reasons, reporter)
        reporter.at("verify").progress("comparing outputs, measuring accuracy and latency")
        with names_of(names):
            verdict = proofs.verify(
                path, build=_builder(proof, reporter), batches=batches, meter=meters, reasons=reasons
            )
    reporter.at("verify").progress("", 1, 1)
    return verdict


def _names(proof: Certificate, *, trust: bool) -> Names:
    """Whose names a certificate and the architecture file beside it hold."""
    file = proof.path
    if trust:
        remember(file, anywhere=True)
    architecture = proof.architecture
    found = recall(file, anywhere=True)
    if trust and not found.own:  # the home folder cannot be written, so it was not remembered
        found = Names(file, own=True, imports_from=())
    if found.own and architecture.is_file() and sha256(architecture) == proof.files[architecture][1]:
        return found
    return _names_of_run(proof) or replace(found, own=False)


def _names_of_run(proof: Certificate) -> Names | None:
    """The names of the run that the file is in, if the run is the user's own and names the same things."""
    folder = proof.path.resolve().parent.parent
    if proof.path.resolve().parent.name != "exports" or not (folder / "run.json").is_file():
        return None
    try:
        run, source = RunFolder.open(folder), read_architecture(proof.architecture)["source"]
    except UserError:
        return None
    specs = {part["spec"] for part in proofs.certified_devices(proof).values()}
    named = source == run.fixed["model"] and proof.data.get("export", {}).get("data") == run.fixed["data"]
    if not (named and specs <= set(run.devices.values())):
        return None
    found = recall(folder / "run.json")
    return found if found.own else None


def _batches(
    proof: Certificate, moved: str | None, names: Names, reasons: dict[str, str]
) -> dict[str, Iterable[Any]] | None:
    """The certificate's splits of the data; ``None`` where they are not available, with the reason in ``reasons``."""
    described: Mapping[str, Any] = proof.data.get("export", {}).get("data") or {}
    if not (moved or described.get("spec")):
        return None
    try:
        with names_of(names):
            options = described.get("options")
            if options and foreign():
                refuse(f"read the data with {', '.join(f'{k}={v}' for k, v in options.items())}")
        with names_of(None if moved else names):  # with --data the user names them
            found = open_data(
                moved or described["spec"],
                resize=described.get("resize"),
                seed=described.get("seed", 0),
                limit=described.get("images"),
                options=options,
            )
    except UserError as error:
        if moved and not isinstance(error, Untrusted):
            raise
        reasons["accuracy"] = str(error)
        return None
    return {split: found.batches(split, EVALUATION_BATCH) for split in ("val", "test")}


def _meters(
    proof: Certificate,
    on: str | None,
    names: Names,
    stack: ExitStack,
    reasons: dict[str, str],
    reporter: Reporter,
) -> dict[str, Meter]:
    """An open meter for each available device; for the others, the reason in ``reasons``."""
    meters = {}
    for name, part in proofs.certified_devices(proof).items():
        spec = on or str(part["spec"])
        try:
            with names_of(None if on else names):
                device = open_device(spec)
                reporter.at("verify").progress(f"taking {spec}")
                meter = Meter(device, reporter=reporter.at("verify"))
                meters[name] = stack.enter_context(meter)
        except (UserError, DeviceLost) as error:
            if on is not None:
                raise
            reasons[name] = str(error)
    return meters


def _builder(proof: Certificate, reporter: Reporter) -> proofs.Build | None:
    """Rebuilds the supernet that a network came from; ``None`` where its model was given as an object."""
    try:
        source = read_architecture(proof.architecture)["source"]
    except DamagedFile:
        return builds(reporter)  # the check reports what is wrong with the file
    return None if "live" in source else builds(reporter)
