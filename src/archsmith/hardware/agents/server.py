"""The agent's HTTP server: reads requests in bounded time and size, and responds even to malformed ones.

It understands only what an agent needs of HTTP/1.1. Without the token one learns nothing about the machine.
"""

from __future__ import annotations

import hmac
import json
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from http import HTTPStatus
from socketserver import BaseRequestHandler, TCPServer
from typing import Any, Protocol

from archsmith.errors import ArchsmithError, InvalidOption, MeasurementFailed
from archsmith.hardware.agents.connections import Connections
from archsmith.hardware.agents.wire import SLACK_S, transfer_s

LONGEST_HEAD = 1 << 14
"""Bytes of a request before its body."""
DRAINED_BYTES = 1 << 26
"""Bytes of a refused request that are still read, so that its sender gets the response."""
STATUS_OF = {"UnknownName": 410, "InvalidData": 400, "InvalidOption": 400}
"""Error -> HTTP status; every other error is a 422."""
_FIRST = re.compile(rb"([!-~]{1,32}) ([!-~]+) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
_END = re.compile(rb"\r?\n\r?\n")
_TLS_BYTE = 0x16
"""The first byte of a TLS connection."""


class Handler(Protocol):
    """Handles the server's allowed requests."""

    token: str

    def verb(self, path: str) -> str:
        """``"GET"`` or ``"POST"``.

        Raises:
            UnknownName: when nothing is at ``path``.
        """

    def most_of(self, path: str) -> int:
        """Bytes that a request to ``path`` may hold."""

    def response(self, path: str, body: bytes) -> tuple[dict[str, Any], bytes]:
        """The response to an allowed request: plain data, or an archive."""


class Server(TCPServer):
    """Listens; each connection has a thread, and their number is limited.

    Args:
        address: host and port to listen on.
        handler: of allowed requests.
        tls: key and certificate, where connections are encrypted.
    """

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self.handler, self.tls, self.connections = handler, tls, Connections()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection; its thread does the TLS handshake."""
        connection, address = super().get_request()
        if self.tls is not None:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection."""
        if not self.connections.admit(request, str(client_address[0])):
            return self.shutdown_request(request)
        return threading.Thread(target=self._serve, args=(request, client_address), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do nothing: the client has gone and needs no response."""

    def service_actions(self) -> None:
        """End connections whose time is over; called several times a second."""
        self.connections.end_late()

    def server_close(self) -> None:
        """Stop listening, and end all connections."""
        super().server_close()
        self.connections.end_all()

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:  # noqa: BLE001 - the connection broke; the others go on
            self.handle_error(request, client_address)
        finally:
            self.shutdown_request(request)
            self.connections.remove(request)


class _Refusal(Exception):
    """The response to a request that is refused."""

    def __init__(self, status: int, error: ArchsmithError) -> None:
        super().__init__(status)
        self.status, self.error = status, error


class _Request:
    """The head of a request.

    Raises:
        _Refusal: when the bytes are no such head.
    """

    def __init__(self, head: bytes) -> None:
        first, *lines = head.replace(b"\r\n", b"\n").split(b"\n")
        found, fields = _FIRST.fullmatch(first), [_FIELD.fullmatch(line) for line in lines]
        if found is None or not all(fields):
            raise _Refusal(400, InvalidOption("this is no request of HTTP/1.1"))
        self.verb, target = found[1].decode("ascii"), found[2].decode("ascii")
        self.path = target.partition("?")[0]
        self.fields: dict[str, list[str]] = {}
        for field in filter(None, fields):
            self.fields.setdefault(field[1].decode("ascii").lower(), []).append(field[2].decode("latin-1").strip(" \t"))
        closes = "close" in ",".join(self.fields.get("connection", [])).lower()
        self.stays = found[3] == b"1" and not closes

    def allowed(self, token: str) -> bool:
        """Whether it contains the token, as ``Bearer TOKEN`` and once."""
        given = self.fields.get("authorization", [])
        match = re.fullmatch(r"bearer +(\S+)", given[0], flags=re.IGNORECASE) if len(given) == 1 else None
        return match is not None and hmac.compare_digest(match[1].encode(), token.encode())

    def length(self, most: int) -> int:
        """Bytes of its body.

        Raises:
            _Refusal: when it does not say, or says more than ``most``.
        """
        given = self.fields.get("content-length", [])
        if "transfer-encoding" in self.fields or (not given and self.verb == "POST"):
            raise _Refusal(411, InvalidOption("a request must say how long it is, with Content-Length"))
        if not given:
            return 0
        if len(given) > 1 or not re.fullmatch(r"[0-9]+", given[0]):
            raise _Refusal(400, InvalidOption("Content-Length must be one number of bytes"))
        if len(given[0]) > 18 or int(given[0]) > most:
            size = f"{int(given[0]) / 2**20:.1f} MiB" if len(given[0]) <= 18 else "so many bytes"
            raise _Refusal(
                413,
                MeasurementFailed(
                    f"{size} are more than the {most / 2**20:.1f} that the agent takes; start it with a larger "
                    "--max-mib"
                ),
            )
        return int(given[0])


class _Handler(BaseRequestHandler):
    """One connection; a wrong request gets a response that says so, and never ends the agent."""

    server: Server

    def handle(self) -> None:
        self.request.settimeout(SLACK_S)
        if isinstance(self.request, ssl.SSLSocket) and not self._handshake(self.request):
            return
        self.rest = bytearray()
        while self._one():
            self.server.connections.wait_for_head(self.request)

    def _handshake(self, connection: ssl.SSLSocket) -> bool:
        """Whether the client speaks TLS; one that does not gets a message, unencrypted."""
        first = socket.socket.recv(connection, 1, socket.MSG_PEEK)
        if first == bytes([_TLS_BYTE]):
            connection.do_handshake()
            return True
        message = "this agent speaks TLS: use the line with the fingerprint that it made when it was started"
        socket.socket.sendall(connection, _written(400, InvalidOption(message)))
        return False

    def _one(self) -> bool:
        """Respond to one request; returns whether another may follow."""
        verb = ""
        try:
            if (head := self._head()) is None:
                return False
            request = _Request(head)
            verb = request.verb
            found, archive = self._done(request)
        except _Refusal as refusal:
            self._send(_written(refusal.status, refusal.error, verb))
            self._drain()
            return False
        self._send(_message(200, archive or json.dumps(found).encode(), {} if request.stays else CLOSE))
        return request.stays

    def _done(self, request: _Request) -> tuple[dict[str, Any], bytes]:
        handler, connections = self.server.handler, self.server.connections
        if not request.allowed(handler.token):
            raise _Refusal(401, InvalidOption("the token is missing or wrong"))
        if not connections.allow(self.request, transfer_s(0)):
            raise _Refusal(503, MeasurementFailed("the agent has too many requests at once"))
        try:
            verb = handler.verb(request.path)
        except ArchsmithError as error:
            raise _refused(error) from error
        if request.verb != verb:
            raise _Refusal(405, InvalidOption(f"{request.path} takes {verb} only"))
        length = request.length(handler.most_of(request.path))
        connections.limit(self.request, transfer_s(length))
        body = self._body(length, expected="expect" in request.fields)
        connections.limit(self.request)
        try:
            return handler.response(request.path, body)
        except ArchsmithError as error:
            raise _refused(error) from error
        except Exception as error:  # sent to the client; the agent goes on
            failed = MeasurementFailed(f"the agent itself failed: {type(error).__name__}: {error}")
            raise _Refusal(500, failed) from error

    def _head(self) -> bytes | None:
        """The bytes of a head; ``None`` where the client closes the connection."""
        seen = 0
        while (end := _END.search(self.rest, max(0, seen - 3), LONGEST_HEAD)) is None:
            seen = len(self.rest)
            if seen >= LONGEST_HEAD:
                raise _Refusal(431, InvalidOption(f"the head of a request has {LONGEST_HEAD} bytes at most"))
            if not (piece := self.request.recv(LONGEST_HEAD)):
                return None
            self.rest += piece
            if not 0x21 <= self.rest[0] <= 0x7E:  # such as TLS to a server without it: the head would never end
                raise _Refusal(400, InvalidOption("this is no request of HTTP/1.1"))
        head, self.rest = bytes(self.rest[: end.start()]), self.rest[end.end() :]
        return head

    def _body(self, length: int, *, expected: bool) -> bytes:
        if expected and len(self.rest) < length:
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(self.rest) < length:
            if not (piece := self.request.recv(min(1 << 18, length - len(self.rest)))):
                raise _Refusal(400, InvalidOption(f"the request ended after {len(self.rest)} of {length} bytes"))
            self.rest += piece
        body, self.rest = bytes(self.rest[:length]), self.rest[length:]
        return body

    def _send(self, message: bytes) -> None:
        self.server.connections.limit(self.request, transfer_s(len(message)))
        self.request.settimeout(transfer_s(len(message)))  # for all of it
        self.request.sendall(message)
        self.request.settimeout(SLACK_S)

    def _drain(self) -> None:
        """Read the rest of a refused request: closing before would make the client's system drop the response."""
        self.server.connections.wait_for_head(self.request)
        socket.socket.shutdown(self.request, socket.SHUT_WR)
        left = DRAINED_BYTES
        while left > 0 and (piece := self.request.recv(1 << 16)):
            left -= len(piece)


CLOSE: Mapping[str, str] = {"Connection": "close"}


def _refused(error: ArchsmithError) -> _Refusal:
    return _Refusal(STATUS_OF.get(type(error).__name__, 422), error)


def _written(status: int, error: ArchsmithError, verb: str = "") -> bytes:
    """A refusal as bytes."""
    body = json.dumps({"error": type(error).__name__, "message": str(error)}).encode()
    more = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    return _message(status, body, {**CLOSE, **more}, without_body=verb == "HEAD")


def _message(status: int, body: bytes, fields: Mapping[str, str], *, without_body: bool = False) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (b"" if without_body else body)
