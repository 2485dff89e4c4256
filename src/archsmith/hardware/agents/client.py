"""One request to an agent: bounded in time and size, whatever responds.

Agents respond in ``HTTP/1.1`` with a ``Content-Length``; chunks, redirects and the rest of HTTP are not understood.
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
_PIECE_BYTES = 1 << 18


class InvalidResponse(Exception):
    """The response is not that of an agent; says what is wrong with it."""


@dataclass(frozen=True)
class Response:
    """An agent's response.

    Args:
        status: HTTP's.
        body: the content, of at most as many bytes as were allowed.
    """

    status: int
    body: bytes


def exchange(
    address: Address, credential: Credential, verb: str, path: str, body: bytes, *, work_s: float, most: int
) -> Response:
    """Send one request over a connection of its own, and read the response.

    Args:
        address: of the agent.
        credential: the token to send, and how to protect it.
        verb: ``"GET"`` or ``"POST"``.
        path: such as ``"/measure"``.
        body: to send.
        work_s: seconds until the first byte of the response, beside the time for sending.
        most: bytes that the response may have.

    Raises:
        InvalidOption: when the certificate is not the pinned one; nothing was sent then.
        InvalidResponse: when the response is not that of an agent.
        OSError: when there is no response; ``TimeoutError`` when it is late.
    """
    try:
        plain = socket.create_connection((address.host, address.port), timeout=CONNECT_S)
    except UnicodeError as error:  # a name that DNS cannot hold
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
    """Send everything; returns the error that broke the connection, as a response may have come nevertheless."""
    end = time.monotonic() + transfer_s(len(body))
    rest = memoryview(body)
    try:
        connection.settimeout(SLACK_S)
        connection.sendall(head)
        for start in range(0, len(rest), _PIECE_BYTES):
            connection.settimeout(_left(end))
            connection.sendall(rest[start : start + _PIECE_BYTES])
    except ConnectionError as error:
        return error
    return None


class _Reader:
    """Reads a response within a time limit, even if it comes byte by byte."""

    def __init__(self, connection: socket.socket, work_s: float) -> None:
        self.connection, self.end = connection, time.monotonic() + work_s
        self.begun = False

    def response(self, most: int) -> Response:
        found = bytearray()
        while b"\r\n\r\n" not in found:
            if len(found) > LONGEST_HEAD:
                raise InvalidResponse(f"the head of its response is longer than {LONGEST_HEAD} bytes")
            if not (piece := self._piece()):
                if not found:
                    raise ConnectionResetError("it ended the connection without a response")
                raise InvalidResponse(_strange(bytes(found)))
            found += piece
            if not b"HTTP/1.1 ".startswith(found[:9]):
                raise InvalidResponse(_strange(bytes(found)))
        head, _, rest = bytes(found).partition(b"\r\n\r\n")
        status, length = _read_head(head)
        if length > most:
            raise InvalidResponse(f"its response has {length} bytes, at most {most} are read")
        self.end = time.monotonic() + transfer_s(length)
        return Response(status, self._body(bytearray(rest), length))

    def _body(self, found: bytearray, length: int) -> bytes:
        while len(found) < length:
            if not (piece := self._piece()):
                raise ConnectionResetError(f"its response ended after {len(found)} of {length} bytes")
            found += piece
        if len(found) > length:
            raise InvalidResponse(f"its response has more bytes than its Content-Length of {length}")
        return bytes(found)

    def _piece(self) -> bytes:
        self.connection.settimeout(_left(self.end))
        piece = self.connection.recv(_PIECE_BYTES)
        if not self.begun:
            self.begun, self.end = True, time.monotonic() + SLACK_S
        return piece


def _read_head(head: bytes) -> tuple[int, int]:
    """The status, and the number of bytes of the body."""
    first, *lines = head.split(b"\r\n")
    status = re.fullmatch(rb"HTTP/1\.1 ([1-5][0-9]{2})(?: [^\r\n]*)?", first)
    lengths = [line.partition(b":")[2].strip() for line in lines if line.lower().startswith(b"content-length:")]
    if status is None:
        raise InvalidResponse(_strange(head))
    if len(lengths) != 1 or not re.fullmatch(rb"[0-9]{1,15}", lengths[0]):
        raise InvalidResponse("it does not say how long its response is")
    return int(status[1]), int(lengths[0])


def _strange(found: bytes) -> str:
    if found.startswith((b"\x15\x03", b"\x16\x03")):
        return "it speaks TLS: use the line with the fingerprint that it made when it was started"
    return f"it begins with {found[:40]!r}"


def _left(end: float) -> float:
    """Seconds until ``end``, a time of ``time.monotonic``.

    Raises:
        TimeoutError: when it has passed.
    """
    if (left := end - time.monotonic()) <= 0:
        raise TimeoutError("timed out")
    return left
