"""The folder where a machine keeps what belongs to it and not to a run: locks and reference anchors."""

from __future__ import annotations

import os
from pathlib import Path


def home_folder(given: Path | None = None) -> Path:
    """``given``, else ``$ARCHSMITH_HOME``, else ``~/.cache/archsmith``."""
    return given or Path(os.environ.get("ARCHSMITH_HOME") or Path.home() / ".cache" / "archsmith")
