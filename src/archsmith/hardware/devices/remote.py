"""A device behind an agent: another machine measures, this one sends files."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, final

from archsmith import errors, trust
from archsmith.errors import DamagedFile, DeviceLost, InvalidOption, MeasurementFailed, UnknownName, UserError
from archsmith.export._inputs import as_arrays, resized
from archsmith.hardware._wire import PORT, TOKEN, VERSION, known_token, pack, token_path, unpack
from archsmith.hardware.base import Call, Device, Elsewhere
from archsmith.hardware.catalogue import ROLE_NAME
from archsmith.method import OURS, load

PATIENCE_S = 20.0
"""How long an agent that does not answer any more is waited for: it may be starting again."""
SLACK_S = 60.0
"""For the way to the agent and back, beside what it allows for the work itself."""


@final
class Remote(Device):
    """A device on another machine, where `archsmith agent` runs; it measures, this machine only sends ONNX files.

    Runtime, threads, batch and precision are the agent's. Its token is taken from ``ARCHSMITH_AGENT_TOKEN``, or from
    the file ``agent.token`` in the home of archsmith (``ARCHSMITH_AGENT_TOKEN_FILE`` names another), as a line
    ``TOKEN`` or ``HOST:PORT TOKEN``. Nothing is sent before the device is first used.

    Args:
        address: ``HOST:PORT`` of the agent.
    """

    paper = OURS
    name: ClassVar[str] = "remote"
    hardware: ClassVar[str] = "remote"
    files: ClassVar[tuple[str, ...]] = (".onnx",)

    def __init__(self, *, address: str = f"127.0.0.1:{PORT}") -> None:
        match = re.fullmatch(r"(\[[^\]]+\]|[^:\s]+):(\d{1,5})", str(address))
        if match is None or not 0 < int(match[2]) < 65536:
            raise InvalidOption(f"cannot read the agent's address {address!r}; write remote:HOST:PORT")
        trust.refuse(f"connect to the agent at {address}")
        self.address, self._host, self._port = str(address), match[1].strip("[]"), int(match[2])
        self._say: Callable[[str], None] = lambda _: None  # until a meter says whom to tell

    @classmethod
    def unavailable(cls) -> str:
        """Empty: whether an agent answers is seen when it is used."""
        return ""

    @property
    def spec(self) -> str:
        """Such as ``remote:192.168.0.7:7465``."""
        return f"remote:{self.address}"

    @property
    def threads(self) -> int:
        """Threads of one call there."""
        return int(self.agent["threads"])

    @property
    def batch(self) -> int:  # type: ignore[override]
        """Inputs of one call there."""
        return int(self.agent["batch"])

    @property
    def precision(self) -> str:  # type: ignore[override]
        """What is computed in there."""
        return str(self.agent["precision"])

    @property
    def layer_precisions(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the runtime there can run single layers of a file in."""
        return getattr(load(ROLE_NAME, str(self.agent["spec"]).partition(":")[0]), "layer_precisions", ())

    @property
    def weight_bits(self) -> int:
        """Of int8 layers: 7, with which no processor's sums saturate."""
        return 7

    @property
    def fingerprint(self) -> str:
        """Of the device that the agent measures on: the same as on that machine itself."""
        return str(self.agent["fingerprint"])

    @cached_property
    def agent(self) -> Mapping[str, Any]:
        """What the agent says of itself: ``spec``, ``environment``, limits and more.

        Raises:
            InvalidOption: when nothing answers, it is no agent, or it refuses the token.
        """
        try:
            found = json.loads(self._request("GET", "/device", timeout_s=SLACK_S))
        except (OSError, http.client.HTTPException) as error:
            raise InvalidOption(
                f"no agent answers at {self.address} ({error}); start `archsmith agent` there, with --host where it is "
                "another machine"
            ) from error
        except UserError:
            raise
        except ValueError as error:
            raise InvalidOption(f"what answers at {self.address} is no agent of archsmith") from error
        if not isinstance(found, dict) or found.get("version") != VERSION:
            raise InvalidOption(
                f"the agent at {self.address} is of another version of archsmith; install the same on both"
            )
        return found

    def prepare(self, module: Any, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """Export a copy of ``module`` in memory and send it.

        Raises:
            MeasurementFailed: when the exporter or the runtime there refuses the network.
            DeviceLost: when the agent does not answer any more.
        """
        from archsmith.export._candidate import candidate_onnx

        inputs = resized(example_inputs, batch or self.batch)
        try:
            content = candidate_onnx(module, inputs)
        except Exception as error:  # exporters raise many kinds
            raise MeasurementFailed(f"{self.spec} cannot run this network: {error}") from error
        return self.prepare_onnx(content, inputs, batch=batch)

    def prepare_onnx(self, content: bytes, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """Send the content of a file.

        Raises:
            InvalidOption: when it was made for another batch.
            MeasurementFailed: when the runtime there refuses it, or it is too large for the agent.
            DeviceLost: when the agent does not answer any more.
        """
        return _Sent(self, self._packed(content, example_inputs, batch or self.batch))

    def prepare_file(self, path: str, example_inputs: tuple[Any, ...]) -> Call:
        """Send a file.

        Raises:
            InvalidOption: when it is no ONNX file, or was made for another batch.
            DamagedFile: when the runtime there cannot load it.
        """
        if not path.endswith(self.files):
            raise InvalidOption(f"{self.name} reads .onnx files, got {path}")
        if not Path(path).is_file():
            raise InvalidOption(f"there is no file {path}")
        try:
            return self.prepare_onnx(Path(path).read_bytes(), example_inputs)
        except MeasurementFailed as error:
            raise DamagedFile(f"{self.spec} cannot run {path}: {error}") from error

    def synchronize(self) -> None:
        """Nothing is queued: a call returns when it is done."""

    def environment(self) -> dict[str, Any]:
        """The agent's machine."""
        return dict(self.agent["environment"])

    def measured_elsewhere(self) -> Elsewhere:
        """The agent, which takes the time."""
        return self

    def anchor(self, anchor_ms: float | None, say: Callable[[str], None]) -> float:
        """The anchor that the agent will use: the given one, or its own."""
        self._say = say
        say(f"{self.address} measures on {self.agent['spec']}")
        found = self._same(json.loads(self.ask("/reference", json.dumps({"anchor_ms": anchor_ms}).encode())))
        for message in found["messages"]:
            say(f"{self.address}: {message}")
        return float(found["anchor_ms"])

    def measure(self, call: Any, effort: str, anchor_ms: float) -> Mapping[str, Any]:
        """Have a prepared network measured there; plain data of a measurement."""
        found = self._same(json.loads(call.ask("/measure", effort=effort, anchor_ms=anchor_ms)))
        measured: dict[str, Any] = found["measurement"]
        return measured

    def peak_memory_mib(self, content: bytes, example_inputs: tuple[Any, ...]) -> float:
        """What loading and running a network takes there, in a process of its own."""
        found = self._same(json.loads(self.ask("/memory", self._packed(content, example_inputs, self.batch))))
        return float(found["peak_mib"])

    def ask(self, path: str, body: bytes) -> bytes:
        """What the agent answers; it is waited for where it does not, for a while.

        Raises:
            DeviceLost: when it does not answer any more.
        """
        deadline = time.monotonic() + PATIENCE_S
        told = False
        while True:
            try:
                return self._request("POST", path, body, timeout_s=float(self.agent["limit_s"]) + SLACK_S)
            except (OSError, http.client.HTTPException) as error:
                if time.monotonic() >= deadline or isinstance(error, TimeoutError):
                    raise DeviceLost(
                        f"the agent at {self.address} does not answer any more ({error}); start it again, and give the "
                        "same command: it goes on from there"
                    ) from error
                if not told:
                    self._say(f"waiting up to {PATIENCE_S:g} s for the agent at {self.address}, which does not answer")
                    told = True
                time.sleep(0.5)

    @staticmethod
    def _packed(content: bytes, example_inputs: tuple[Any, ...], batch: int) -> bytes:
        return batch.to_bytes(4, "big") + pack(as_arrays(resized(example_inputs, batch)), content)

    def _same(self, found: dict[str, Any]) -> dict[str, Any]:
        """An answer of the device that this one began with."""
        if found["fingerprint"] != self.fingerprint:
            raise DeviceLost(
                f"the agent at {self.address} measures on another device than before ({self.agent['spec']}): start it "
                "as it was, or begin another run"
            )
        return found

    def _request(self, verb: str, path: str, body: bytes = b"", *, timeout_s: float) -> bytes:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        try:
            headers = {"Authorization": f"Bearer {known_token(self.address)}"}
            connection.request(verb, path, body, headers)
            answer = connection.getresponse()
            found = answer.read()
        finally:
            connection.close()
        if answer.status == http.HTTPStatus.OK:
            return found
        if answer.status == http.HTTPStatus.UNAUTHORIZED:
            raise InvalidOption(
                f"the agent at {self.address} refuses the token: put the one it was started with into {TOKEN} or "
                f"{token_path()}"
            )
        refusal = json.loads(found)
        kind = getattr(errors, refusal["error"], MeasurementFailed)
        raise kind(f"{self.spec}: {refusal['message']}")


class _Sent:
    """A network that lies ready at an agent; where that one has lost it, it is sent again."""

    def __init__(self, device: Remote, body: bytes) -> None:
        self._device, self._body, self._digest = device, body, sha256(body).hexdigest()
        device.ask("/networks", body)

    def __call__(self) -> object:
        """Its outputs on the example inputs, as arrays."""
        return unpack(self.ask("/run"), most=1 << 40)[0]

    def ask(self, path: str, **more: Any) -> bytes:
        """What the agent answers about it."""
        request = json.dumps({"network": self._digest, **more}).encode()
        try:
            return self._device.ask(path, request)
        except UnknownName:  # it began anew, or has seen many others since
            self._device.ask("/networks", self._body)
            return self._device.ask(path, request)
