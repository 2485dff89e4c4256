"""``archsmith show``, ``report``, ``account``, ``devices`` and ``methods``: commands that evaluate nothing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from archsmith import method as registry
from archsmith.cli._console import print_json, progress, results
from archsmith.cli._options import Json, Trust
from archsmith.cli.search import ELASTIC, parse_options

RunFolder = Annotated[Path, typer.Argument(help="Folder of a run.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (show, report, account, devices, methods):
        app.command()(command)


def show(run: RunFolder, trust: Trust = False, json_output: Json = False) -> None:
    """Print the Pareto front of a run, finished or not."""
    from archsmith.api.run import Run
    from archsmith.report import terminal
    from archsmith.report.of_run import report_data, summary

    opened = Run.open(run, trust=trust)
    if json_output:
        print_json(summary(opened))
    else:
        results.print(terminal.front_table(report_data(opened)))


def report(
    run: RunFolder,
    output: Annotated[Path | None, typer.Option(help="Where to write it; report.html in the run unless given.")] = None,
    trust: Trust = False,
    json_output: Json = False,
) -> None:
    """Write the report of a run again: one HTML page that opens without internet access."""
    from archsmith.api.run import Run
    from archsmith.report.of_run import write_report

    path = write_report(Run.open(run, trust=trust), output)
    if json_output:
        print_json({"report": str(path)})
    else:
        results.print(str(path), markup=False, highlight=False, soft_wrap=True)


def account(
    data: Annotated[str, typer.Option(help="Data that the model is built for, as in `archsmith search`.")],
    model: Annotated[
        str, typer.Option(help="A built-in network, timm/NAME, torchvision/NAME, hf/FOLDER, or module:factory.")
    ] = "residual_convnet",
    data_option: Annotated[list[str], typer.Option(help="NAME=VALUE for the data; may be repeated.")] = [],  # noqa: B006
    model_option: Annotated[list[str], typer.Option(help="NAME=VALUE for the network; may be repeated.")] = [],  # noqa: B006
    elastic: Annotated[list[str], typer.Option(help=ELASTIC)] = [],  # noqa: B006 - Typer copies it
    resize: Annotated[int | None, typer.Option(help="Resize images to this height and width.")] = None,
    explain: Annotated[
        list[str], typer.Option(help="Explain only this choice, module or tensor; may be repeated.")
    ] = [],  # noqa: B006
    json_output: Json = False,
) -> None:
    """Show what is elastic in a model, without training: its choices, and what cannot vary and why."""
    from archsmith.api.accounting import untrained

    with progress() as listen:
        supernet = untrained(
            data,
            model,
            data_options=parse_options(data_option),
            model_options=parse_options(model_option),
            elastic=elastic,
            resize=resize,
            on_progress=listen,
        )
    if explain:
        explanations = {name: supernet.explain(name) for name in explain}
        text, plain = "\n".join(explanations.values()), explanations
    else:
        found = supernet.account()
        text, plain = str(found), asdict(found)
    if json_output:
        print_json(plain)
    else:
        results.print(text, markup=False, highlight=False, soft_wrap=True)


def devices(json_output: Json = False) -> None:
    """List the devices that networks can be measured on here, and why the others cannot be used."""
    from archsmith.hardware import available_devices

    found = available_devices()
    if json_output:
        print_json(
            [
                {
                    "name": d.name,
                    "spec": d.spec,
                    "works": not d.unavailable,
                    "why_not": d.unavailable,
                    "hardware": d.hardware,
                    "files": d.files,
                    "summary": d.summary,
                }
                for d in found
            ]
        )
        return
    table = Table("name", "written as", "works here", "what it is")
    for d in found:
        table.add_row(d.name, d.spec, f"no: {d.unavailable}" if d.unavailable else "yes", d.summary)
    results.print(table)


def methods(
    role: Annotated[str | None, typer.Argument(help="Only this role, such as strategy.")] = None,
    bibtex: Annotated[bool, typer.Option("--bibtex", help="Print citations instead.")] = False,
    json_output: Json = False,
) -> None:
    """List every method with its paper, by role."""
    if role is not None:
        registry.names(role)  # refuses an unknown role with the nearest name
    found = [info for r in registry.roles() if role in (None, r) for info in registry.describe(r)]
    if bibtex:
        cited = {info.paper: info.name for info in reversed(found) if info.paper != registry.OURS}
        typer.echo("\n\n".join(paper.bibtex(key) for paper, key in reversed(cited.items())))
    elif json_output:
        print_json([{"role": i.role, "name": i.name, "summary": i.summary, "paper": i.paper.label} for i in found])
    else:
        table = Table("role", "name", "what it is", "paper")
        for i in found:
            table.add_row(i.role, i.name, i.summary, "" if i.paper == registry.OURS else i.paper.label)
        results.print(table)
