"""The folder of a run: one search on disk.

run.json                  model source, shapes, space, data: must stay the same
state.json                results of the stages: weights' fingerprint, the devices' anchors, notes, time spent
training/                 the trainer's checkpoint, while and after it trains
supernet.safetensors      the trained weights
calibration.safetensors   the training batches that batch-norm statistics are computed from
store.db                  evaluations and journals (or a database elsewhere, named in run.json)
measurements.jsonl        every latency that was measured, with its raw samples and circumstances, a line each
front.json                which networks are in the final front, and which were dropped and why
exports/                  networks of the front as files, each with its certificate
report.html               one page that opens without internet access
run.lock                  names the process that is writing in this folder
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from archsmith import space as spaces
from archsmith.changes import differences
from archsmith.errors import DamagedFile, InvalidOption, RunMismatch, UserError
from archsmith.evaluation import Evaluation
from archsmith.files import append_line, read_json, translating, write_json
from archsmith.hardware.named import UNNAMED, named_devices
from archsmith.progress import Listener, Reporter, nobody
from archsmith.runs.record import FORMAT, State, check_record
from archsmith.space import ChoiceSpace
from archsmith.store import Store
from archsmith.store.locks import FileLock
from archsmith.trust import Names, check_own_folder, names_of, recall, remember

if TYPE_CHECKING:
    from archsmith.architecture import Proposal
    from archsmith.hardware import Device, Measurement


@dataclass(frozen=True)
class RunFolder:
    """A run's folder and the content of ``run.json``; :meth:`open` reads an existing one.

    Args:
        path: the folder.
        record: the content of ``run.json``.
        names: whether the names in ``run.json`` are followed: see :mod:`archsmith.trust`.
    """

    path: Path
    record: Mapping[str, Any]
    names: Names

    @classmethod
    def open(cls, path: str | Path, *, trust: bool = False) -> Self:
        """An existing run.

        Args:
            path: of the folder.
            trust: treat the run as your own from now on: code, data, agents and databases that it names are used. Runs
                made here under this path are trusted already.

        Raises:
            UserError: when there is none at ``path``; names a run beside it.
            RunMismatch: when a newer archsmith wrote it.
            DamagedFile: when ``run.json`` cannot be read.
        """
        path = _folder(path)
        if not (path / "run.json").exists():
            raise UserError(f"no run at {path}: it has no run.json{_near(path)}")
        file = path / "run.json"
        if not (own := recall(file).own):
            check_own_folder(path, writing=trust)
        record = read_json(file, what="the description of a run")
        check_record(record, path)
        if trust and not own:
            remember(file, imports_from=Path.cwd())
        names = recall(file)
        if names.own or trust:
            folders = names.imports_from or ()
            names = replace(names, own=True, imports_from=tuple(dict.fromkeys((*folders, Path.cwd()))))
        return cls(path, record, names)

    @classmethod
    def begin(cls, path: str | Path, fixed: Mapping[str, Any], *, store: str | None = None) -> Self:
        """Begin a run, or open the existing one to resume it.

        Args:
            path: of the folder; made where it is missing.
            fixed: settings that must be equal on resume: model, inputs, space, data, training, device.
            store: URL of a database; ``store.db`` in the folder where it is ``None``.

        Raises:
            RunMismatch: naming everything that differs from what the run was begun with.
        """
        path = _folder(path)
        _check_store(store)
        if (path / "run.json").exists():
            run = cls.open(path)
            if not (changed := run._changed(fixed, store)):
                return cls.open(path, trust=True)  # the caller has named everything that it names
            if run._has_results or not run.names.own:
                raise RunMismatch(
                    f"{path} was begun with other settings (then -> now): {'; '.join(changed)}. "
                    "Give the same command again to resume it, or another --run for a new one."
                )
            (path / "state.json").unlink(missing_ok=True)  # nothing was done yet: the run begins with the new settings
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path} exists and is no run of archsmith; name an empty or a new folder with --run")
        if store is not None:
            Store.open(store).close()  # fails now, not after training, if the database cannot be reached
        record = {
            "format": FORMAT,
            "id": uuid.uuid4().hex[:12],
            "store": store,
            "fixed": dict(fixed),
        }
        write_json(path / "run.json", record)
        return cls.open(path, trust=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock for writing in the folder: training, the search, exports and their records.

        Raises:
            RunLocked: naming the process that holds it.
        """
        with translating(self.path):
            lock = FileLock(self.path / "run.lock", label=str(self.path))
        try:
            yield
        finally:
            lock.release()

    @property
    def fixed(self) -> Mapping[str, Any]:
        """The settings that must be equal on resume."""
        fixed: Mapping[str, Any] = self.record["fixed"]
        return fixed

    @property
    def training(self) -> list[dict[str, float]]:
        """One row an epoch; empty before training has ended."""
        return list(self._state().get("training", []))

    @property
    def weights(self) -> str:
        """Fingerprint of the trained weights; empty before they are saved."""
        return str(self._state().get("weights", ""))

    @property
    def anchors(self) -> dict[str, float]:
        """Device -> the reference network's milliseconds that its latencies in this run are based on, once known."""
        state = self._state()
        unnamed = {UNNAMED: state["anchor_ms"]} if state.get("anchor_ms") is not None else {}
        return {**unnamed, **state.get("anchors", {})}

    def keep_anchor(self, device: str, anchor_ms: float) -> None:
        """Save the anchor of a device; that of an unnamed device has a field of its own."""
        if device == UNNAMED:
            self.keep(anchor_ms=anchor_ms)
        else:
            self.keep(anchors={**self._state().get("anchors", {}), device: anchor_ms})

    def check_machine(self, name: str, device: Device) -> None:
        """Save the machine that a device is on; refuse another one when the run goes on.

        Raises:
            RunMismatch: naming what differs, as latencies of two machines are not comparable.
        """
        machines = self._state().get("machines", {})
        now = {"fingerprint": device.fingerprint, **device.environment()}
        before = machines.get(name)
        if before is None:
            self.keep(machines={**machines, name: now})
        elif before["fingerprint"] != now["fingerprint"]:
            changed = "; ".join(differences(before, now))
            raise RunMismatch(
                f"{self.path} was measured on another machine or runtime than {device.spec} is now (then -> now): "
                f"{changed}. Latencies of the two are not comparable: go on where it was begun, or give another --run "
                f"with --trained {shlex.quote(str(self.path))}, which need not train again"
            )

    @property
    def devices(self) -> dict[str, str]:
        """Name -> spec of the devices that are measured on."""
        return named_devices(self.fixed["device"])

    @property
    def notes(self) -> list[str]:
        """Notes for readers of the results, in the order in which they were made."""
        return list(self._state().get("notes", []))

    @property
    def timing(self) -> dict[str, float]:
        """Part of the work -> seconds spent on it, over all resumes."""
        return dict(self._state().get("timing", {}))

    @property
    def done(self) -> str | None:
        """Stamp of the job that was finished in this folder; ``None`` before that."""
        return self._state().get("done")

    def keep(self, **state: Any) -> None:
        """Save fields of ``state.json``: ``weights``, ``anchors``, ``machines``, ``notes``, ..."""
        write_json(self.path / "state.json", self._state() | state)

    def keep_measurement(self, metric: str, proposal: Proposal, measured: Measurement) -> None:
        """Add a line to ``measurements.jsonl``: network, metric, every raw sample and the state of the machine."""
        path = self.path / "measurements.jsonl"
        line = {"architecture": proposal.architecture.key, "metric": metric, **measured.to_json()}
        append_line(path, json.dumps(line))

    def note(self, text: str) -> None:
        """Save a note for readers of the results, once."""
        if text not in self.notes:
            self.keep(notes=[*self.notes, text])

    def spent(self, part: str, seconds: float) -> None:
        """Add ``seconds`` to the time spent on a part of the work."""
        timing = self.timing
        self.keep(timing=timing | {part: round(timing.get(part, 0) + seconds, 3)})

    def _state(self) -> dict[str, Any]:
        path = self.path / "state.json"
        if not path.exists():
            return {}
        what, way_out = "the state of a run", "delete it and give the run's `archsmith search` command again"
        found: dict[str, Any] = read_json(path, what=what, way_out=way_out, form=State)
        return found

    @property
    def space(self) -> ChoiceSpace:
        """The search space."""
        found = spaces.from_json(self.fixed["space"])
        if not isinstance(found, ChoiceSpace):
            raise DamagedFile(f"{self.path / 'run.json'} describes no space of choices; restore it from a copy")
        return found

    @property
    def exports(self) -> Path:
        """Folder of the exported networks."""
        return self.path / "exports"

    def store(self, *, writable: bool = False, on_progress: Listener = nobody) -> Store:
        """The open store; close it, or use it in a ``with`` statement.

        Args:
            writable: for a search; the store is made where it is missing. Otherwise nothing in the folder is changed.
            on_progress: gets progress while a server does not respond.

        Raises:
            UserError: when it is missing and ``writable`` is false, or cannot be reached.
            Untrusted: when somebody else's run names a database elsewhere.
        """
        with names_of(self.names):
            return Store.open(
                self.record["store"] or self.path / "store.db",
                create=writable,
                writable=writable,
                reporter=Reporter(on_progress, stage="store"),
            )

    def journal_name(self, name: str) -> str:
        """Full name of one of this run's journals: with the run's id in a database, which several runs may share."""
        return f"{self.record['id']}/{name}" if self.record["store"] else name

    def evaluations(self, name: str = "search") -> list[Evaluation]:
        """Evaluations of one journal, in the order of commits; empty where it was never begun."""
        with self.store() as store:
            return store.journal(self.journal_name(name)).evaluations

    def header(self, name: str = "search") -> Mapping[str, Any]:
        """The header of one journal: strategy, options, seed, objectives, limits; empty where it was never begun."""
        with self.store() as store:
            return store.journal(self.journal_name(name)).header or {}

    def _changed(self, fixed: Mapping[str, Any], store: str | None) -> list[str]:
        """Differences from the settings that the run was begun with."""
        return differences({**self.fixed, "store": self.record["store"]}, {**fixed, "store": store})

    @property
    def _has_results(self) -> bool:
        """Whether training has saved anything in this run, so that its settings can no longer change."""
        weights = ("training/checkpoint.safetensors", "supernet.safetensors")
        return bool(self.weights) or any((self.path / name).exists() for name in weights)


def _folder(path: str | Path) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise InvalidOption(f"a run is a folder, such as 'runs/first'; got {path!r}")
    return Path(path)


def _check_store(store: str | None) -> None:
    """Refuse what is no URL, and URLs with a password: everybody who reads the results can read ``run.json``."""
    if store is None:
        return
    if "://" not in store:
        raise InvalidOption(f"store={store!r} must be a URL such as postgresql://user@host/database, or be left out")
    if re.search(r"://[^/@]*:[^/@]*@", store) or re.search(r"[?&]password=", store):
        raise InvalidOption(
            "the store's URL contains a password, which would be written into run.json; leave it out and set "
            "PGPASSWORD, or keep it in ~/.pgpass"
        )


def _near(path: Path) -> str:
    """Runs beside ``path``, the nearest name first."""
    folder = path.parent if path.parent.is_dir() else Path()
    runs = sorted(f.parent.name for f in folder.glob("*/run.json"))
    near = difflib.get_close_matches(path.name, runs, n=1) or runs[:5]
    return f"; beside it there is {', '.join(str(folder / n) for n in near)}" if near else ""
