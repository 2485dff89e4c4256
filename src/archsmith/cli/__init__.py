"""The command line: parse, one call of the library, print."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from archsmith.cli import agent, bench, files, inspect, search
from archsmith.cli._console import errors, guarded, say
from archsmith.errors import ArchsmithError, Interrupted, UserError, missing_extra
from archsmith.texts import escaped
from archsmith.version import __version__


class _Group(TyperGroup):
    """The commands; what is said of wrong arguments is escaped, for they may be names of somebody else's files."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """As usual."""
        with _readable():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """As usual."""
        with _readable():
            return super().invoke(ctx)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str):  # of Click's exceptions
            error.message = escaped(message)  # type: ignore[attr-defined]
        raise


app = typer.Typer(
    name="archsmith",
    cls=_Group,
    help="Hardware-aware neural architecture search: your network, made elastic, trained once, searched on measured "
    "latency, handed back as verified files.",
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
    del version, debug  # the first acts on its own; the second is read where errors are printed


def _run(arguments: list[str]) -> None:
    try:
        app(arguments)
    except ModuleNotFoundError as error:
        if (missing := missing_extra(error)) is None:
            raise
        raise missing from error


def main() -> None:
    """Run the command line; user's mistakes exit with 2, one readable message and no traceback."""
    debug = "--debug" in sys.argv
    try:
        with guarded():
            _run([a for a in sys.argv[1:] if a != "--debug"])  # it may stand behind the command as well
    except KeyboardInterrupt:
        errors.print("[bold]stopped[/] at once; everything finished is stored, the same command goes on", markup=True)
        sys.exit(130)
    except Interrupted as stop:
        say(stop)
        sys.exit(130)
    except ArchsmithError as error:
        if debug:
            say(traceback.format_exc(), end="")
        errors.print("[bold red]archsmith:[/]", end=" ", markup=True)
        say(error)
        sys.exit(2 if isinstance(error, UserError) else 1)
    except Exception as error:  # noqa: BLE001 - the last resort: a bug of ours, told in one line
        if debug:
            say(traceback.format_exc(), end="")
        errors.print("[bold red]archsmith: this is a bug:[/]", end=" ", markup=True)
        say(f"{type(error).__name__}: {error}")
        say("Give the command with --debug for the traceback, and report it please.")
        sys.exit(1)
