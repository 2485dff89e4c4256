"""A run as users have it: its folder, and the front that it ended with."""

from __future__ import annotations

from archsmith.api.front import Front, read_front
from archsmith.progress import Listener, Reporter, nobody
from archsmith.runs.folder import RunFolder


class Run(RunFolder):
    """A search on disk; :meth:`open` reads one that exists."""

    def front(self, *, on_progress: Listener = nobody) -> Front:
        """The front that the search ended with; networks are rebuilt when they are first asked for.

        Args:
            on_progress: hears what is being done when they are rebuilt.

        Raises:
            Infeasible: when no network meets the limits.
            UserError: when the search has not ended.
        """
        reporter = Reporter(on_progress)
        return read_front(self, reporter=reporter)
