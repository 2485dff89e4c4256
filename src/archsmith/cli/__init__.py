"""The command line: parses arguments, calls the library, prints the result."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from archsmith.cli import agent, bench, files, inspect, search
from archsmith.cli._console import errors, guarded, print_message
from archsmith.errors import ArchsmithError, Interrupted, UserError, missing_extra
from archsmith.texts import escaped
from archsmith.version import __version__


class _Group(TyperGroup):
    """The commands; errors about arguments are escaped, as these may be names of somebody else's files."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse the arguments."""
        with _escaped_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _escaped_errors():
            return super().invoke(ctx)


@contextmanager
def _escaped_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str):  # of Click's exceptions
            error.message = escaped(message)  # type: ignore[attr-defined]
        raise


app = typer.Typer(
    name="archsmith",
    cls=_Group,
    help="Hardware-aware neural architecture search: makes your network elastic, trains it once, searches it on "
    "measured latency, and exports the best networks as verified files.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
search.add_to(app)
inspect.add_to(app)
files.add_to(app)
agent.add_to(app)
bench.add_to(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"archsmith {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    del version, debug  # --version has a callback; --debug is read in main


def _run(arguments: list[str]) -> None:
    try:
        app(arguments)
    except ModuleNotFoundError as error:
        if (missing := missing_extra(error)) is None:
            raise
        raise missing from error


def main() -> None:
    """Run the command line; a user's mistake exits with 2, one message and no traceback."""
    debug = "--debug" in sys.argv
    try:
        with guarded():
            _run([a for a in sys.argv[1:] if a != "--debug"])  # --debug may also come after the command
    except KeyboardInterrupt:
        errors.print("[bold]stopped[/] at once; everything finished is stored, the same command goes on", markup=True)
        sys.exit(130)
    except Interrupted as stop:
        print_message(stop)
        sys.exit(130)
    except ArchsmithError as error:
        if debug:
            print_message(traceback.format_exc(), end="")
        errors.print("[bold red]archsmith:[/]", end=" ", markup=True)
        print_message(error)
        sys.exit(2 if isinstance(error, UserError) else 1)
    except Exception as error:  # noqa: BLE001 - anything else is a bug of archsmith, reported in one line
        if debug:
            print_message(traceback.format_exc(), end="")
        errors.print("[bold red]archsmith: this is a bug:[/]", end=" ", markup=True)
        print_message(f"{type(error).__name__}: {error}")
        print_message("Please report it, with the traceback that the same command with --debug prints.")
        sys.exit(1)
