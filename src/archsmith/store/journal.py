"""The journal of one run: asks and results, line by line, in the order of commits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from sqlalchemy import Connection, Row, func, insert, select

from archsmith.architecture import Proposal
from archsmith.errors import RunLocked, RunMismatch
from archsmith.evaluation import Evaluation
from archsmith.store import _forms, _records
from archsmith.store._database import Database
from archsmith.store._records import Identity
from archsmith.store._schema import JOURNAL, RUNS

T = TypeVar("T")
Kind = Literal["give", "ask", "tell", "restart", "noted"]


@dataclass(frozen=True)
class Line:
    """One line of a journal.

    Args:
        number: from 0, without gaps.
        kind: ``give`` (proposals of the caller), ``ask``, ``tell``, ``restart`` (from here on a fresh strategy, which
            was told everything before) or ``noted`` (changed circumstances, from here on).
        n: how many proposals were asked for.
        proposals: given by the caller, or asked from the strategy.
        evaluations: told to the strategy, as they are stored.
        new: how many of them this line added to the store.
        reason: of a restart.
        noted: the circumstances from here on, such as versions of libraries.
        generator: state of the strategy's random generator after an ask, where it is known.
        seconds: of work since the previous line; time in which no process ran does not count.
    """

    number: int
    kind: Kind
    n: int = 0
    proposals: tuple[Proposal, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    new: int = 0
    reason: str = ""
    noted: Mapping[str, Any] | None = None
    generator: Mapping[str, Any] | None = None
    seconds: float = 0.0


class Journal:
    """One named run in a store: a header, then lines; made by ``store.journal(name)``.

    Reading is free at any time; writing needs :meth:`locked`. A line and the evaluations that it tells
    become durable in one transaction.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self.name = name
        self._run: int | None = None
        self._next = 0

    @property
    def label(self) -> str:
        """Its name in errors."""
        return f"run {self.name!r} in {self._database.label}"

    @property
    def header(self) -> dict[str, Any] | None:
        """The settings that must be equal when the run is continued; ``None`` before :meth:`begin`."""
        header = self._header()
        return None if header is None else header["header"]

    @property
    def noted(self) -> dict[str, Any]:
        """The circumstances that were noted last, such as versions of libraries."""
        changed = [line.noted for line in self._lines("noted") if line.noted is not None]
        header = self._header()
        return dict(changed[-1]) if changed else header["noted"] if header else {}

    @property
    def lines(self) -> list[Line]:
        """All lines so far."""
        return self._lines(*get_args(Kind))

    @property
    def evaluations(self) -> list[Evaluation]:
        """The evaluations told in this run so far, each once, in the order of its lines."""
        return list({e.identity: e for line in self._lines("tell") for e in line.evaluations}.values())

    def known(self, identities: Sequence[Identity]) -> dict[Identity, Evaluation]:
        """The evaluations of those identities that the store has, from any run."""
        label = self._database.label
        return self._database.read(lambda connection: _records.find(connection, identities, label=label))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock for writing this run; may be nested.

        Raises:
            RunLocked: naming the process that holds it.
        """
        with self._database.locked(self.name):
            self._run, self._next = self._database.read(self._found)
            yield

    def _found(self, connection: Connection) -> tuple[int | None, int]:
        """The run's row, and the number of its next line."""
        run = connection.execute(select(RUNS.c.id).where(RUNS.c.name == self.name)).scalar_one_or_none()
        lines = select(func.count(), func.max(JOURNAL.c.number)).where(JOURNAL.c.run == run)
        count, last = connection.execute(lines).one()
        if count and last != count - 1:
            raise _forms.damaged(self.label, f"its last line is {last!r}, and there are {count}")
        return run, count

    def begin(self, header: Mapping[str, Any], noted: Mapping[str, Any] | None = None) -> None:
        """Write the header of a new run.

        Args:
            header: plain data that must be equal whenever the run is continued.
            noted: plain data that may change.

        Raises:
            RunMismatch: when the run has begun already.
        """
        body = _records.dump({"header": dict(header), "noted": dict(noted or {})}, what=f"the header of {self.label}")
        if self._run is not None:
            raise RunMismatch(f"{self.label} has begun already; continue it, or choose another name")
        new = insert(RUNS).values(name=self.name, header=body).returning(RUNS.c.id)
        there = select(RUNS.c.id).where(RUNS.c.name == self.name, RUNS.c.header == body)
        self._run = self._write(
            lambda connection: int(connection.execute(new).scalar_one()),
            lambda connection: connection.execute(there).scalar_one_or_none(),
        )

    def give(self, proposals: Sequence[Proposal], *, seconds: float = 0.0) -> Line:
        """Record proposals that the caller wants evaluated before those of the strategy."""
        return self._append("give", {"proposals": [p.to_json() for p in proposals]}, seconds)

    def ask(
        self,
        n: int,
        proposals: Sequence[Proposal],
        *,
        generator: Mapping[str, Any] | None = None,
        seconds: float = 0.0,
    ) -> Line:
        """Record that ``n`` proposals were asked for, the proposals, and the state of the strategy's generator."""
        body: dict[str, Any] = {"n": n, "proposals": [p.to_json() for p in proposals]}
        if generator is not None:
            body["generator"] = dict(generator)
        return self._append("ask", body, seconds)

    def tell(self, evaluations: Sequence[Evaluation], *, seconds: float = 0.0) -> Line:
        """Store evaluations and record that they are told, in one transaction.

        Returns:
            The line, with each evaluation as it is stored: the first one, where its identity was stored before.
        """
        label = self._database.label

        def put(connection: Connection) -> Line:
            numbers, new = _records.put(connection, evaluations)
            body = {"evaluations": numbers, "new": new}
            self._insert(connection, "tell", body, seconds)
            return read(connection, body)

        def put_before(connection: Connection) -> Line | None:
            text = self._there(connection, "tell", seconds)
            numbers, _ = _records.put(connection, evaluations)
            body = {} if text is None else _forms.read(text, _forms.TellForm, what=self._place(self._next))
            return read(connection, body) if body.get("evaluations") == numbers else None

        def read(connection: Connection, body: dict[str, Any]) -> Line:
            stored = _records.by_number(connection, sorted(set(body["evaluations"])), label=label)
            return self._line(self._next, "tell", body, seconds, stored)

        line = self._write(put, put_before)
        self._next += 1
        return line

    def restart(self, reason: str, *, seconds: float = 0.0) -> Line:
        """Record that from here on a fresh strategy proposes, which was told everything before."""
        return self._append("restart", {"reason": reason}, seconds)

    def note(self, noted: Mapping[str, Any], *, seconds: float = 0.0) -> Line:
        """Record changed circumstances."""
        return self._append("noted", {"noted": dict(noted)}, seconds)

    def _write(self, work: Callable[[Connection], T], done: Callable[[Connection], T | None]) -> T:
        if not self._database.holds(self.name):
            raise RunLocked(f"{self.label} may be written only by the holder of its lock: with journal.locked(): ...")
        return self._database.write(work, done)

    def _append(self, kind: Kind, body: dict[str, Any], seconds: float) -> Line:
        line, text = self._line(self._next, kind, body, seconds, {}), self._text(body)

        def append(connection: Connection) -> Line:
            self._insert(connection, kind, body, seconds)
            return line

        self._write(append, lambda connection: line if self._there(connection, kind, seconds) == text else None)
        self._next += 1
        return line

    def _there(self, connection: Connection, kind: Kind, seconds: float) -> str | None:
        """The body of the next line, if the lost connection had committed one of this kind and duration."""
        at = (JOURNAL.c.run == self._run, JOURNAL.c.number == self._next)
        query = select(JOURNAL.c.body).where(*at, JOURNAL.c.kind == kind, JOURNAL.c.seconds == seconds)
        return connection.execute(query).scalar_one_or_none()

    def _text(self, body: Mapping[str, Any]) -> str:
        return _records.dump(body, what=f"a line of {self.label}")

    def _insert(self, connection: Connection, kind: Kind, body: dict[str, Any], seconds: float) -> None:
        if self._run is None:
            raise RunMismatch(f"{self.label} has no header yet; begin it first")
        values = {"kind": kind, "body": self._text(body), "seconds": seconds}
        connection.execute(insert(JOURNAL).values(run=self._run, number=self._next, **values))

    def _header(self) -> dict[str, Any] | None:
        query = select(RUNS.c.header).where(RUNS.c.name == self.name)
        body = self._database.read(lambda connection: connection.execute(query).one_or_none())
        if body is None:
            return None
        found: dict[str, Any] = _forms.read(body.header, _forms.HeaderForm, what=f"the header of {self.label}")
        return found

    def _lines(self, *kinds: str) -> list[Line]:
        return self._database.read(lambda connection: self._read(connection, kinds))

    def _read(self, connection: Connection, kinds: Sequence[str]) -> list[Line]:
        query = select(JOURNAL).join(RUNS).where(RUNS.c.name == self.name).order_by(JOURNAL.c.number)
        rows = connection.execute(query).all()
        for number, row in enumerate(rows):
            self._check(row, number)
        rows = [row for row in rows if row.kind in kinds]
        bodies = [_forms.read(row.body, _forms.BODIES[row.kind], what=self._place(row.number)) for row in rows]
        wanted = sorted({number for body in bodies for number in body.get("evaluations", ())})
        stored = _records.by_number(connection, wanted, label=self._database.label)
        return [self._line(r.number, r.kind, b, r.seconds, stored) for r, b in zip(rows, bodies, strict=True)]

    def _check(self, row: Row[Any], number: int) -> None:
        """Check the columns beside the body.

        Raises:
            DamagedFile: naming the line and what is wrong.
        """
        what = self._place(number)
        if row.number != number:
            raise _forms.damaged(what, f"line {row.number!r} stands in its place")
        if row.kind not in _forms.BODIES:
            raise _forms.damaged(what, f"{row.kind!r} is no kind of line")
        if not isinstance(row.seconds, int | float) or not 0 <= row.seconds < math.inf:
            raise _forms.damaged(what, f"it took {row.seconds!r} seconds")

    def _place(self, number: int) -> str:
        return f"line {number} of {self.label}"

    def _line(
        self, number: int, kind: Kind, body: Mapping[str, Any], seconds: float, stored: Mapping[int, Evaluation]
    ) -> Line:
        what = self._place(number)
        told = body.get("evaluations", ())
        if missing := [i for i in told if i not in stored]:
            raise _forms.damaged(what, f"evaluation {missing[0]} is not in the store")
        if body.get("new", 0) > len(told):
            raise _forms.damaged(what, f"{body['new']} of its {len(told)} evaluations are new")
        return Line(
            number,
            kind,
            n=body.get("n", 0),
            proposals=tuple(_forms.proposal(p, what=what) for p in body.get("proposals", ())),
            evaluations=tuple(stored[i] for i in told),
            new=body.get("new", 0),
            reason=body.get("reason", ""),
            noted=body.get("noted"),
            generator=body.get("generator"),
            seconds=seconds,
        )
