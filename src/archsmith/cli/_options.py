"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print plain data for scripts.")]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Treat files that were not made here as your own from now on; use the code and data they name."
    ),
]
