"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print plain data for scripts.")]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Take what was not made here as your own from now on, and follow what it names."),
]
