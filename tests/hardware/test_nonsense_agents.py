"""Agents that respond wrongly: every response ends in an error of archsmith, in bounded time and memory."""

import io
import json
import socket
import struct
import threading
import time
import zipfile
from contextlib import contextmanager, suppress
from hashlib import sha256

import numpy as np
import pytest

from archsmith.errors import ArchsmithError, DamagedFile, DeviceLost, InvalidOption, MeasurementFailed, UserError
from archsmith.hardware import Measurement, Meter, open_device
from archsmith.hardware.agents import client as _client
from archsmith.hardware.agents.wire import error_of, pack
from archsmith.hardware.devices import remote
from archsmith.progress import Reporter

X = (np.ones((1, 4), dtype=np.float32),)
FINGERPRINT = "0123456789abcdef"
MACHINE = {
    "machine": "x86_64",
    "cpu": "a board",
    "cores": 4,
    "memory_gib": None,
    "os": "Linux 6",
    "python": "3.11.9",
    "packages": {"onnxruntime": "1.31"},
}
DEVICE = {
    "version": 1,
    "spec": "onnxruntime:threads=1,batch=1",
    "fingerprint": FINGERPRINT,
    "threads": 1,
    "batch": 1,
    "precision": "fp32",
    "environment": MACHINE,
    "limit_s": 1.0,
    "max_mib": 1,
}
MEASURED = {
    "latency_ms": 2.0,
    "low": 1.9,
    "high": 2.2,
    "ratio": 2.0,
    "anchor_ms": 1.0,
    "reference_ms": 1.1,
    "wall_p50_ms": 2.1,
    "wall_p95_ms": 2.4,
    "groups": [2.0, 2.0],
    "agreed": True,
    "clock": "cpu",
    "samples": 10,
    "calls_per_sample": 1,
    "repeats": 20,
    "threads": 1,
    "load": None,
    "governor": None,
    "effort": "search",
    "seconds": 0.2,
    "device": "onnxruntime",
    "fingerprint": FINGERPRINT,
    "raw": {"candidate_cpu": [2.0]},
}
GOOD = {
    "/device": DEVICE,
    "/reference": {"anchor_ms": 1.0, "messages": ["hello"], "fingerprint": FINGERPRINT},
    "/measure": {"measurement": MEASURED, "fingerprint": FINGERPRINT},
    "/memory": {"peak_mib": 3.5, "fingerprint": FINGERPRINT},
    "/run": pack([np.ones(2)]),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setenv("ARCHSMITH_AGENT_TOKEN", "correct-horse-battery")
    for module in (_client, remote):
        monkeypatch.setattr(module, "SLACK_S", 0.4)
    monkeypatch.setattr(_client, "transfer_s", lambda _: 0.4)
    monkeypatch.setattr(remote, "RETRY_S", 0.1)


def answer(body, status="200 OK"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def agent(path=None, said=b""):
    """An agent that answers well, except at one path; ``said`` are bytes, plain data, or a function that sends."""
    stopped = threading.Event()

    def serve(connection):
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1 << 16)
            head, _, body = head.partition(b"\r\n\r\n")
            while len(body) < int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]):
                body += connection.recv(1 << 16)
            asked = head.split()[1].decode()
            if asked == path and callable(said):
                said(connection, stopped)
            elif asked == path:
                connection.sendall(said if isinstance(said, bytes) else answer(said))
            else:
                connection.sendall(answer(GOOD.get(asked, {"network": sha256(body).hexdigest()})))

    def listen():
        while True:
            try:
                connection = server.accept()[0]
            except OSError:
                return
            threading.Thread(target=swallow, args=(serve, connection), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=listen, daemon=True).start()
        try:
            yield f"remote:127.0.0.1:{server.getsockname()[1]}"
        finally:
            stopped.set()
            server.shutdown(socket.SHUT_RDWR)


def swallow(serve, connection):
    with suppress(OSError):
        serve(connection)


def everything(spec):
    """Asks an agent for all that there is."""
    device = open_device(spec)
    assert isinstance(device.layer_precisions, tuple)
    assert device.environment()["cores"] == 4
    call = device.prepare_onnx(b"content", X)
    call()
    device.peak_memory_mib(b"content", X)
    with Meter(device) as meter:
        return meter.measure(call)


def test_an_agent_that_makes_sense_is_believed():
    with agent() as spec:
        assert everything(spec).latency_ms == 2.0


def drip(connection, stopped):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not stopped.wait(0.02):
        connection.sendall(b"X")


def drip_a_body(connection, stopped):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not stopped.wait(0.02):
        connection.sendall(b" ")


def flood(connection, stopped):
    while not stopped.is_set():
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def silence(_connection, stopped):
    stopped.wait(10)


def changed(base, **values):
    return {**base, **values}


def measured(**values):
    return {"measurement": {**MEASURED, **values}, "fingerprint": FINGERPRINT}


def terabyte():
    """An archive whose array claims a terabyte and has four bytes."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("array_0.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"0000")
    return buffer.getvalue()


NONSENSE = {
    # HTTP
    "nothing": ("/device", b""),
    "another protocol": ("/device", b"SSH-2.0-OpenSSH_9.6\r\n"),
    "binary": ("/device", bytes(range(256)) * 10),
    "an old version": ("/device", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
    "no length": ("/device", b"HTTP/1.1 200 OK\r\n\r\n{}"),
    "two lengths": ("/device", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "a negative length": ("/device", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"),
    "a length of no digits": ("/device", "HTTP/1.1 200 OK\r\nContent-Length: ²\r\n\r\n{}".encode("latin-1")),
    "a terabyte to come": ("/device", b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n{}"),
    "a shorter body": ("/device", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}"),
    "a longer body": ("/device", answer(DEVICE) + b"more"),
    "chunks": ("/device", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    "an endless head": ("/device", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000),
    "continue for ever": ("/device", flood),
    "a dripping head": ("/device", drip),
    "a dripping body": ("/device", drip_a_body),
    "silence": ("/device", silence),
    "a redirect": ("/device", b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
    "no status": ("/device", b"HTTP/1.1 999999 OK\r\nContent-Length: 2\r\n\r\n{}"),
    # JSON
    "no JSON": ("/device", answer(b"hello")),
    "no text": ("/device", answer(b"\xff\xfe\xfa")),
    "nested JSON": ("/device", answer(b"[" * 100_000)),
    "a list": ("/device", []),
    "null": ("/device", None),
    "an endless number": ("/device", answer(b'{"version": ' + b"9" * 5000 + b"}")),
    "another version": ("/device", changed(DEVICE, version=2)),
    "no version": ("/device", {"hello": "world"}),
    # what is measured on there
    "names only": ("/device", {"version": 1}),
    "a device of no text": ("/device", changed(DEVICE, spec=7)),
    "no threads": ("/device", changed(DEVICE, threads=0)),
    "threads in words": ("/device", changed(DEVICE, threads="one")),
    "a huge batch": ("/device", changed(DEVICE, batch=1 << 40)),
    "a batch that fills the memory": ("/device", changed(DEVICE, batch=65_536, max_mib=1)),
    "no patience": ("/device", changed(DEVICE, limit_s=-1)),
    "endless patience": ("/device", answer(json.dumps(DEVICE).replace('"limit_s": 1.0', '"limit_s": 1e999').encode())),
    "no number": ("/device", answer(json.dumps(DEVICE).replace('"limit_s": 1.0', '"limit_s": NaN').encode())),
    "a fingerprint of another form": ("/device", changed(DEVICE, fingerprint="../../anchors")),
    "a long fingerprint": ("/device", changed(DEVICE, fingerprint="a" * 1000)),
    "a machine of another form": ("/device", changed(DEVICE, environment=[1])),
    "packages of another form": ("/device", changed(DEVICE, environment=changed(MACHINE, packages={"torch": [1]}))),
    "half a character": ("/device", changed(DEVICE, environment=changed(MACHINE, cpu="\ud800"))),
    "a terminal's commands": ("/device", changed(DEVICE, spec="\x1b]0;owned\x07")),
    # refusals
    "a refusal of no form": ("/networks", answer([1], "422 Unprocessable Content")),
    "a refusal without a reason": ("/networks", answer({"error": "InvalidOption"}, "400 Bad Request")),
    "an error of no class": ("/networks", answer({"error": ["x"], "message": "m"}, "400 Bad Request")),
    "a class of Python's": ("/networks", answer({"error": "SystemExit", "message": "m"}, "400 Bad Request")),
    "a function of ours": ("/networks", answer({"error": "require", "message": "m"}, "400 Bad Request")),
    "a module of Python's": ("/networks", answer({"error": "importlib", "message": "m"}, "400 Bad Request")),
    "forgotten again and again": ("/run", answer({"error": "UnknownName", "message": "m"}, "410 Gone")),
    "too many": ("/run", answer({"error": "MeasurementFailed", "message": "m"}, "503 Service Unavailable")),
    "the token is refused later": ("/run", answer({"error": "InvalidOption", "message": "m"}, "401 Unauthorized")),
    # what was done
    "another network": ("/networks", {"network": "0" * 64}),
    "no network": ("/networks", {}),
    "no archive": ("/run", b"hello"),
    "no archive, well said": ("/run", answer(b"hello")),
    "an array of a terabyte": ("/run", answer(terabyte())),
    "a drip of outputs": ("/run", drip_a_body),
    "no memory": ("/memory", {"peak_mib": None, "fingerprint": FINGERPRINT}),
    "negative memory": ("/memory", {"peak_mib": -1, "fingerprint": FINGERPRINT}),
    "another device": ("/memory", {"peak_mib": 1, "fingerprint": "f" * 16}),
    "no anchor": ("/reference", {"fingerprint": FINGERPRINT}),
    "an anchor of zero": ("/reference", changed(GOOD["/reference"], anchor_ms=0)),
    "messages of no text": ("/reference", changed(GOOD["/reference"], messages=[{"a": 1}])),
    "no measurement": ("/measure", {"fingerprint": FINGERPRINT}),
    "a list of measurements": ("/measure", {"measurement": [1], "fingerprint": FINGERPRINT}),
    "no time at all": ("/measure", measured(latency_ms=0, low=0)),
    "no finite time": ("/measure", answer(json.dumps(measured()).replace('"high": 2.2', '"high": Infinity').encode())),
    "an interval beside the time": ("/measure", measured(low=3.0, high=4.0)),
    "a time that is not ratio times anchor": ("/measure", measured(ratio=9.0)),
    "another anchor": ("/measure", measured(anchor_ms=2.0, latency_ms=4.0, high=5.0)),
    "another effort": ("/measure", measured(effort="final")),
    "an unknown clock": ("/measure", measured(clock="sundial")),
    "groups of text": ("/measure", measured(groups=["a"])),
    "samples of no numbers": ("/measure", measured(raw={"candidate_cpu": [None]})),
    "samples of nobody": ("/measure", measured(raw={"x": [1.0]})),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_told_as_such(case):
    path, said = NONSENSE[case]
    start = time.monotonic()
    with agent(path, said) as spec, pytest.raises(ArchsmithError) as error:
        everything(spec)
    assert time.monotonic() - start < 5
    assert spec.removeprefix("remote:") in str(error.value)
    assert str(error.value).isprintable()
    first = path == "/device" and "fills the memory" not in case
    assert isinstance(error.value, InvalidOption if first else DeviceLost | MeasurementFailed | UserError)


def test_only_errors_of_our_own_are_made_by_their_names():
    assert type(error_of("DeviceLost", "m")) is DeviceLost
    for name in ("SystemExit", "KeyboardInterrupt", "require", "Path", "__builtins__", "", "Interrupted"):
        assert type(error_of(name, "m")) is MeasurementFailed


def test_no_name_from_an_agent_is_imported(tmp_path, monkeypatch):
    (tmp_path / "evil_device.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.chdir(tmp_path)
    for name in ("evil_device:Odd", "evil_device", "os", "remote:127.0.0.1:1", "..parts"):
        with agent("/device", changed(DEVICE, spec=name)) as spec:
            assert open_device(spec).layer_precisions == ()
    with agent() as spec:
        assert open_device(spec).layer_precisions == open_device("onnxruntime").layer_precisions


def test_messages_of_agents_cannot_command_a_terminal():
    said, found = "\x1b[2J\x1b]0;owned\x07 " + "long " * 10_000, []
    with (
        agent("/reference", changed(GOOD["/reference"], messages=[said])) as spec,
        Meter(open_device(spec), reporter=Reporter(lambda event: found.append(event.text))),
    ):
        pass
    assert all(text.isprintable() and len(text) < 3000 for text in found)
    refusal = answer({"error": "MeasurementFailed", "message": said}, "422 No")
    with agent("/networks", refusal) as spec, pytest.raises(MeasurementFailed) as error:
        open_device(spec).prepare_onnx(b"content", X)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "wrong", [None, [], 3, {}, {"latency_ms": "1"}, {**MEASURED, "groups": 3}, {**MEASURED, "x": 1}]
)
def test_what_is_no_measurement_is_a_damaged_file(wrong):
    assert Measurement.from_json(MEASURED).to_json() == MEASURED
    with pytest.raises(DamagedFile, match="not a measurement"):
        Measurement.from_json(wrong)
