"""What tables, JSON and the report show of a run: read from its store and its files, nothing is evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from archsmith.api.reading import checked, question_of
from archsmith.api.run import Run
from archsmith.evaluation import Evaluation
from archsmith.files import read_json
from archsmith.report import html
from archsmith.report.data import FinalNetwork, ReportData
from archsmith.store import Store

BASELINE = "baseline-"
"""How the journals of baselines begin."""


def report_data(run: Run) -> ReportData:
    """Everything known of a run so far.

    Raises:
        UserError: when the search has not begun.
    """
    with run.store() as store:
        objectives, limits, evaluations = question_of(run, store)
        header = store.journal(run.journal_name("search")).header or {}
        prefix = run.journal_name(BASELINE)
        baselines = {
            name.removeprefix(prefix): store.journal(name).evaluations
            for name in store.journals()
            if name.startswith(prefix)
        }
        networks = _networks(run, store, evaluations)
    described = run.fixed
    return ReportData(
        title=f"archsmith: {run.path.name}",
        run=str(run.path),
        objectives=objectives,
        limits=limits,
        evaluations=evaluations,
        space=run.space,
        baselines=baselines,
        networks=networks,
        largest=evaluations[0] if evaluations else None,
        settings=_settings(described, header),
        seeds={"search": header["seed"]},
        environment=dict(evaluations[-1].environment) if evaluations else {},
        timing=run.timing,
        training=[
            {"epoch": row["epoch"]} | {k.removeprefix("loss_"): v for k, v in row.items() if k.startswith("loss_")}
            for row in run.training
        ],
        notes=run.notes,
    )


def write_report(run: Run, path: Path | None = None) -> Path:
    """Write the report of a run: one HTML page that opens without a network.

    Args:
        run: finished or not.
        path: ``report.html`` in the run's folder unless given.
    """
    target = path or run.path / "report.html"
    html.write_html(report_data(run), target)
    return target


def summary(run: Run) -> dict[str, Any]:
    """The front of a run as plain data for scripts; of an unfinished one, as the search sees it so far."""
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


def _networks(run: Run, store: Store, evaluations: list[Evaluation]) -> list[FinalNetwork]:
    """The networks of the last check, with what was written for them; none before it."""
    found = []
    for c in checked(run, store, evaluations):
        certificate = run.exports / f"{c.name}.certificate.json"
        found.append(
            FinalNetwork(
                name=c.name,
                evaluation=c.belief,
                final=c.final,
                files={str(f.relative_to(run.path)): f.stat().st_size for f in sorted(run.exports.glob(f"{c.name}.*"))},
                certificate=read_json(certificate, what="a certificate") if certificate.exists() else None,
                dropped=c.dropped,
            )
        )
    return found


def _settings(described: Any, header: Any) -> dict[str, Any]:
    """What the user asked for, in words."""
    data = described["data"]
    model = described["model"]
    return {
        "model": json.dumps(model) if model else "a live Python model",
        "data": data.get("spec") or f"a loader (fingerprint {data['fingerprint']})",
        "device": described["device"],
        "strategy": header["strategy"],
        **{f"{header['strategy']}: {k}": v for k, v in header["options"].items()},
        "objectives": ", ".join(header["objectives"]),
        "limits": ", ".join(header["limits_as_written"]) or "none",
        "sampling": "uniform per choice",
        **{f"training: {k}": v for k, v in (described.get("training") or {}).items()},
    }
