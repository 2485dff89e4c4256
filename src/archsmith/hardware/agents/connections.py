"""The connections of an agent: how many there may be, for how long, and which one is ended for a new one.

A connection is *half open* until a request with the right token has come over it, and again while it waits for the
next. Nobody can lock the owner out by opening many: where there are too many, a new connection ends the oldest one of
the address that has the most.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

MAX_HALF_OPEN, MAX_HALF_OPEN_OF_ADDRESS, MAX_ALLOWED = 64, 16, 32
"""Most connections that are half open, that are half open from one address, and that have an allowed request."""
MAX_CONNECTIONS = MAX_HALF_OPEN + MAX_HALF_OPEN_OF_ADDRESS + MAX_ALLOWED
"""Most connections, each with a thread; more than half open and allowed ones, as some are just ending."""
HEAD_S = 10.0
"""Seconds for a handshake and the head of a request."""


@dataclass(eq=False)
class _Caller:
    share: str
    since: float
    deadline: float
    half_open: bool = True
    ended: bool = False


class Connections:
    """All connections of a server; safe to use from all its threads.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._callers: dict[socket.socket, _Caller] = {}
        self._fewer = threading.Condition()

    def __len__(self) -> int:
        return len(self._callers)

    def admit(self, connection: socket.socket, host: str) -> bool:
        """Add a new connection, half open; where there are too many, another one is ended.

        Args:
            connection: that was accepted.
            host: the address it comes from.

        Returns:
            False where there is no free thread for it.
        """
        with self._fewer:
            share, now = _share(host), self._clock()
            waiting = [(s, c) for s, c in self._callers.items() if c.half_open and not c.ended]
            shares = Counter(c.share for _, c in waiting)
            if shares[share] >= MAX_HALF_OPEN_OF_ADDRESS:
                self._end_oldest([(s, c) for s, c in waiting if c.share == share])
            elif len(waiting) >= MAX_HALF_OPEN:
                most = max(shares.values())
                self._end_oldest([(s, c) for s, c in waiting if shares[c.share] == most])
            if not self._fewer.wait_for(lambda: len(self._callers) < MAX_CONNECTIONS, timeout=1.0):
                return False
            self._callers[connection] = _Caller(share, now, now + HEAD_S)
            return True

    def wait_for_head(self, connection: socket.socket) -> None:
        """Treat the connection as half open from now on."""
        self._set(connection, half_open=True, seconds=HEAD_S)

    def allow(self, connection: socket.socket, seconds: float) -> bool:
        """The token was right: the connection is half open no longer.

        Args:
            connection: that the request came over.
            seconds: that the rest of the request may take.

        Returns:
            False where there are too many allowed requests already.
        """
        with self._fewer:
            if sum(not c.half_open for c in self._callers.values()) >= MAX_ALLOWED:
                return False
            self._set(connection, half_open=False, seconds=seconds)
            return True

    def limit(self, connection: socket.socket, seconds: float = math.inf) -> None:
        """Allow ``seconds`` for the next step on a connection."""
        self._set(connection, half_open=None, seconds=seconds)

    def remove(self, connection: socket.socket) -> None:
        """Forget a connection that has been closed."""
        with self._fewer:
            self._callers.pop(connection, None)
            self._fewer.notify_all()

    def end_late(self) -> None:
        """End connections whose time is over."""
        with self._fewer:
            now = self._clock()
            for connection, caller in self._callers.items():
                if now > caller.deadline:
                    _end(connection, caller)

    def end_all(self) -> None:
        """End all connections."""
        with self._fewer:
            for connection, caller in self._callers.items():
                _end(connection, caller)

    def _set(self, connection: socket.socket, *, half_open: bool | None, seconds: float) -> None:
        with self._fewer:
            if (caller := self._callers.get(connection)) is not None:
                now = self._clock()
                if half_open and not caller.half_open:
                    caller.since = now
                caller.half_open = caller.half_open if half_open is None else half_open
                caller.deadline = now + seconds

    def _end_oldest(self, found: list[tuple[socket.socket, _Caller]]) -> None:
        _end(*min(found, key=lambda pair: pair[1].since))


def _end(connection: socket.socket, caller: _Caller) -> None:
    """Shut a connection down; its thread wakes up and closes it."""
    caller.ended = True
    with suppress(OSError):  # it was closed in the meantime
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not TLS's own, whose state is that thread's


def _share(host: str) -> str:
    """What counts as one address: for IPv6 its /64 network, because one machine may have all addresses of that."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    if found.version == 4:
        return host
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(int(found) >> 64)
