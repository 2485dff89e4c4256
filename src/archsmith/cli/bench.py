"""``archsmith bench``: public tables, and strategies compared on them."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from archsmith.cli._console import errors, print_json, print_message, progress, results
from archsmith.cli._options import Json
from archsmith.cli.search import stoppable
from archsmith.errors import MissingTable
from archsmith.method import importable_here
from archsmith.progress import Progress
from archsmith.texts import escaped

if TYPE_CHECKING:
    from archsmith.comparison import Step

Trusted = Annotated[
    bool,
    typer.Option("--trust", help="Import benchmarks (module:Class) that only records in the folder name."),
]

app = typer.Typer(
    name="bench",
    help="Compare strategies on public tables: how many evaluations each needs to find the best front.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


def add_to(main: typer.Typer) -> None:
    """Add the group of commands to the application."""
    main.add_typer(app)


@app.command("import")
def import_tables(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Benchmarks, such as nasbench201 or nasbench_graph:dataset=cora; all that are found unless given."
        ),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Folder or file of published tables; $ARCHSMITH_DATA unless given.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder for them; $ARCHSMITH_HOME/benchmarks unless given.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check tables that were imported before.")] = False,
    json_output: Json = False,
) -> None:
    """Make benchmark tables from published files that you downloaded, or check imported tables."""
    from archsmith.api import benchmarks

    if check:
        found = benchmarks.check_tables(names or (), folder=to)
    else:
        with progress(wanted=not json_output) as listen:
            found = benchmarks.import_tables(names or (), source=source, folder=to, on_progress=listen)
    if json_output:
        print_json([table.to_json() for table in found])
        return
    table = Table("benchmark", "architectures", "file", "from")
    for row in found:
        table.add_row(row.spec, f"{row.architectures:,}" if row.file else "", row.file or "none", row.note)
    results.print(table)


@app.command("list")
def list_problems(json_output: Json = False) -> None:
    """List the problems that strategies can be compared on, and whether their tables are here."""
    from archsmith.comparison import PROBLEMS

    found: list[dict[str, Any]] = []
    for problem in PROBLEMS.values():
        try:
            problem.open()
            why_not = ""
        except MissingTable as error:
            why_not = str(error)
        found.append(
            {
                "name": problem.name,
                "benchmark": problem.benchmark,
                "objectives": [str(o) for o in problem.objectives],
                "about": problem.about,
                "here": not why_not,
                "why_not": why_not,
            }
        )
    if json_output:
        print_json(found)
        return
    table = Table("problem", "benchmark", "objectives", "table is here", "what it is")
    for row in found:
        objectives = ", ".join(row["objectives"])
        table.add_row(row["name"], row["benchmark"], objectives, "yes" if row["here"] else "no", row["about"])
    results.print(table)
    for message in dict.fromkeys(str(row["why_not"]) for row in found if row["why_not"]):
        print_message(message)


@app.command()
def run(
    strategies: Annotated[
        list[str],
        typer.Option(
            help="NAME[:OPTION=VALUE,...][/no-graph][/free][/batch=K][@LABEL], several with spaces between, or `all`; "
            "may be repeated. Random search always runs, too."
        ),
    ] = [],  # noqa: B006 - Typer copies it
    problems: Annotated[
        list[str],
        typer.Option(
            help="Names or patterns from `archsmith bench list` with spaces between, or one of your own such as "
            "'nasbench201 max val_acc min fpga_latency_ms'; may be repeated. All unless given."
        ),
    ] = [],  # noqa: B006
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Searches of each strategy on each problem; 10 unless given.")
    ] = None,
    first_seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    budget: Annotated[
        int | None, typer.Option(min=1, help="Unique evaluations of one search; 250 unless given.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Three problems, three seeds, the fast strategies: minutes.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with one thread.")] = 2,
    any_code: Annotated[
        bool, typer.Option("--any-code", help="Also keep records of another version of a strategy's code.")
    ] = False,
    to: Annotated[Path, typer.Option(help="Folder of the comparison; the same command resumes it.")] = Path(
        "runs/bench"
    ),
    trust: Trusted = False,
    json_output: Json = False,
) -> None:
    """Run strategies on problems from several seeds, and report the results.

    Searches in the folder already are kept, so a comparison can be extended, and an interrupted one resumed. Problems
    whose table was not imported are left out and named. The exit code is then 1, as after failed searches, and when a
    named strategy ran on no problem.
    """
    from archsmith.comparison import compare, parse_entries, parse_problems
    from archsmith.comparison.entry import DEFAULT_STRATEGIES, QUICK_STRATEGIES
    from archsmith.comparison.problem import QUICK_PROBLEMS

    count = seeds or (3 if quick else 10)
    with importable_here(), stoppable() as stopped, progress() as listen:
        asked = parse_problems(problems or (QUICK_PROBLEMS if quick else ()), budget)
        outcome = compare(
            parse_entries(strategies, QUICK_STRATEGIES if quick else DEFAULT_STRATEGIES),
            asked,
            range(first_seed, first_seed + count),
            to,
            workers=workers,
            any_code=any_code,
            on_step=lambda step: listen(_event(step)),
            stop=stopped,
        )
    for note in [*outcome.notes, *outcome.missing, *(f"failed: {failure}" for failure in outcome.failures)]:
        print_message(note)
    if outcome.made or outcome.kept:
        _write(to, trust=trust or {problem.benchmark for problem in asked}, json_output=json_output)
    named = strategies and "all" not in " ".join(strategies).split()
    idle = outcome.idle if named and not outcome.interrupted else []
    for label in idle:
        print_message(f"{label} ran on no problem")
    if outcome.interrupted:
        errors.print("[bold]stopped[/]; the same command goes on", markup=True)
    if outcome.interrupted or outcome.failures or outcome.missing or idle:
        raise typer.Exit(130 if outcome.interrupted else 1)


def _event(step: Step) -> Progress:
    return Progress("bench", step.text, step.done, step.total, step.remaining_s)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a comparison.")],
    trust: Trusted = False,
    json_output: Json = False,
) -> None:
    """Write the results of a comparison as summary.json, report.md and report.html, and print the table."""
    _write(folder, trust=trust, json_output=json_output)


def _write(folder: Path, *, trust: bool | Collection[str], json_output: bool) -> None:
    from archsmith.comparison.page import write_reports
    from archsmith.comparison.summary import summarise

    with importable_here():
        summary = summarise(folder, date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(), trust=trust)
    written = write_reports(summary, folder)
    if json_output:
        print_json(summary)
        return
    results.print(_table(summary))
    for path in written:
        results.print(str(path), markup=False, highlight=False, soft_wrap=True)


def _table(summary: Mapping[str, Any]) -> Table:
    from archsmith.comparison import text

    table = Table(title="median evaluations to 95 / 99 / 99.9 % of the best hypervolume")
    for i, name in enumerate(text.SHORT_HEAD):
        table.add_column(name, justify="right" if i > 1 else "left", overflow="fold")
    before = ""
    for row in text.short_rows(summary, text.labels(summary)):
        cells = ["" if row[0] == before else row[0], *row[1:]]
        table.add_row(*(Text(escaped(cell)) for cell in cells))
        before = row[0]
    return table
