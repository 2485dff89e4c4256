"""A device on another machine: an agent there measures, this machine sends files."""

from __future__ import annotations

import http
import json
import time
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, final

from archsmith import trust
from archsmith.errors import DamagedFile, DeviceLost, InvalidData, InvalidOption, MeasurementFailed, UnknownName
from archsmith.export.onnx_tools.inputs import as_arrays, batch_size, has_batch, resized
from archsmith.files import parsed_json
from archsmith.hardware.agents.client import InvalidResponse, exchange
from archsmith.hardware.agents.credentials import TOKEN, Address, credential_for, token_path
from archsmith.hardware.agents.forms import (
    Anchor,
    Described,
    Measured,
    MeasurementForm,
    Memory,
    Prepared,
    Refused,
    read_response,
    shown,
    wrong_measurement,
)
from archsmith.hardware.agents.wire import PORT, SLACK_S, VERSION, error_of, pack, unpack
from archsmith.hardware.base import Call, Device, Elsewhere
from archsmith.hardware.catalogue import ROLE_NAME
from archsmith.method import OURS, load, names
from archsmith.progress import SILENT, Reporter

RETRY_S = 20.0
"""How long to wait for an agent that no longer responds: it may be restarting."""
LARGEST_JSON, LARGEST_OUTPUTS = 1 << 24, 1 << 30
"""Bytes of a response: of plain data, and of a network's outputs."""


class _Refused(InvalidOption):
    """There is no token that may be sent, the certificate is another one, or the agent refuses the token."""


@final
class Remote(Device):
    """A device on another machine, where `archsmith agent` runs; it measures, this machine only sends ONNX files.

    Runtime, threads, batch and precision are the agent's. Its token is a line ``HOST:PORT TOKEN sha256:FINGERPRINT`` in
    ``ARCHSMITH_AGENT_TOKEN`` or in the file ``agent.token`` in archsmith's home folder
    (``ARCHSMITH_AGENT_TOKEN_FILE`` names another file); see ``docs/remote-devices.md``. Nothing is sent before the
    device is first used.

    Args:
        address: ``HOST:PORT`` of the agent.
    """

    paper = OURS
    name: ClassVar[str] = "remote"
    hardware: ClassVar[str] = "remote"
    files: ClassVar[tuple[str, ...]] = (".onnx",)

    def __init__(self, *, address: str = f"127.0.0.1:{PORT}") -> None:
        self.address, self._at = str(address), Address.read(str(address))
        trust.refuse(f"connect to the agent at {address}")
        self._reporter = SILENT  # until a meter passes its own

    @classmethod
    def unavailable(cls) -> str:
        """Empty: whether an agent responds is checked when the device is first used."""
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
        """What the agent's device computes in."""
        return str(self.agent["precision"])

    @property
    def layer_precisions(self) -> tuple[str, ...]:  # type: ignore[override]
        """Precisions beside fp32 that the agent's runtime has for single layers of a file."""
        name = str(self.agent["spec"]).partition(":")[0]
        if name not in names(ROLE_NAME):  # a class on the agent's machine; names from other machines are never imported
            return ()
        found = getattr(load(ROLE_NAME, name), "layer_precisions", ())
        return found if isinstance(found, tuple) else ()

    @property
    def weight_bits(self) -> int:
        """Bits of the weights of int8 layers: 7, with which sums saturate on no processor."""
        return 7

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the agent's device, as that machine itself computes it."""
        return str(self.agent["fingerprint"])

    @cached_property
    def agent(self) -> Mapping[str, Any]:
        """The agent's description of its device: ``spec``, ``environment``, limits and more.

        Raises:
            InvalidOption: when no token may be sent there, nothing responds, it is no agent, or it refuses the token.
        """
        try:
            body = self._request("GET", "/device", b"", work_s=SLACK_S, most=LARGEST_JSON)
            version = _version(body)
            if version == VERSION:
                return read_response(body, Described)
        except OSError as error:
            raise InvalidOption(
                f"no agent responds at {self.address} ({error}); start `archsmith agent` there, with --host if it is "
                "another machine"
            ) from error
        except (InvalidResponse, ValueError) as error:
            if isinstance(error, InvalidOption):
                raise
            raise InvalidOption(f"the server at {self.address} is no agent of archsmith: {error}") from error
        raise InvalidOption(f"the agent at {self.address} is of another version of archsmith; install the same on both")

    def prepare(self, module: Any, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:
        """Export a copy of ``module`` in memory and send it.

        Raises:
            MeasurementFailed: when the exporter or the agent's runtime refuses the network.
            DeviceLost: when the agent no longer responds.
        """
        from archsmith.export.onnx_tools.fast_exporter import candidate_onnx

        self._check_size(0, example_inputs, batch or self.batch)
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
            MeasurementFailed: when the agent's runtime refuses it, or it is too large for the agent.
            DeviceLost: when the agent no longer responds.
        """
        return _Sent(self, self._packed(content, example_inputs, batch or self.batch))

    def prepare_file(self, path: str, example_inputs: tuple[Any, ...]) -> Call:
        """Send a file.

        Raises:
            InvalidOption: when it is no ONNX file, or was made for another batch.
            DamagedFile: when the agent's runtime cannot load it.
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
        """Return at once: nothing is queued, and a call returns when it is done."""

    def environment(self) -> dict[str, Any]:
        """The agent's machine."""
        return dict(self.agent["environment"])

    def measured_elsewhere(self) -> Elsewhere:
        """This device, whose agent measures."""
        return self

    def anchor(self, anchor_ms: float | None, reporter: Reporter) -> float:
        """The anchor that the agent will use: the given one, or its own."""
        self._reporter = reporter
        reporter.progress(f"{self.address} measures on {self.agent['spec']}")
        found = self._same(self.ask("/reference", json.dumps({"anchor_ms": anchor_ms}).encode()), Anchor)
        for message in found["messages"]:
            reporter.progress(f"{self.address}: {shown(message)}")
        if anchor_ms is not None and found["anchor_ms"] != anchor_ms:
            raise self.invalid_response(f"an anchor of {found['anchor_ms']} ms, but {anchor_ms} ms were given")
        return float(found["anchor_ms"])

    def measure(self, call: Any, effort: str, anchor_ms: float) -> Mapping[str, Any]:
        """Let the agent measure a prepared network; returns the measurement as plain data."""
        measured: dict[str, Any] = self._same(call.ask("/measure", effort=effort, anchor_ms=anchor_ms), Measured)[
            "measurement"
        ]
        if wrong := wrong_measurement(measured):
            raise self.invalid_response(wrong)
        if (measured["anchor_ms"], measured["effort"]) != (anchor_ms, effort):
            raise self.invalid_response("a measurement with another anchor or effort than was asked for")
        return {name: value for name, value in measured.items() if name in MeasurementForm.__annotations__}

    def peak_memory_mib(self, content: bytes, example_inputs: tuple[Any, ...]) -> float:
        """MiB that loading and running a network takes there, in a process of its own."""
        found = self._same(self.ask("/memory", self._packed(content, example_inputs, self.batch)), Memory)
        return float(found["peak_mib"])

    def ask(self, path: str, body: bytes, *, most: int = LARGEST_JSON) -> bytes:
        """The agent's response; retried for a while where it does not respond.

        Args:
            path: such as ``"/measure"``.
            body: to send.
            most: bytes that the response may have.

        Raises:
            DeviceLost: when it no longer responds, its response is invalid, or it refuses the token.
        """
        work_s = float(self.agent["limit_s"]) + SLACK_S
        deadline = time.monotonic() + RETRY_S
        reported = False
        while True:
            try:
                return self._request("POST", path, body, work_s=work_s, most=most)
            except InvalidResponse as error:
                raise self.invalid_response(str(error)) from error
            except _Refused as error:  # the token was accepted before, so no network is to blame
                raise DeviceLost(str(error)) from error
            except OSError as error:
                if time.monotonic() >= deadline or isinstance(error, TimeoutError):
                    raise DeviceLost(
                        f"the agent at {self.address} no longer responds ({error}); start it again, and give the same "
                        "command: it goes on from there"
                    ) from error
                if not reported:
                    self._reporter.progress(
                        f"waiting up to {RETRY_S:g} s for the agent at {self.address}, which does not respond"
                    )
                    reported = True
                time.sleep(0.5)

    def read(self, response: bytes, form: Any) -> dict[str, Any]:
        """A response as plain data of a form.

        Raises:
            DeviceLost: when it is of another form.
        """
        try:
            return read_response(response, form)
        except ValueError as error:
            raise self.invalid_response(str(error)) from error

    def outputs(self, response: bytes) -> object:
        """A response as arrays.

        Raises:
            DeviceLost: when it holds none.
        """
        try:
            return unpack(response, most=LARGEST_OUTPUTS)[0]
        except InvalidData as error:
            raise self.invalid_response(str(error)) from error

    def _packed(self, content: bytes, example_inputs: tuple[Any, ...], batch: int) -> bytes:
        self._check_size(len(content), example_inputs, batch)
        return batch.to_bytes(4, "big") + pack(as_arrays(resized(example_inputs, batch)), content)

    def _check_size(self, content: int, example_inputs: tuple[Any, ...], batch: int) -> None:
        """Check the size before inputs are repeated to the batch, which the agent names."""
        size, most = batch_size(example_inputs), int(self.agent["max_mib"])
        arrays = [x for x in as_arrays(example_inputs) if has_batch(x, size)]
        total = content + batch * sum(x.nbytes // size for x in arrays)
        if total > most << 20:
            raise MeasurementFailed(
                f"{self.spec}: {total / 2**20:.1f} MiB are more than the {most:.1f} that the agent takes; start it "
                "with a larger --max-mib"
            )

    def _same(self, response: bytes, form: Any) -> dict[str, Any]:
        """A response as plain data, if it is from the same device as the first one."""
        found = self.read(response, form)
        if found["fingerprint"] != self.fingerprint:
            raise DeviceLost(
                f"the agent at {self.address} measures on another device than before ({self.agent['spec']}): start it "
                "as it was, or begin another run"
            )
        return found

    def invalid_response(self, what: str) -> DeviceLost:
        """The error for a response that is no agent's, or not to the request."""
        return DeviceLost(
            f"the agent at {self.address} sent an invalid response ({shown(what)}); start it again, with the same "
            "version of archsmith as here, and give the same command: it goes on from there"
        )

    def _request(self, verb: str, path: str, body: bytes, *, work_s: float, most: int) -> bytes:
        try:
            credential = credential_for(self._at)
            response = exchange(self._at, credential, verb, path, body, work_s=work_s, most=most)
        except InvalidOption as error:
            raise _Refused(str(error)) from error
        if response.status == http.HTTPStatus.OK:
            return response.body
        if response.status == http.HTTPStatus.UNAUTHORIZED:
            lacking = f"no token for {self.address} is known here, and the agent there requires one"
            wrong = f"the agent at {self.address} refuses the token that is known for it here"
            raise _Refused(
                f"{wrong if credential is not None and credential.token else lacking}: put a line "
                f"`{self.address} TOKEN` with the agent's own token, which it keeps in its agent.token, into "
                f"{token_path()} or {TOKEN}"
            )
        if response.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
            raise ConnectionError("it has too many requests at once")
        try:
            refusal = read_response(response.body, Refused)
        except ValueError as error:
            raise InvalidResponse(f"status {response.status}, and no reason") from error
        raise error_of(refusal["error"], f"{self.spec}: {shown(refusal['message'])}")


class _Sent:
    """A network that an agent has loaded; it is sent again if the agent has lost it."""

    def __init__(self, device: Remote, body: bytes) -> None:
        self._device, self._body, self._digest = device, body, sha256(body).hexdigest()
        self._send()

    def __call__(self) -> object:
        """Its outputs on the example inputs, as arrays."""
        return self._device.outputs(self.ask("/run", most=LARGEST_OUTPUTS))

    def ask(self, path: str, *, most: int = LARGEST_JSON, **more: Any) -> bytes:
        """The agent's response to a request about the network."""
        request = json.dumps({"network": self._digest, **more}).encode()
        try:
            return self._device.ask(path, request, most=most)
        except UnknownName:  # the agent was restarted, or has loaded many others since
            self._send()
        try:
            return self._device.ask(path, request, most=most)
        except UnknownName as error:
            raise self._device.invalid_response(f"it loses the network again: {error}") from error

    def _send(self) -> None:
        found = self._device.read(self._device.ask("/networks", self._body), Prepared)
        if found["network"] != self._digest:
            raise self._device.invalid_response("it names another network than the one that was sent")


def _version(body: bytes) -> int | None:
    found = parsed_json(body.decode("utf-8"))
    if not isinstance(found, dict) or not isinstance(found.get("version"), int):
        raise ValueError("it does not say its version")
    return int(found["version"])
