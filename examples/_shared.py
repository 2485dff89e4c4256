"""What the examples with committed results have in common: their arguments, and the text that they write."""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import archsmith as smith
from archsmith.architecture import Architecture
from archsmith.evaluation import Evaluation
from archsmith.hardware import environment

HERE = Path(__file__).parent


def arguments(doc: str, *, epochs: int, budget: int) -> argparse.Namespace:
    """The command line's; ``--quick`` trains one epoch on next to nothing and evaluates three networks."""
    name = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ARCHSMITH_DATA") or "."))
    parser.add_argument("--run", type=Path, default=Path("runs") / name.replace("_", "-"))
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--budget", type=int, default=budget, help="networks that are evaluated")
    parser.add_argument("--items", type=int, help="so much of the training data; all unless given")
    parser.add_argument("--front", type=Path, help="of baselines: the run that they are compared with")
    parser.add_argument("--results", type=Path, help="text that is written; results/ beside this script unless --quick")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    if given.quick:
        given.epochs, given.budget = 1, 3
    given.results = given.results or (given.run / "results.md" if given.quick else HERE / "results" / f"{name}.md")
    return given


def told(progress: object) -> None:
    """Every step of a search, in one line."""
    print(f"{progress.stage}: {progress.text}", flush=True)


def known(front: smith.Front, architecture: Architecture) -> Evaluation:
    """What the search found of an architecture, whether it is on the front or not."""
    return next(e for e in front.report_data().evaluations if e.architecture.key == architecture.key)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """As Markdown; numbers to five digits."""
    cells = [
        [f"{x:,.5g}" if isinstance(x, float) else f"{x:,}" if isinstance(x, int) else str(x) for x in r] for r in rows
    ]
    return [f"| {' | '.join(r)} |" for r in (columns, ["---"] * len(columns), *cells)]


def write(
    given: argparse.Namespace, title: str, facts: Sequence[str], settings: Mapping[str, object], lines: Sequence[str]
) -> None:
    """The results with their settings, into ``--results`` and onto the screen."""
    machine = environment()
    of_machine = f"{machine['cpu']}, {machine['cores']} cores, {machine['os']}, load {os.getloadavg()[2]:.1f}"
    settings = {
        **settings,
        "machine": of_machine,
        "packages": ", ".join(f"{name} {version}" for name, version in machine["packages"].items()),
        "written": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    less = f" --items {given.items}" if given.items else ""
    command = f"python examples/{Path(sys.argv[0]).name}{less}{' --quick' if given.quick else ''}"
    text = [
        f"# {title}", "", f"Written by `{command}`, with the settings below.", "", *(f"- {fact}" for fact in facts), "",
        *lines, "", "Settings:", "", *(f"- {name}: {value}" for name, value in settings.items()), "",
    ]  # fmt: skip
    given.results.parent.mkdir(parents=True, exist_ok=True)
    given.results.write_text("\n".join(text), encoding="utf-8")
    print("\n".join(text))
