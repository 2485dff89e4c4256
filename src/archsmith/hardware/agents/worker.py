"""The process that an agent measures in: if it crashes, hangs or runs out of memory, the agent starts another one.

``python -m archsmith.hardware.agents.worker SPEC DESCRIPTOR``; it ends when the agent does.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import OrderedDict
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from archsmith.errors import ArchsmithError, InvalidOption, MeasurementFailed, UnknownName
from archsmith.export.onnx_tools.inputs import as_arrays
from archsmith.hardware.agents.wire import pack, unpack
from archsmith.hardware.base import Call, Device
from archsmith.hardware.catalogue import available_devices, open_device
from archsmith.hardware.machine import environment
from archsmith.hardware.memory import peak_memory_mib
from archsmith.hardware.protocol import Meter
from archsmith.progress import Reporter

NETWORKS_KEPT = 4
"""Networks that stay loaded."""


class Worker:
    """Handles the agent's requests, one after another."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.calls: OrderedDict[str, Call] = OrderedDict()

    def response(self, request: Mapping[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        """The response to one request, and the archive that comes with it."""
        if request["do"] == "describe":
            return self._described(), b""
        if request["do"] == "prepare":
            return self._prepared(request, data), b""
        if request["do"] == "memory":
            arrays, content = unpack(data, most=request["most"])
            found = peak_memory_mib(self.device, content or b"", tuple(arrays))
            return {"peak_mib": found, "fingerprint": self.device.fingerprint}, b""
        if request["do"] == "reference":
            return self._reference(request), b""
        if request["network"] not in self.calls:
            raise UnknownName(f"no network {request['network'][:16]} is ready here; send it again")
        self.calls.move_to_end(request["network"])
        call = self.calls[request["network"]]
        if request["do"] == "run":
            outputs = call()
            return {}, pack(as_arrays(tuple(outputs) if isinstance(outputs, list | tuple) else (outputs,)))
        with Meter(self.device, anchor_ms=request["anchor_ms"], wait_s=request["wait_s"]) as meter:
            measured = meter.measure(call, request["effort"]).to_json()
        return {"measurement": measured, "fingerprint": self.device.fingerprint}, b""

    def _described(self) -> dict[str, Any]:
        """The device as plain data.

        Raises:
            InvalidOption: when the device runs no files: searches send nothing else.
        """
        device = self.device
        if ".onnx" not in device.files:
            able = [d.name for d in available_devices() if ".onnx" in d.files and d.name != "remote"]
            raise InvalidOption(
                f"an agent is sent ONNX files, and {device.name} runs no files; start it on one that does: "
                f"{', '.join(able)}"
            )
        return {
            "spec": device.spec,
            "fingerprint": device.fingerprint,
            "threads": device.threads,
            "batch": device.batch,
            "precision": device.precision,
            "environment": environment(),
        }

    def _prepared(self, request: Mapping[str, Any], data: bytes) -> dict[str, Any]:
        arrays, content = unpack(data, most=request["most"])
        call = self.device.prepare_onnx(content or b"", tuple(arrays), batch=request["batch"])
        self.calls[request["network"]] = call
        while len(self.calls) > NETWORKS_KEPT:
            self.calls.popitem(last=False)
        return {"network": request["network"]}

    def _reference(self, request: Mapping[str, Any]) -> dict[str, Any]:
        messages: list[str] = []
        with Meter(
            self.device,
            anchor_ms=request["anchor_ms"],
            wait_s=request["wait_s"],
            reporter=Reporter(lambda event: messages.append(event.text)),
        ) as meter:
            anchor_ms = meter.anchor_ms
        return {"anchor_ms": anchor_ms, "messages": messages, "fingerprint": self.device.fingerprint}


def main() -> None:
    """Respond to requests until the agent closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to both processes; the agent ends this one
    connection = Connection(int(sys.argv[2]))
    worker: Worker | None = None
    while True:
        try:
            request, data = json.loads(connection.recv_bytes()), connection.recv_bytes()
        except EOFError:
            return
        response: dict[str, Any]
        archive = b""
        try:
            worker = worker or Worker(open_device(sys.argv[1]))
            response, archive = worker.response(request, data)
        except ArchsmithError as error:
            response = {"error": type(error).__name__, "message": str(error)}
        except MemoryError:
            response = {"error": MeasurementFailed.__name__, "message": "the network does not fit into the memory"}
        except Exception as error:  # noqa: BLE001 - sent to the search, which records it
            response = {"error": MeasurementFailed.__name__, "message": f"{type(error).__name__}: {error}"}
        connection.send_bytes(json.dumps(response).encode())
        connection.send_bytes(archive)


if __name__ == "__main__":
    main()
