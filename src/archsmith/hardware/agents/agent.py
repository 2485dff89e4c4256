"""The agent: measures networks on the machine that it runs on, for a search elsewhere.

It needs archsmith's core and one runtime, not PyTorch. The whole measurement protocol runs here; the search sends only
a file and its example inputs.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from archsmith.errors import InvalidOption, MeasurementFailed, UnknownName, UserError
from archsmith.files import misfit, parsed_json, translating
from archsmith.hardware.agents.credentials import SHORTEST_TOKEN, Address, write_secret
from archsmith.hardware.agents.forms import Asked, Described
from archsmith.hardware.agents.server import Server
from archsmith.hardware.agents.tls import agent_folder, own_certificate, serving
from archsmith.hardware.agents.wire import LARGEST_BATCH, LARGEST_MIB, LONGEST_LIMIT_S, VERSION, error_of

LONGEST_JSON = 1 << 16
NETWORK_PATHS = {"/networks": "prepare", "/memory": "memory"}
"""Path that a whole network is sent to -> what the worker does with it."""
JSON_PATHS = ("/reference", "/run", "/measure")
"""Paths of requests about a network that was sent before, or about the reference."""


class WorkerProcess:
    """Runs a worker, sends it one request at a time, and replaces it when it dies or takes too long.

    Args:
        spec: of the device that it measures on.
        limit_s: seconds that one request may take.
    """

    def __init__(self, spec: str, *, limit_s: float) -> None:
        self.spec, self.limit_s = spec, limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._turn = threading.Lock()

    def ask(self, request: Mapping[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """The worker's response and the archive with it.

        Raises:
            MeasurementFailed: when the worker died or was too slow; the next request gets a new one.
        """
        with self._turn:
            process, connection = self._worker()
            try:
                connection.send_bytes(json.dumps(dict(request)).encode())
                connection.send_bytes(data)
                if not connection.poll(self.limit_s):
                    self._end()
                    raise MeasurementFailed(
                        f"it took longer than the {self.limit_s:g} s that the agent allows, and was stopped; start the "
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
        command = [sys.executable, "-P", "-m", "archsmith.hardware.agents.worker", self.spec, str(theirs.fileno())]
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
        host: to listen on; the loopback address, unless other machines are to reach it.
        port: to listen on; 0 for any that is free.
        token: that every request must contain.
        tls: whether connections are encrypted; the certificate is made where there is none.
        limit_s: seconds that one request may take.
        max_mib: MiB that one request may hold.
    """

    def __init__(
        self,
        on: str,
        *,
        token: str,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: bool = False,
        limit_s: float = 300.0,
        max_mib: int = 512,
    ) -> None:
        if not re.fullmatch(rf"[!-~]{{{SHORTEST_TOKEN},1000}}", token):
            raise InvalidOption(
                f"an agent's token must have {SHORTEST_TOKEN} or more visible ASCII characters: whoever knows it can "
                "run networks here"
            )
        if not 0 < limit_s <= LONGEST_LIMIT_S or not 1 <= max_mib <= LARGEST_MIB:
            raise InvalidOption(
                f"limit_s={limit_s} and max_mib={max_mib} must be positive, and {LONGEST_LIMIT_S:g} s and "
                f"{LARGEST_MIB} MiB at most"
            )
        self.worker, self.token, self.most = WorkerProcess(on, limit_s=limit_s), token, max_mib << 20
        self.device: dict[str, Any] = {}
        self.fingerprint = ""
        """SHA-256 of the certificate; empty without TLS."""
        self._listening, self._tls = (host.strip("[]"), port), tls

    def __enter__(self) -> Agent:
        """Open the device and listen.

        Raises:
            UserError: when the device does not work here, the port is taken, or there is no certificate.
        """
        context = None
        if self._tls:
            path, self.fingerprint = own_certificate()
            context = serving(path)
        try:
            self.device, _ = self._asked({"do": "describe"})
            if wrong := misfit(self.about(), Described):  # the search would refuse it
                raise InvalidOption(f"{self.device['spec']!r} cannot be described to a search: {wrong}")
            self.server = Server(self._listening, self, context)
        except (OSError, UnicodeError) as error:
            self.worker.close()
            host, port = self._listening
            reason = error.strerror if isinstance(error, OSError) else "it is no name of a host"
            raise UserError(f"the agent cannot listen on {host}:{port}: {reason}; give another --port") from error
        except BaseException:
            self.worker.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.server_close()
        self.worker.close()

    @property
    def address(self) -> str:
        """``HOST:PORT`` that it listens on."""
        return str(Address(self._listening[0], self.server.server_address[1]))

    @property
    def reached_at(self) -> tuple[Address, bool]:
        """The address at which a search reaches it, and whether that is a guess, as it listens on all addresses."""
        host, port = self._listening[0], int(self.server.server_address[1])
        if host not in ("", "0.0.0.0", "::"):
            return Address.read(str(Address(host, port))), False
        return Address(_outward(self.server.address_family) or socket.gethostname().lower() or host, port), True

    @property
    def line(self) -> str:
        """The line to add to the file of tokens on the searching machine; a secret."""
        address, _ = self.reached_at
        how = f" sha256:{self.fingerprint}" if self.fingerprint else "" if address.is_here else " plain"
        return f"{address} {self.token}{how}"

    def keep_line(self) -> Path:
        """Write :attr:`line` to a file that only its owner can read, to copy it from.

        Raises:
            UserError: when it cannot be written.
        """
        address, _ = self.reached_at
        path = agent_folder() / f"{address.port}.line"
        with translating(path):
            write_secret(path, f"{self.line}\n")
        return path

    def serve(self) -> None:
        """Respond to requests until :meth:`stop` or an interruption."""
        self.server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """End :meth:`serve`, from another thread."""
        self.server.shutdown()

    def verb(self, path: str) -> str:
        """HTTP's method for ``path``: ``"GET"`` or ``"POST"``.

        Raises:
            UnknownName: when there is no such path.
        """
        if path == "/device":
            return "GET"
        if path in NETWORK_PATHS or path in JSON_PATHS:
            return "POST"
        raise UnknownName(f"the agent knows no {path}")

    def most_of(self, path: str) -> int:
        """Bytes that a request to ``path`` may hold."""
        return self.most if path in NETWORK_PATHS else LONGEST_JSON

    def about(self) -> dict[str, Any]:
        """The device, and the limits of requests."""
        limits = {"limit_s": self.worker.limit_s, "max_mib": self.most >> 20}
        return {**self.device, "version": VERSION, **limits}

    def response(self, path: str, body: bytes) -> tuple[dict[str, Any], bytes]:
        """The response to an allowed request: plain data, or an archive."""
        if path == "/device":
            return self.about(), b""
        if path in NETWORK_PATHS:
            batch, digest = int.from_bytes(body[:4], "big"), sha256(body).hexdigest()
            if not 1 <= batch <= LARGEST_BATCH:
                raise InvalidOption(f"a batch has 1 to {LARGEST_BATCH} inputs, not {batch}")
            request = {"do": NETWORK_PATHS[path], "network": digest, "batch": batch, "most": self.most}
            return self._asked(request, body[4:])
        asked = _plain(body)
        request = {"do": path.strip("/"), "network": "", "anchor_ms": None, "effort": "search", **asked}
        return self._asked(request | {"wait_s": 0.8 * self.worker.limit_s})

    def _asked(self, request: Mapping[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
        found, archive = self.worker.ask(request, data)
        if "error" in found:
            raise error_of(found["error"], found["message"])
        return found, archive


def _plain(body: bytes) -> dict[str, Any]:
    """The fields of a request about a network; unknown fields are left out."""
    try:
        found = parsed_json(body.decode("utf-8") or "{}")
    except ValueError as error:
        raise InvalidOption(f"this is no JSON: {error}") from error
    if wrong := misfit(found, Asked):
        raise InvalidOption(f"this is no request: {wrong}")
    return {name: found[name] for name in Asked.__annotations__ if name in found}


def _outward(family: int) -> str:
    """The address that the system would use to reach other machines; nothing is sent."""
    target = "2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1"  # reserved for documentation
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((target, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return ""


def _death(code: int) -> str:
    if code >= 0:
        return f"it exited with {code}"
    name = signal.Signals(-code).name
    return f"{name}: out of memory, probably" if name == "SIGKILL" else name
