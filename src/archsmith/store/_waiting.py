"""Waiting for a server that does not respond: it may be restarting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from archsmith.errors import UserError
from archsmith.progress import SILENT, Reporter

WAIT_S = 60.0
"""How long to wait for a server that does not respond."""
REPORT_EVERY_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0

# SQL states: connections, operators (shutdown, crash, start), a session that was idle for too long
_LOST_STATES = ("08", "57P", "25P03")
_RETRY_STATES = ("40001", "40P01")  # of two writers at once, this one must repeat its transaction
_STARTING = "the database system is "  # starting up, shutting down, in recovery: the driver gives no code for it

T = TypeVar("T")


class Patience:
    """Repeats whole transactions while the server does not respond.

    Args:
        label: of the store, for messages.
        reporter: gets progress every ten seconds of waiting.
        clock: returns seconds.
        sleep: waits for so many seconds; whatever it raises, such as ``KeyboardInterrupt``, ends the wait.
    """

    def __init__(
        self,
        label: str,
        reporter: Reporter = SILENT,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._label, self._reporter = label, reporter
        self._clock, self._sleep = clock, sleep
        self.reached = False
        """Whether the server has responded before; if not, its address may be wrong, and waiting is no use."""

    def __call__(self, transaction: Callable[[bool], T]) -> T:
        """The result of ``transaction(again)``, repeated while the connection is lost; ``again`` from the second time.

        Raises:
            UserError: when the server does not respond for a minute.
        """
        since, reported, pause, again = self._clock(), -REPORT_EVERY_S, FIRST_PAUSE_S, False
        while True:
            try:
                found = transaction(again)
            except DBAPIError as error:
                detail, waited = _line(error), self._clock() - since
                if not self._may_wait(error, detail):
                    raise
                if waited >= WAIT_S:
                    raise UserError(
                        f"{self._label} has not responded for {waited:.0f} s ({detail}); everything committed before "
                        "is kept: once the server is back, run the same command again to go on"
                    ) from error
                if _code(error) not in _RETRY_STATES and waited >= reported + REPORT_EVERY_S:
                    reported = waited
                    self._reporter.progress(
                        f"{self._label} does not respond ({detail}); waiting for it, {WAIT_S - waited:.0f} s at most"
                    )
                again = True
            else:
                self.reached = True
                return found
            self._sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _may_wait(self, error: DBAPIError, detail: str) -> bool:
        code = _code(error)
        if code in _RETRY_STATES or _STARTING in detail:
            return True
        return self.reached and (code.startswith(_LOST_STATES) if code else is_lost(error))


def is_lost(error: DBAPIError) -> bool:
    """Whether the connection is broken, or none could be made."""
    lost = error.connection_invalidated or type(error.orig).__name__ == "OperationalError"
    return bool(lost) or _code(error).startswith(_LOST_STATES)


def _code(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _line(error: DBAPIError) -> str:
    lines = (str(error.orig).strip() or type(error.orig).__name__).splitlines()
    return next((line for line in lines if _STARTING in line), lines[0])[:300]
