"""``archsmith search``: the whole job, from data to certified files."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from archsmith.cli._console import errors, print_json, progress, results
from archsmith.errors import InvalidOption

ELASTIC = (
    "NAME=VALUE of what may vary in a model: width=0.5,0.75,1.0, depth=0.5, resolution=160,192,224, freeze=head, "
    "only=PATTERN, '*.heads=2,4', ... as in smith.elastic; may be repeated. See `archsmith account`."
)
_JOB, _SEARCH, _TRAINING, _OUTPUT = "What", "Search", "Training", "Output"


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(search)


def search(
    run: Annotated[Path, typer.Option(help="Folder of the run; the same command resumes it.", rich_help_panel=_JOB)],
    data: Annotated[
        str,
        typer.Option(
            help="`digits`, a folder of images, a .npz, .parquet, .tsv or .csv file or a folder of them, a folder of "
            "Hugging Face datasets, or module:factory.",
            rich_help_panel=_JOB,
        ),
    ],
    data_option: Annotated[
        list[str],
        typer.Option(help="NAME=VALUE for the data, such as tokenizer=FOLDER; may be repeated.", rich_help_panel=_JOB),
    ] = [],  # noqa: B006 - Typer copies it
    model: Annotated[
        str,
        typer.Option(
            help="A built-in network, timm/NAME, torchvision/NAME, hf/FOLDER, hf/ORG/NAME, or module:factory.",
            rich_help_panel=_JOB,
        ),
    ] = "residual_convnet",
    model_option: Annotated[
        list[str], typer.Option(help="NAME=VALUE for the network; may be repeated.", rich_help_panel=_JOB)
    ] = [],  # noqa: B006 - Typer copies it
    elastic: Annotated[list[str], typer.Option(help=ELASTIC, rich_help_panel=_JOB)] = [],  # noqa: B006
    classes: Annotated[
        int | None, typer.Option(help="Expected number of classes; checked against the data.", rich_help_panel=_JOB)
    ] = None,
    resize: Annotated[
        int | None, typer.Option(help="Resize images to this height and width.", rich_help_panel=_JOB)
    ] = None,
    images: Annotated[
        int | None, typer.Option(help="Use at most so many images or texts, over all splits.", rich_help_panel=_JOB)
    ] = None,
    maximize: Annotated[
        list[str], typer.Option(help="Metric to maximise; may be repeated.", rich_help_panel=_SEARCH)
    ] = ["accuracy_top1"],  # noqa: B006
    minimize: Annotated[
        list[str], typer.Option(help="Metric to minimise; may be repeated.", rich_help_panel=_SEARCH)
    ] = ["latency_ms"],  # noqa: B006
    limit: Annotated[
        list[str],
        typer.Option(
            help="Hard limit such as 'latency_ms<=3', or 'latency_ms<=60%' of the largest network; may be repeated.",
            rich_help_panel=_SEARCH,
        ),
    ] = [],  # noqa: B006
    metric: Annotated[
        list[str],
        typer.Option(help="module:attribute of a UserMetric of yours; may be repeated.", rich_help_panel=_SEARCH),
    ] = [],  # noqa: B006
    on: Annotated[
        list[str],
        typer.Option(
            help="Device to measure on; see `archsmith devices`. May be repeated, as NAME=DEVICE; each then has a "
            "latency_ms@NAME of its own.",
            rich_help_panel=_SEARCH,
        ),
    ] = ["onnxruntime:threads=1"],  # noqa: B006
    budget: Annotated[
        str, typer.Option(help="Evaluations (200) or time (30m, 1h30m).", rich_help_panel=_SEARCH)
    ] = "100",
    strategy: Annotated[
        str, typer.Option(help="Strategy; see `archsmith methods strategy`.", rich_help_panel=_SEARCH)
    ] = "auto",
    option: Annotated[
        list[str], typer.Option(help="NAME=VALUE for the strategy; may be repeated.", rich_help_panel=_SEARCH)
    ] = [],  # noqa: B006
    baseline: Annotated[
        str | None,
        typer.Option(help="Another strategy for comparison, STRATEGY:EVALUATIONS.", rich_help_panel=_SEARCH),
    ] = None,
    latency: Annotated[
        str,
        typer.Option(
            help="Latency of candidates: measured, or predicted from 24 networks (the front is still measured).",
            rich_help_panel=_SEARCH,
        ),
    ] = "measured",
    precisions: Annotated[
        str | None,
        typer.Option(
            help="Of layers: fp32,int8 makes each layer's precision a choice, int8 quantises all; int4: 4-bit weights.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    precisions_per: Annotated[
        str, typer.Option(help="One choice of precision for each layer or each block.", rich_help_panel=_SEARCH)
    ] = "layer",
    keep_fp32: Annotated[
        list[str],
        typer.Option(
            help="Layer to keep in fp32, a name or a pattern with *; may be repeated.", rich_help_panel=_SEARCH
        ),
    ] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.", rich_help_panel=_SEARCH)] = 0,
    train: Annotated[
        str | None,
        typer.Option(
            help="How to train; see `archsmith methods training`; sandwich unless given.", rich_help_panel=_TRAINING
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the data; 12 unless given.", rich_help_panel=_TRAINING)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Inputs a step; 64 unless given.", rich_help_panel=_TRAINING)
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.", rich_help_panel=_TRAINING)] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="adamw or sgd; adamw unless given.", rich_help_panel=_TRAINING)
    ] = None,
    trained: Annotated[
        Path | None,
        typer.Option(
            help="Use the supernet that this run trained on the same data, instead of training again.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="postgresql://... instead of a file in the run.", rich_help_panel=_OUTPUT)
    ] = None,
    export: Annotated[bool, typer.Option(help="Export the networks of the front.", rich_help_panel=_OUTPUT)] = True,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print the front as JSON.", rich_help_panel=_OUTPUT)
    ] = False,
) -> None:
    """Train a supernet on your data, search it on measured latency, and export the Pareto front.

    The same command resumes an interrupted search, and shows the stored result of a finished one.
    """
    from archsmith.api.job import Job, precisions_asked
    from archsmith.report import terminal

    job = Job(
        run=run,
        data=data,
        data_options=parse_options(data_option),
        model=model,
        model_options=parse_options(model_option),
        elastic=elastic,
        classes=classes,
        resize=resize,
        images=images,
        maximize=tuple(maximize),
        minimize=tuple(minimize),
        limits=tuple(limit),
        metrics=tuple(metric),
        on=on[0] if len(on) == 1 else tuple(on),
        budget=budget,
        strategy=strategy,
        options=parse_options(option),
        baseline=baseline,
        latency=latency,  # type: ignore[arg-type]  # SearchSpec checks it
        precisions=precisions_asked(precisions, per=precisions_per, keep=keep_fp32),
        seed=seed,
        train=train,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        optimizer=optimizer,
        trained=trained,
        store=store,
        export=export,
    )
    with stoppable() as stopped, progress() as listen:
        front = job.execute(on_progress=listen, stop=stopped)
    if json_output:
        print_json(front.to_json())
        return
    results.print(terminal.front_table(front.report_data()))
    exported = sorted((run / "exports").glob("*.onnx"))
    lines = [f"report    {run / 'report.html'}"]
    if exported:
        lines.append(f"networks  {run / 'exports'}: {len(exported)} as ONNX + safetensors, each with a certificate")
    again, bound = shlex.quote(str(run)), f"{front.objectives[-1].metric}<=..."
    lines.append(f"next      archsmith show {again}, archsmith export {again} --pick '{bound}', archsmith verify FILE")
    for line in lines:
        results.print(line, markup=False, highlight=False, soft_wrap=True)


def parse_options(given: list[str]) -> dict[str, Any]:
    """``NAME=VALUE`` texts as a dictionary; numbers, booleans, comma-separated tuples and JSON lists are parsed.

    A value in double quotes, as in JSON, is text.

    Raises:
        InvalidOption: for text without a ``=``.
    """
    found: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise InvalidOption(f"cannot read the option {text!r}; write NAME=VALUE, such as population=50")
        several = "," in value and not value.lstrip().startswith(("[", "{", '"'))
        parsed = tuple(_value(part) for part in value.split(",") if part) if several else _value(value)
        found[name.strip().replace("-", "_")] = parsed
    return found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidOption(f"cannot read {text!r} as JSON: {error}") from error


def _value(text: str) -> Any:
    text = text.strip()
    if text.startswith(("[", "{", '"')):
        return _json(text)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@contextmanager
def stoppable() -> Iterator[Any]:
    """Turn the first Ctrl-C or SIGTERM into a stop request; the second one stops at once."""
    signals: list[int] = []

    def stop(number: int, _: Any) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(number)
        errors.print("\n[bold]stopping[/] after the current step; once more to stop at once", markup=True)

    before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(signals)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
