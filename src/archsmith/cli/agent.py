"""``archsmith agent``: measure here for a search elsewhere."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from archsmith.cli._console import print_json, results
from archsmith.hardware._wire import PORT


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(agent)


def agent(
    on: Annotated[str, typer.Option(help="Device to measure on; see `archsmith devices`.")] = "onnxruntime:threads=1",
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in, unencrypted.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")] = PORT,
    token_file: Annotated[
        Path | None, typer.Option(help="Holds the token that callers must know; made where it is missing.")
    ] = None,
    limit_s: Annotated[float, typer.Option(help="Seconds that one request may take.")] = 300.0,
    max_mib: Annotated[int, typer.Option(min=1, help="MiB that one network with its inputs may hold.")] = 512,
    json_output: Annotated[bool, typer.Option("--json", help="Print plain data for scripts.")] = False,
) -> None:
    """Measure networks on this machine for a search that runs on another one (`--on remote:HOST:PORT` there).

    It needs one runtime, not PyTorch. Files are measured in a process of their own, which may crash. It ends on Ctrl-C.
    """
    from archsmith.hardware.agent import Agent, own_token

    token, kept = own_token(token_file)
    with Agent(on, token=token, host=host, port=port, limit_s=limit_s, max_mib=max_mib) as running:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: threading.Thread(target=running.stop).start())
        spec = f"remote:{running.address}"
        if json_output:
            print_json({"remote": spec, "device": running.device["spec"], "token_in": kept})
        else:
            results.print(
                f"measures on {running.device['spec']}; a search reaches it as --on {spec}, with the token in {kept}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        running.serve()
