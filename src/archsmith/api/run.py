"""The public class of a run: its folder, and its final front."""

from __future__ import annotations

from archsmith.api.front import Front, read_front
from archsmith.progress import Listener, Reporter, nobody
from archsmith.runs.folder import RunFolder


class Run(RunFolder):
    """A search on disk; :meth:`open` reads one that exists."""

    def front(self, *, on_progress: Listener = nobody) -> Front:
        """The final front of the search; networks are rebuilt when they are first used.

        Args:
            on_progress: called with progress when they are rebuilt.

        Raises:
            Infeasible: when no network meets the limits.
            UserError: when the search has not ended.
        """
        reporter = Reporter(on_progress)
        return read_front(self, reporter=reporter)
