"""One request to an agent: bounded in time and size, whatever answers.

Agents answer ``HTTP/1.1``, with a ``Content-Length`` and nothing that would need more of HTTP: no chunks, no redirects.
"""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass

from archsmith.hardware.agents.credentials import Address, Credential
from archsmith.hardware.agents.tls import pinned
from archsmith.hardware.agents.wire import SLACK_S, transfer_s

CONNECT_S = 20.0
LONGEST_HEAD = 1 << 15
"""Bytes of the lines before a response's body."""
_PIECE = 1 << 18


class Nonsense(Exception):
    """What answers is no agent, or one that has lost its mind; says how that shows."""


@dataclass(frozen=True)
class Response:
    """What came back.

    Args:
        status: HTTP's.
        body: of at most as many bytes as were allowed.
    """

    status: int
    body: bytes


def exchange(
    address: Address, credential: Credential, verb: str, path: str, body: bytes, *, work_s: float, most: int
) -> Response:
    """Send one request over a connection of its own, and read the response.

    Args:
        address: of the agent.
        credential: what it is shown, and how.
        verb: ``"GET"`` or ``"POST"``.
        path: of what is asked.
        body: that is sent.
        work_s: that it may take until the first byte of the response, beside the time for sending.
        most: bytes that the response may have.

    Raises:
        InvalidOption: when another certificate is shown than the one that was pinned; nothing was sent then.
        Nonsense: when what comes back is no response of an agent.
        OSError: when nothing comes back; ``TimeoutError`` when it does not in time.
    """
    try:
        plain = socket.create_connection((address.host, address.port), timeout=CONNECT_S)
    except UnicodeError as error:  # a name that no name server can be asked for
        raise OSError(f"{address.host} is no name of a host") from error
    with plain:
        if address.host == "localhost" and not Address(plain.getpeername()[0], address.port).is_here:
            raise OSError("localhost is another machine here")
        connection = pinned(plain, credential.pin, address) if credential.pin else plain
        with connection:
            head = [f"{verb} {path} HTTP/1.1", f"Host: {address}", f"Content-Length: {len(body)}", "Connection: close"]
            if credential.token:
                head.append(f"Authorization: Bearer {credential.token}")
            refused = _send(connection, "\r\n".join([*head, "", ""]).encode("ascii"), body)
            try:
                return _Reader(connection, work_s).response(most)
            except ConnectionError as error:
                raise refused or error from error


def _send(connection: socket.socket, head: bytes, body: bytes) -> OSError | None:
    """Send everything; what broke the connection is given back, as the response may lie there nevertheless."""
    end = time.monotonic() + transfer_s(len(body))
    rest = memoryview(body)
    try:
        connection.settimeout(SLACK_S)
        connection.sendall(head)
        for start in range(0, len(rest), _PIECE):
            connection.settimeout(_left(end))
            connection.sendall(rest[start : start + _PIECE])
    except ConnectionError as error:
        return error
    return None


class _Reader:
    """Reads a response; a drip of bytes ends, too."""

    def __init__(self, connection: socket.socket, work_s: float) -> None:
        self.connection, self.end = connection, time.monotonic() + work_s
        self.begun = False

    def response(self, most: int) -> Response:
        found = bytearray()
        while b"\r\n\r\n" not in found:
            if len(found) > LONGEST_HEAD:
                raise Nonsense(f"the head of its response is longer than {LONGEST_HEAD} bytes")
            if not (piece := self._piece()):
                if not found:
                    raise ConnectionResetError("it ended the connection without a response")
                raise Nonsense(_strange(bytes(found)))
            found += piece
            if not b"HTTP/1.1 ".startswith(found[:9]):
                raise Nonsense(_strange(bytes(found)))
        head, _, rest = bytes(found).partition(b"\r\n\r\n")
        status, length = _read_head(head)
        if length > most:
            raise Nonsense(f"its response has {length} bytes, at most {most} are read")
        self.end = time.monotonic() + transfer_s(length)
        return Response(status, self._body(bytearray(rest), length))

    def _body(self, found: bytearray, length: int) -> bytes:
        while len(found) < length:
            if not (piece := self._piece()):
                raise ConnectionResetError(f"its response ended after {len(found)} of {length} bytes")
            found += piece
        if len(found) > length:
            raise Nonsense(f"its response has more than the {length} bytes that it says")
        return bytes(found)

    def _piece(self) -> bytes:
        self.connection.settimeout(_left(self.end))
        piece = self.connection.recv(_PIECE)
        if not self.begun:
            self.begun, self.end = True, time.monotonic() + SLACK_S
        return piece


def _read_head(head: bytes) -> tuple[int, int]:
    """Status, and bytes of the body."""
    first, *lines = head.split(b"\r\n")
    status = re.fullmatch(rb"HTTP/1\.1 ([1-5][0-9]{2})(?: [^\r\n]*)?", first)
    lengths = [line.partition(b":")[2].strip() for line in lines if line.lower().startswith(b"content-length:")]
    if status is None:
        raise Nonsense(_strange(head))
    if len(lengths) != 1 or not re.fullmatch(rb"[0-9]{1,15}", lengths[0]):
        raise Nonsense("it does not say how long its response is")
    return int(status[1]), int(lengths[0])


def _strange(found: bytes) -> str:
    if found.startswith((b"\x15\x03", b"\x16\x03")):
        return "it speaks TLS: use the line with its fingerprint that it made when it was started"
    return f"it begins with {found[:40]!r}"


def _left(end: float) -> float:
    """Seconds until then.

    Raises:
        TimeoutError: when there are none.
    """
    if (left := end - time.monotonic()) <= 0:
        raise TimeoutError("timed out")
    return left
