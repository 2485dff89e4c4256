"""``archsmith agent``: measure here for a search elsewhere."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archsmith.cli._console import print_json, results
from archsmith.hardware.agents.wire import PORT

if TYPE_CHECKING:
    from archsmith.hardware.agents.agent import Agent


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(agent)


def agent(
    on: Annotated[str, typer.Option(help="Device to measure on; see `archsmith devices`.")] = "onnxruntime:threads=1",
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines, see --tls.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")] = PORT,
    tls: Annotated[
        bool,
        typer.Option("--tls", help="Encrypt, with a certificate that is made once and that searches pin."),
    ] = False,
    show_line: Annotated[
        bool, typer.Option("--show-line", help="Print the line, with the token, that the searching machine needs.")
    ] = False,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that searches must send; made if it is missing.")
    ] = None,
    limit_s: Annotated[float, typer.Option(help="Seconds that one request may take.")] = 300.0,
    max_mib: Annotated[int, typer.Option(min=1, help="MiB that one network with its inputs may hold.")] = 512,
    json_output: Annotated[bool, typer.Option("--json", help="Print plain data for scripts.")] = False,
) -> None:
    """Measure networks on this machine for a search that runs on another one (`--on remote:HOST:PORT` there).

    It needs one runtime, not PyTorch. Files are measured in a process of their own, which may crash without harm. With
    --tls or a --host for other machines it prints where the line is that the other machine needs. It ends on Ctrl-C.
    """
    from archsmith.hardware.agents.agent import Agent
    from archsmith.hardware.agents.credentials import own_token

    token, kept = own_token(token_file)
    with Agent(on, token=token, host=host, port=port, tls=tls, limit_s=limit_s, max_mib=max_mib) as running:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: threading.Thread(target=running.stop).start())
        address, _ = running.reached_at
        line_in = running.keep_line() if tls or not address.is_here else None
        if json_output:
            found = {"remote": f"remote:{address}", "device": running.device["spec"], "token_in": kept}
            more = {"line_in": str(line_in), "fingerprint": running.fingerprint} if line_in else {}
            print_json(found | more | ({"line": running.line} if show_line else {}))
        else:
            for text in _instructions(running, kept, line_in):
                results.print(text, markup=False, highlight=False, soft_wrap=True)
            if show_line:
                results.print(running.line, markup=False, highlight=False, soft_wrap=True)
        running.serve()


def _instructions(running: Agent, kept: str, line_in: Path | None) -> Iterator[str]:
    """How to use the agent, line by line; the token is not in it."""
    from archsmith.hardware.agents.credentials import token_path

    address, guessed = running.reached_at
    found = f"measures on {running.device['spec']}; a search reaches it as --on remote:{address}"
    if line_in is None:
        yield f"{found}, with the token in {kept}"
        return
    yield found
    if guessed:
        yield (
            f"{address.host} is a guess at this machine's address; if others reach it by another one, use that, in the "
            "line below too"
        )
    yield f"the searching machine needs the line in {line_in}, which contains the token: add it to agent.token there,"
    fetch = "" if address.is_here else f"ssh {address.host} "
    yield f"  {fetch}cat {line_in} >> {token_path() if address.is_here else '~/.cache/archsmith/agent.token'}"
    if not running.fingerprint:
        yield (
            "NOTHING IS ENCRYPTED: anybody on the network between can read the token and run networks here; the line "
            "ends in `plain`, which allows that. Start the agent with --tls to encrypt"
        )
