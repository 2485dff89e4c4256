"""``archsmith export``, ``verify``, ``measure`` and ``profile``: commands about networks as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from archsmith.cli._console import print_json, progress, results
from archsmith.cli._options import Json, Trust


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (export, verify, measure, profile):
        app.command()(command)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    pick: Annotated[
        list[str], typer.Option(help="Limit such as 'latency_ms<=2': the best network within it; may be repeated.")
    ] = [],  # noqa: B006 - Typer copies it
    by: Annotated[
        str | None, typer.Option(help="Metric to pick the best by; the first objective unless given.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="A network by its name in the table.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="The ONNX file; exports/NAME.onnx in the run unless given.")
    ] = None,
    trust: Trust = False,
    json_output: Json = False,
) -> None:
    """Export networks of a run's front as ONNX and safetensors, each with its certificate; all without --pick."""
    from archsmith.api.exports import export_from_run

    with progress() as listen:
        written = export_from_run(run, pick=pick, by=by, name=name, output=output, trust=trust, on_progress=listen)
    if json_output:
        print_json([w.to_json() for w in written])
        return
    for w in written:
        results.print(w.line, markup=False, highlight=False, soft_wrap=True)
        for warning in w.warnings:
            results.print(f"warning: {warning}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def verify(
    file: Annotated[Path, typer.Argument(help="An exported network (.onnx) or its certificate.")],
    on: Annotated[str | None, typer.Option(help="Measure on this device instead of the certificate's.")] = None,
    data: Annotated[str | None, typer.Option(help="Where the data is, if it has moved.")] = None,
    trust: Trust = False,
    json_output: Json = False,
) -> None:
    """Check an exported network against its certificate: hashes, outputs, accuracy, latency.

    The exit code is 1 if a check fails, and 2 if nothing could be verified.
    """
    from archsmith import verify_file

    with progress() as listen:
        verdict = verify_file(file, on=on, data=data, trust=trust, on_progress=listen)
    if json_output:
        print_json(verdict.to_json())
    else:
        for line in verdict.lines():
            results.print(line, markup=False, highlight=False, soft_wrap=True)
    if not verdict.ok or verdict.empty:
        raise typer.Exit(2 if verdict.empty else 1)


def measure(
    file: Annotated[Path, typer.Argument(help="A network as .onnx.")],
    on: Annotated[str, typer.Option(help="Device to measure on; see `archsmith devices`.")] = "onnxruntime:threads=1",
    json_output: Json = False,
) -> None:
    """Measure the latency of a network file on this machine."""
    from archsmith.hardware.measuring import measure_file

    with progress() as listen:
        found = measure_file(file, on=on, on_progress=listen)
    if json_output:
        print_json(found.to_json())
    else:
        results.print(
            f"{file.name}: {found.latency_ms:.4g} ms [{found.low:.4g}, {found.high:.4g}] on {on}; "
            f"raw wall p50 {found.wall_p50_ms:.4g} ms, p95 {found.wall_p95_ms:.4g} ms",
            markup=False,
            highlight=False,
        )


def profile(
    file: Annotated[Path, typer.Argument(help="A network as .onnx.")],
    on: Annotated[
        str, typer.Option(help="Device to profile on: onnxruntime or openvino, with options.")
    ] = "onnxruntime:threads=1",
    calls: Annotated[int, typer.Option(help="Calls of the network; times are means over them.")] = 50,
    top: Annotated[int, typer.Option(min=1, help="How many of the slowest operators to show.")] = 15,
    depth: Annotated[int, typer.Option(min=1, help="Sum times by so many names of a module's path.")] = 2,
    json_output: Json = False,
) -> None:
    """Show where the time of a network file goes: by kind of operator, by module, and the slowest operators."""
    from archsmith.hardware.measuring import profile_file

    with progress() as listen:
        found = profile_file(file, on=on, calls=calls, on_progress=listen)
    if json_output:
        print_json(found.to_json())
        return
    total = found.total_ms
    results.print(f"{file.name}: {total:.4g} ms in {len(found.operators)} operators on {found.device}", markup=False)
    for title, sums in (("kind", found.by_kind()), ("module", found.by_module(depth))):
        rows = [(name, f"{count}", ms) for name, (count, ms) in sums.items()]
        results.print(_shares((title, "operators"), rows[:top], total))
    slowest = [(o.name, f"{o.kind}  {o.module}", o.ms) for o in found.operators[:top]]
    results.print(_shares(("operator", "kind and module"), slowest, total))


def _shares(columns: tuple[str, str], rows: Sequence[tuple[str, str, float]], total: float) -> Table:
    """A table of names with descriptions, milliseconds, and the share of the total as number and bar."""
    table = Table(box=None, header_style="bold", title_justify="left")
    for title in (*columns, "ms", "share", ""):
        table.add_column(title, justify="right" if title in ("operators", "ms", "share") else "left", no_wrap=True)
    for name, description, ms in rows:
        share = ms / total if total else 0.0
        table.add_row(name, description, f"{ms:.4g}", f"{100 * share:.1f} %", "█" * round(30 * share))
    return table
