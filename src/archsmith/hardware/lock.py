"""One process at a time on one piece of hardware."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from archsmith.errors import Interrupted, RunLocked
from archsmith.files import parsed_json, read_bytes, translating
from archsmith.progress import SILENT, Reporter

_LARGEST_LOCK = 4096
"""Bytes of the largest lock file that is read; it names a process."""

_held: dict[Path, tuple[int, int]] = {}
"""Lock file -> (descriptor, holders in this process): several devices of one run share one processor."""
_guard = threading.Lock()


class HardwareLock:
    """An exclusive lock between processes; within one process it may be taken again.

    The system releases it when the process ends, even when it is killed, so no stale lock is left behind.

    Args:
        file: its name is that of the hardware; it contains the process that holds the lock.
        wait_s: how long to wait for another process before refusing.
        pause_s: seconds between two attempts.
        reporter: gets the holder's name once, when waiting begins; asked between two attempts whether to stop.
    """

    def __init__(
        self,
        file: Path,
        *,
        wait_s: float = 600.0,
        pause_s: float = 0.1,
        reporter: Reporter = SILENT,
    ) -> None:
        self.file = file.absolute()
        self.wait_s = wait_s
        self.pause_s = pause_s
        self.reporter = reporter

    def __enter__(self) -> HardwareLock:
        """Wait for it.

        Raises:
            RunLocked: when another process still holds it after ``wait_s``, naming that process.
            Interrupted: when somebody asked to stop.
        """
        deadline = time.monotonic() + self.wait_s
        reported = False
        while not self._try():
            holder = self._holder()
            if time.monotonic() >= deadline:
                raise RunLocked(
                    f"{self.file.stem} is being measured on by {holder}; two measurements at once would spoil both: "
                    "wait for it to end, or stop it"
                )
            if not reported:
                self.reporter.progress(f"waiting for {holder} to finish measuring on {self.file.stem}")
                reported = True
            if self.reporter.stop():
                raise Interrupted(f"stopped while waiting for {holder}; the same command goes on from there")
            time.sleep(self.pause_s)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _guard:
            descriptor, holders = _held.pop(self.file)
            if holders > 1:
                _held[self.file] = (descriptor, holders - 1)
            else:
                os.close(descriptor)

    def _try(self) -> bool:
        with _guard:
            if self.file in _held:
                descriptor, holders = _held[self.file]
                _held[self.file] = (descriptor, holders + 1)
                return True
            with translating(f"{self.file} (ARCHSMITH_HOME names another folder for it)"):
                self.file.parent.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if not _lock(descriptor):
                os.close(descriptor)
                return False
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps({"pid": os.getpid()}).encode())
            _held[self.file] = (descriptor, 1)
            return True

    def _holder(self) -> str:
        try:
            found: Any = parsed_json(read_bytes(self.file, most=_LARGEST_LOCK))
            return f"process {int(found['pid'])}"
        except (OSError, ValueError, LookupError, TypeError, OverflowError):
            return "another process"  # it has the lock but has not written its name yet


def _lock(descriptor: int) -> bool:
    """Take the system's lock without waiting; always true on systems without such locks."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
