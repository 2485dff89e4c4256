"""The agent: measures networks on the machine that it runs on, for a search elsewhere.

It needs archsmith's core and one runtime, not PyTorch. The whole protocol runs here, interleaved with the reference
network: only a file and its example inputs travel.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from socketserver import TCPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from archsmith import errors
from archsmith.errors import InvalidOption, MeasurementFailed, UnknownName, UserError
from archsmith.files import translating
from archsmith.hardware._wire import TOKEN, VERSION, token_path

STATUS = {"UnknownName": 410, "InvalidData": 400, "InvalidOption": 400}
"""HTTP's words for what was wrong; anything else that a network can do wrong is a 422."""
LONGEST_JSON = 1 << 16
SENT = {"/networks": "prepare", "/memory": "memory"}
"""Where whole networks are sent to, and what is to be done with them."""


class Ward:
    """Keeps a worker process, gives it one thing at a time, and replaces it when it dies or takes too long.

    Args:
        spec: of the device that it measures on.
        limit_s: that one thing may take.
    """

    def __init__(self, spec: str, *, limit_s: float) -> None:
        self.spec, self.limit_s = spec, limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._turn = threading.Lock()

    def ask(self, request: Mapping[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """The worker's answer and the archive with it.

        Raises:
            MeasurementFailed: when the worker died or was too slow over it; the next request gets a new one.
        """
        with self._turn:
            process, connection = self._worker()
            try:
                connection.send_bytes(json.dumps(dict(request)).encode())
                connection.send_bytes(data)
                if not connection.poll(self.limit_s):
                    self._end()
                    raise MeasurementFailed(
                        f"it took longer than the {self.limit_s:g} s that the agent allows and was ended; start the "
                        "agent with a larger --limit-s"
                    )
                return json.loads(connection.recv_bytes()), connection.recv_bytes()
            except (EOFError, OSError) as error:
                code = process.wait()
                self._end()
                raise MeasurementFailed(f"the process that ran the network died ({_death(code)})") from error

    def close(self) -> None:
        """End the worker."""
        with self._turn:
            self._end()

    def _worker(self) -> tuple[subprocess.Popen[bytes], Connection]:
        if self._process is not None and self._connection is not None and self._process.poll() is None:
            return self._process, self._connection
        self._end()
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "archsmith.hardware._worker", self.spec, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._connection = Connection(ours.detach())
        return self._process, self._connection

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._connection = None


class Agent:
    """Listens for networks to measure; a context manager, ready once it is entered.

    Args:
        on: spec of the device that it measures on.
        host: to listen on; the loopback address unless others are to reach it.
        port: to listen on; 0 for any that is free.
        token: that every request must carry.
        limit_s: that one request may take.
        max_mib: that one request may hold.
    """

    def __init__(
        self, on: str, *, token: str, host: str = "127.0.0.1", port: int = 0, limit_s: float = 300.0, max_mib: int = 512
    ) -> None:
        if len(token) < 8:
            raise InvalidOption(
                "an agent's token must have 8 characters or more: whoever knows it can run networks here"
            )
        if limit_s <= 0 or max_mib < 1:
            raise InvalidOption(f"limit_s={limit_s} and max_mib={max_mib} must be positive")
        self.ward, self.token, self.most = Ward(on, limit_s=limit_s), token, max_mib << 20
        self.device: dict[str, Any] = {}
        self._listening = (host, port)

    def __enter__(self) -> Agent:
        """Open the device and listen.

        Raises:
            UserError: when the device does not work here, or the port is taken.
        """
        try:
            self.device, _ = self._asked({"do": "describe"})
            self.server = _Server(self._listening, self)
        except OSError as error:
            self.ward.close()
            host, port = self._listening
            raise UserError(
                f"the agent cannot listen on {host}:{port}: {error.strerror}; give another --port"
            ) from error
        except BaseException:
            self.ward.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.server_close()
        self.ward.close()

    @property
    def address(self) -> str:
        """``HOST:PORT`` that it listens on."""
        host, port = self._listening[0], self.server.server_address[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def serve(self) -> None:
        """Answer until :meth:`stop` or an interruption."""
        self.server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """End :meth:`serve`, from another thread."""
        self.server.shutdown()

    def answer(self, path: str, body: bytes) -> tuple[dict[str, Any], bytes]:
        """What is answered to an allowed request: plain data, or an archive."""
        if path == "/device":
            about = {"version": VERSION, "limit_s": self.ward.limit_s, "max_mib": self.most >> 20}
            return {**self.device, **about}, b""
        if path in SENT:
            batch, digest = int.from_bytes(body[:4], "big"), sha256(body).hexdigest()
            return self._asked({"do": SENT[path], "network": digest, "batch": batch, "most": self.most}, body[4:])
        do = path.strip("/")
        if do not in ("reference", "run", "measure"):
            raise UnknownName(f"the agent knows no {path}")
        asked = _plain(body)
        anchor, effort = asked.get("anchor_ms"), asked.get("effort", "search")
        if not (anchor is None or isinstance(anchor, int | float)) or not isinstance(effort, str):
            raise InvalidOption("anchor_ms must be a number or null, and effort a word")
        request = {"do": do, "anchor_ms": anchor, "effort": effort, "wait_s": 0.8 * self.ward.limit_s}
        return self._asked(request | {"network": str(asked.get("network", ""))})

    def _asked(self, request: Mapping[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
        found, archive = self.ward.ask(request, data)
        if "error" in found:
            kind = getattr(errors, found["error"], MeasurementFailed)
            raise kind(found["message"])
        return found, archive


class _Server(ThreadingHTTPServer):
    """Listens; unlike its base it does not ask a name server what this machine is called."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], agent: Agent) -> None:
        self.agent = agent
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a caller that is gone before its answer needs none."""

    def server_bind(self) -> None:
        """As a plain TCP server."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "agent", int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    """One request; everything that is wrong with it is answered, nothing ends the agent."""

    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 60
    """Seconds without a byte after which a caller is given up."""

    def do_GET(self) -> None:
        self._do()

    def do_POST(self) -> None:
        self._do()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's own name
        """Nothing: whoever wants to know asks the search."""

    def _do(self) -> None:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ").encode()
        if not hmac.compare_digest(given, self.server.agent.token.encode()):
            return self._refuse(401, InvalidOption("the token is missing or wrong"))
        path = urlsplit(self.path).path
        length = self.headers.get("Content-Length", "0")
        most = self.server.agent.most if path in SENT else LONGEST_JSON
        if not length.isdigit() or "chunked" in self.headers.get("Transfer-Encoding", ""):
            return self._refuse(411, InvalidOption("a request must say how long it is"))
        if int(length) > most:
            size, allowed = int(length) / 2**20, most / 2**20
            return self._refuse(
                413,
                MeasurementFailed(
                    f"{size:.1f} MiB are more than the {allowed:.1f} that the agent takes; start it with a larger "
                    "--max-mib"
                ),
            )
        body = self.rfile.read(int(length))
        try:
            found, archive = self.server.agent.answer(path, body)
        except errors.ArchsmithError as error:
            return self._refuse(STATUS.get(type(error).__name__, 422), error)
        except Exception as error:  # noqa: BLE001 - told to the caller; the agent lives on
            return self._refuse(500, MeasurementFailed(f"the agent itself failed: {type(error).__name__}: {error}"))
        return self._send(200, archive or json.dumps(found).encode())

    def _refuse(self, status: int, error: Exception) -> None:
        self.close_connection = True  # what was not read would be taken for the next request
        self._send(status, json.dumps({"error": type(error).__name__, "message": str(error)}).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def own_token(path: Path | None = None) -> tuple[str, str]:
    """The token that an agent started here asks for, and where it is kept; one is made where there is none.

    Args:
        path: of the file; ``ARCHSMITH_AGENT_TOKEN`` and the usual file unless given.

    Raises:
        UserError: when the file cannot be written.
    """
    if path is None and (given := os.environ.get(TOKEN, "").strip()):
        return given, TOKEN
    path = path or token_path()
    with translating(path):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(f"{secrets.token_urlsafe(24)}\n")
        words = path.read_text(encoding="utf-8").split()
    if len(words) != 1:
        raise UserError(f"{path} should hold the agent's token and nothing else; delete it and a new one is made")
    return words[0], str(path)


def _plain(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError as error:
        raise InvalidOption(f"this is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidOption("a request is a JSON object")
    return found


def _death(code: int) -> str:
    if code >= 0:
        return f"it exited with {code}"
    name = signal.Signals(-code).name
    return f"{name}: out of memory, probably" if name == "SIGKILL" else name
