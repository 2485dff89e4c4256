"""The data of a run for tables, JSON and the report, read from its store and its files; evaluates nothing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from archsmith.errors import UserError
from archsmith.evaluation import Evaluation
from archsmith.files import read_json
from archsmith.report import html
from archsmith.report.data import FinalNetwork, ReportData
from archsmith.report.text import best_found
from archsmith.runs.folder import RunFolder
from archsmith.runs.results import final_networks, recorded_search
from archsmith.store import Store

BASELINE_PREFIX = "baseline-"
"""Prefix of the names of baselines' journals."""


class _Proven(TypedDict):
    """The part of a certificate that is shown."""

    line: str


def report_data(run: RunFolder) -> ReportData:
    """The data of a run so far.

    Raises:
        UserError: when the search has not begun.
    """
    with run.store() as store:
        objectives, limits, evaluations = recorded_search(run, store)
        journal = store.journal(run.journal_name("search"))
        header, noted = journal.header or {}, {k: v for k, v in journal.noted.items() if k == "budget"}
        prefix = run.journal_name(BASELINE_PREFIX)
        baselines = {
            name.removeprefix(prefix): store.journal(name).evaluations
            for name in store.journals()
            if name.startswith(prefix)
        }
        networks = _networks(run, store, evaluations)
    described = run.fixed
    return ReportData(
        title=f"{_named(described['model'])} on {described['data'].get('spec') or 'data of its own'}",
        run=str(run.path),
        objectives=objectives,
        limits=limits,
        evaluations=evaluations,
        space=run.space,
        baselines=baselines,
        networks=networks,
        largest=evaluations[0] if evaluations else None,
        settings=_settings(described, header) | noted,
        seeds={"search": header["seed"]}
        | ({"training": trained["seed"]} if "seed" in (trained := described.get("training") or {}) else {}),
        environment=dict(evaluations[-1].environment) if evaluations else {},
        timing=run.timing,
        training=[
            {"epoch": row.get("epoch", number)}
            | {k.removeprefix("loss_"): v for k, v in row.items() if k.startswith("loss_")}
            for number, row in enumerate(run.training, 1)
        ],
        notes=run.notes,
    )


def write_report(run: RunFolder, path: Path | None = None) -> Path:
    """Write the report of a run: one HTML page that opens without internet access.

    Args:
        run: finished or not.
        path: ``report.html`` in the run's folder unless given.

    Raises:
        UserError: when ``path`` is a file but no HTML page: another file of the run, say.
    """
    target = path or run.path / "report.html"
    if target.is_file() and not html.is_page(target):
        raise UserError(f"{target} exists and is no report; give another name with --output, or move it away")
    html.write_html(report_data(run), target)
    return target


def summary(run: RunFolder) -> dict[str, Any]:
    """The front of a run as plain data for scripts; for an unfinished run, the front so far."""
    data = report_data(run)
    finished = bool(data.networks)
    rows = (
        [(n.name, n.best_known) for n in data.handed_out]
        if finished
        else [(e.architecture.key[:8], e) for e in data.front]
    )
    return {
        "run": data.run,
        "finished": finished,
        "objectives": [{"metric": o.metric, "goal": o.goal} for o in data.objectives],
        "limits": [x.to_json() for x in data.limits],
        "evaluations": len(data.evaluations),
        "failed": len(data.failed),
        "front": [
            {
                "name": name,
                "architecture": e.architecture.to_dict(),
                "values": {metric: value.to_json() for metric, value in e.values.items()},
            }
            for name, e in rows
        ],
        "dropped": {n.name: n.dropped for n in data.networks if n.dropped},
    }


def _networks(run: RunFolder, store: Store, evaluations: list[Evaluation]) -> list[FinalNetwork]:
    """The networks of the last check, with their exported files; empty before it."""
    found, what = [], "a certificate"
    for c in final_networks(run, store, evaluations):
        certificate = run.exports / f"{c.name}.certificate.json"
        found.append(
            FinalNetwork(
                name=c.name,
                evaluation=c.belief,
                final=c.final,
                files={
                    str(f.relative_to(run.path)): f.stat().st_size
                    for f in sorted(run.exports.glob(f"{c.name}.*"))
                    if f.is_file()
                },
                certificate=read_json(certificate, what=what, form=_Proven) if certificate.is_file() else None,
                dropped=c.dropped,
            )
        )
    return found


def _settings(described: Mapping[str, Any], header: Mapping[str, Any]) -> dict[str, Any]:
    """The user's settings, in words."""
    data, model = described["data"], described["model"]
    options = ", ".join(f"{k} {_words(v)}" for k, v in (model["options"] if model else {}).items())
    return {
        "model": f"{_named(model)} ({options})" if options else _named(model),
        **{f"elastic: {k}": _listed(v) for k, v in (model.get("elastic", {}) if model else {}).items()},
        "data": data.get("spec") or f"a loader (fingerprint {data['fingerprint']})",
        **{name: data[name] for name in ("resize", "images") if data.get(name)},
        "device": _devices(described["device"]),
        "strategy": header["strategy"],
        **{f"{header['strategy']}: {k}": _words(v) for k, v in header["options"].items()},
        "objectives": ", ".join(header["objectives"]),
        "limits": ", ".join(header["limits_as_written"]) or "none",
        "sampling": "uniform per choice",
        **{f"training: {k}": v for k, v in (described.get("training") or {}).items() if v is not None},
    }


def _named(model: Mapping[str, Any] | None) -> str:
    return (
        str(next(model[k] for k in ("network", "model", "factory") if k in model)) if model else "a live Python model"
    )


def _devices(described: str | Mapping[str, str]) -> str:
    if isinstance(described, str):
        return described
    return ", ".join(f"{name} = {spec}" for name, spec in described.items())


def _listed(value: Any) -> str:
    """An option of elasticity: a value, several, or several of each pattern."""
    if isinstance(value, Mapping):
        return "; ".join(f"{pattern} = {_listed(sizes)}" for pattern, sizes in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _words(value: Any) -> str:
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)


def nothing_left(run: RunFolder) -> str:
    """Why a search has no networks to export, and what to do."""
    goes_on = (
        "" if (run.path / "front.json").exists() else ", or go on with its command if it was stopped before its end"
    )
    return (
        f"{best_found(report_data(run))}. {run.path} has nothing to export: loosen a limit in another --run, which "
        f"need not train again with --trained {shlex.quote(str(run.path))}{goes_on}"
    )
