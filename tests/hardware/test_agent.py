"""Measuring on another machine: real agents in processes of their own, reached over the loopback address."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from archsmith.errors import DamagedFile, DeviceLost, InvalidData, InvalidOption, MeasurementFailed, UserError
from archsmith.export.onnx_tools.fast_exporter import candidate_onnx
from archsmith.hardware import Meter, open_device
from archsmith.hardware.agents.agent import Agent, WorkerProcess
from archsmith.hardware.agents.wire import pack, unpack
from archsmith.hardware.devices.remote import Remote
from archsmith.hardware.memory import peak_memory_mib
from archsmith.progress import Reporter
from archsmith.testing.devices import DeviceConformance, small_network

TOKEN = "correct-horse-battery"

ODD = '''
"""ONNX Runtime, but what a network is called decides what becomes of it."""
import os, signal, time
from archsmith.hardware import Device
from archsmith.hardware.devices.onnxruntime import OnnxRuntime

class Odd(Device):
    paper, name, hardware, files = OnnxRuntime.paper, "odd", "odd", (".onnx",)
    precision, threads, batch = "fp32", 1, 1
    spec, fingerprint = "odd_device:Odd", "0" * 16
    inner = OnnxRuntime()
    unavailable = classmethod(lambda cls: "")
    def prepare(self, module, example_inputs, *, batch=None): return self.inner.prepare(module, example_inputs)
    def prepare_file(self, path, example_inputs): return self.inner.prepare_file(path, example_inputs)
    def synchronize(self): pass
    def prepare_onnx(self, content, example_inputs, *, batch=None):
        if content == b"crash": os.kill(os.getpid(), signal.SIGSEGV)
        if content == b"exit": os._exit(3)
        if content == b"hang": time.sleep(600)
        if content == b"memory": raise MemoryError
        if content == b"bug": raise KeyError("where")
        return self.inner.prepare_onnx(content, example_inputs, batch=batch)
'''


@contextmanager
def agent(*options, home, without_torch=False, token=TOKEN, cwd=None, told=None):
    """``archsmith agent`` as a process of its own: it, and its address; ``told`` takes in all that it says."""
    block = "import sys; sys.modules['torch'] = None; " if without_torch else ""
    code = f"{block}from archsmith.cli import main; main()"
    command = [sys.executable, "-c", code, "agent", "--port", "0", "--json", *map(str, options)]
    environment = {**os.environ, "ARCHSMITH_HOME": str(home)} | ({"ARCHSMITH_AGENT_TOKEN": token} if token else {})
    if not token:
        environment.pop("ARCHSMITH_AGENT_TOKEN", None)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=cwd
    ) as p:
        try:
            text = ""
            while not text.endswith("}\n"):
                line = p.stdout.readline()
                assert line, p.stderr.read()
                text += line
            found = json.loads(text)
            (told if told is not None else {}).update(found)
            yield p, found["remote"].removeprefix("remote:")
        finally:
            p.terminate()
            p.wait(20)


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """The home of the agent's machine: locks and anchors of its own."""
    return tmp_path_factory.mktemp("far")


@pytest.fixture(scope="module")
def addresses(far):
    """Two agents, of which the first must do without torch."""
    with (
        agent("--on", "onnxruntime:batch=3", home=far, without_torch=True) as (_, first),
        agent("--on", "onnxruntime:batch=4", home=far) as (_, second),
    ):
        yield first, second


@pytest.fixture(autouse=True)
def token(monkeypatch):
    monkeypatch.setenv("ARCHSMITH_AGENT_TOKEN", TOKEN)


class TestRemote(DeviceConformance):
    @pytest.fixture
    def device(self, addresses):
        return open_device(f"remote:{addresses[0]}")

    @pytest.fixture
    def other(self, addresses):
        return open_device(f"remote:{addresses[1]}")


def test_an_agent_measures_without_torch_what_the_machine_itself_would(addresses, far):
    device = open_device(f"remote:{addresses[0]}")
    here = open_device("onnxruntime:batch=3")
    assert device.fingerprint == here.fingerprint  # the same machine, here
    assert (device.batch, device.threads, device.precision) == (3, 1, "fp32")
    assert "torch" in device.agent["environment"]["packages"]  # installed, and not importable there
    said = []
    network, x = small_network(), (torch.zeros(2, 3, 32, 32),)
    with Meter(device, reporter=Reporter(lambda event: said.append(event.text))) as meter:
        found = meter.measure(device.prepare(network, x), effort="final")
        anchor = meter.anchor_ms
    assert any("measures on onnxruntime:threads=1,batch=3" in text for text in said)
    assert 0 < found.low <= found.latency_ms <= found.high
    assert found.effort == "final"
    assert len(found.groups) >= 5
    with Meter(device) as again:
        assert again.anchor_ms == anchor  # kept on that machine
    with Meter(device, anchor_ms=2 * anchor) as doubled:  # a run that goes on brings its own
        assert doubled.anchor_ms == 2 * anchor
        assert doubled.measure(device.prepare(network, x)).anchor_ms == 2 * anchor
    assert list(far.glob("anchors/*.json"))


def test_an_agent_in_int8_quantises_without_torch_and_says_what_layers_can_be(far):
    with agent("--on", "onnxruntime:batch=3,precision=int8", home=far, without_torch=True) as (_, address):
        device, plain = open_device(f"remote:{address}"), open_device("onnxruntime:batch=3")
        assert device.precision == "int8"
        assert (device.layer_precisions, device.weight_bits) == (plain.layer_precisions, 7)
        network, x = small_network(), (torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)),)
        [there], [here] = device.prepare(network, x)(), plain.prepare(network, x)()
        assert 1e-5 < np.abs(there - here).max() / np.abs(here).max() < 0.3


def test_memory_is_measured_there(addresses):
    device, network, x = open_device(f"remote:{addresses[1]}"), nn.Linear(1500, 1500).eval(), torch.ones(4, 1500)
    weights = 4 * 1500 * 1501 / 2**20
    assert weights < peak_memory_mib(device, candidate_onnx(network, (x,)), (x,)) < 5 * weights
    with pytest.raises(MeasurementFailed, match="cannot run this network"):
        peak_memory_mib(device, b"no network", (x,))


def test_networks_that_the_agent_has_forgotten_are_sent_again(addresses):
    device = open_device(f"remote:{addresses[1]}")
    x = (torch.ones(4, 4),)
    networks = [nn.Linear(4, 2) for _ in range(6)]
    calls = [device.prepare(network, x) for network in networks]
    for network, call in zip(networks, calls, strict=True):
        np.testing.assert_allclose(call()[0], network(x[0]).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_files_are_sent(addresses, tmp_path):
    device = open_device(f"remote:{addresses[1]}")
    network, path = nn.Linear(4, 2).eval(), tmp_path / "small.onnx"
    path.write_bytes(candidate_onnx(network, (torch.ones(4, 4),)))
    [found] = device.prepare_file(str(path), (torch.ones(4, 4),))()
    np.testing.assert_allclose(found, network(torch.ones(4, 4)).detach().numpy(), rtol=1e-5)
    path.write_bytes(b"no network")
    with pytest.raises(DamagedFile, match=r"cannot run .*small[.]onnx"):
        device.prepare_file(str(path), (torch.ones(4, 4),))
    with pytest.raises(InvalidOption, match="there is no file"):
        device.prepare_file(str(tmp_path / "none.onnx"), (torch.ones(4, 4),))


@pytest.fixture(scope="module")
def odd(far, tmp_path_factory):
    """An agent that allows little, on a device that dies and hangs as it is told."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "odd_device.py").write_text(ODD)
    options = ("--on", "odd_device:Odd", "--max-mib", "1", "--limit-s", "4")
    with agent(*options, home=far, cwd=folder) as (process, address):
        yield process, Remote(address=address)


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"crash", r"the process that ran the network died \(SIGSEGV\)"),
            (b"exit", "it exited with 3"),
            (b"memory", "does not fit into the memory"),
            (b"bug", "KeyError: 'where'"),
            (b"hang", "longer than the 4 s that the agent allows"),
            (b"nonsense", "cannot run this network"),
            (b"0" * (1 << 20), "1.0 MiB are more than the 1.0 that the agent takes.*--max-mib"),
        ],
    )
    def test_an_agent_survives_what_it_measures(self, odd, content, said):
        process, device = odd
        with pytest.raises(MeasurementFailed, match=said):
            device.prepare_onnx(content, (np.ones((1, 4), dtype=np.float32),))
        good = device.prepare(nn.Linear(4, 2), (torch.ones(1, 4),))
        assert good()[0].shape == (1, 2)
        assert process.poll() is None

    def test_a_wrong_token_is_refused_before_anything_is_read(self, odd, monkeypatch):
        _, device = odd
        for wrong, said in (("guess", "refuses the token that is known"), ("", "no token for .* is known here")):
            monkeypatch.setenv("ARCHSMITH_AGENT_TOKEN", wrong)
            with pytest.raises(InvalidOption, match=rf"{said}.*put a line.*ARCHSMITH_AGENT_TOKEN"):
                open_device(device.spec).fingerprint  # noqa: B018 - asking is what is tested

    @pytest.mark.parametrize(
        ("verb", "path", "body", "status"),
        [
            ("GET", "/", b"", 410),
            ("POST", "/measure", b"no json", 400),
            ("POST", "/measure", b"[]", 400),
            ("POST", "/measure", b'{"network": "unknown"}', 410),
            ("POST", "/measure", b'{"anchor_ms": "1"}', 400),
            ("POST", "/reference", b'{"anchor_ms": -1}', 400),
            ("POST", "/networks", b"", 400),
            ("POST", "/networks", b"\0\0\0\1no archive", 400),
        ],
    )
    def test_nonsense_is_answered(self, odd, verb, path, body, status):
        process, device = odd
        connection = http.client.HTTPConnection(device._at.host, device._at.port, timeout=20)
        connection.request(verb, path, body, {"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        assert answer.status == status
        assert json.loads(answer.read())["message"]
        assert process.poll() is None

    def test_half_a_request_does_not_stop_the_others(self, odd):
        _, device = odd
        with socket.create_connection((device._at.host, device._at.port)) as rude:
            rude.sendall(b"POST /networks HTTP/1.1\r\nAuthorization: Bearer " + TOKEN.encode())
            assert Remote(address=device.address).batch == 1


def test_an_archive_that_unpacks_to_more_than_allowed_is_refused():
    data = pack([np.zeros(4, dtype=np.float32)], b"abc")
    arrays, content = unpack(data, most=10_000)
    assert (arrays[0].tolist(), content) == ([0.0] * 4, b"abc")
    with pytest.raises(InvalidData, match=r"at most 0[.]0 are taken"):
        unpack(data, most=10)
    for wrong in (b"", b"PK", data[:40], pickled()):
        with pytest.raises(InvalidData, match="no archive of a network"):
            unpack(wrong, most=10_000)


def pickled():
    import io

    buffer = io.BytesIO()
    np.savez(buffer, array_0=np.array([{"a": 1}], dtype=object))
    return buffer.getvalue()


def test_an_agent_that_begins_anew_is_waited_for(far):
    with agent("--on", "onnxruntime", home=far) as (_, address):
        device = open_device(f"remote:{address}")
        call = device.prepare(nn.Linear(4, 2), (torch.ones(1, 4),))
        before = call()[0]
    port = address.rpartition(":")[2]
    restarted = []

    def again():
        time.sleep(1)
        restarted.append(Agent("onnxruntime", token=TOKEN, port=int(port)).__enter__())
        restarted[0].serve()

    thread = threading.Thread(target=again)
    thread.start()
    try:
        np.testing.assert_array_equal(call()[0], before)
    finally:
        restarted[0].stop()
        thread.join()
        restarted[0].__exit__(None, None, None)


def test_an_agent_that_is_gone_stops_the_search_and_blames_no_network(far, monkeypatch):
    monkeypatch.setattr("archsmith.hardware.devices.remote.RETRY_S", 1.0)
    with agent("--on", "onnxruntime", home=far) as (process, address):
        device = open_device(f"remote:{address}")
        messages = []
        with Meter(device, reporter=Reporter(lambda event: messages.append(event.text))):
            call = device.prepare(nn.Linear(4, 2), (torch.ones(1, 4),))
            process.kill()
            process.wait()
            with pytest.raises(DeviceLost, match=f"{re.escape(address)} no longer responds.*goes on from there"):
                call()
        waits = [text for text in messages if "waiting" in text]
        assert waits == [f"waiting up to 1 s for the agent at {address}, which does not respond"]
    with pytest.raises(InvalidOption, match=f"no agent responds at {re.escape(address)}.*archsmith agent"):
        open_device(f"remote:{address}").batch  # noqa: B018


def test_another_device_behind_the_same_address_is_noticed(addresses):
    device = open_device(f"remote:{addresses[0]}")
    device.__dict__["agent"] = {**device.agent, "fingerprint": "f" * 16}
    with pytest.raises(DeviceLost, match="measures on another device than before"), Meter(device):
        pass


def test_whatever_else_answers_is_no_agent():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def answer():
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(InvalidOption, match="is no agent of archsmith"):
            open_device(f"remote:127.0.0.1:{server.getsockname()[1]}").batch  # noqa: B018
        thread.join()


@pytest.mark.parametrize(
    "spec",
    [
        "remote:board",
        "remote:board:0",
        "remote:board:99999",
        "remote::7465",
        "remote:a b:1",
        "remote:[::g]:1",
        "remote:é:1",
    ],
)
def test_addresses_are_checked(spec):
    with pytest.raises(InvalidOption, match="write remote:HOST:PORT"):
        open_device(spec)


def test_addresses_are_read():
    assert open_device("remote").spec == "remote:127.0.0.1:7465"
    assert open_device("remote:[::1]:7000").address == "[::1]:7000"
    assert open_device("remote:address=board:1").spec == "remote:board:1"


class TestTokens:
    def test_short_tokens_are_refused(self):
        with pytest.raises(InvalidOption, match="8 or more visible ASCII characters"):
            Agent("onnxruntime", token="1234567")


def test_tls_takes_one_command_and_one_line(far, tmp_path, monkeypatch):
    options = ("--tls", "--host", "0.0.0.0", "--show-line")
    with agent(*options, home=far, told=(told := {})) as (process, address):
        assert TOKEN not in json.dumps({k: v for k, v in told.items() if k != "line"})
        kept = Path(told["line_in"])
        assert (kept.read_text().strip(), kept.stat().st_mode & 0o777) == (told["line"], 0o600)
        assert told["line"] == f"{address} {TOKEN} sha256:{told['fingerprint']}"
        assert told["remote"] == f"remote:{address}"
        port = address.rpartition(":")[2]
        line = told["line"].replace(address, f"127.0.0.1:{port}")  # the guess may lead through a firewall
        monkeypatch.delenv("ARCHSMITH_AGENT_TOKEN")
        monkeypatch.setenv("ARCHSMITH_AGENT_TOKEN_FILE", str(tmp_path / "tokens"))
        (tmp_path / "tokens").write_text(f"{line}\n")
        device = open_device(f"remote:127.0.0.1:{port}")
        call = device.prepare(nn.Linear(4, 2), (torch.ones(1, 4),))
        assert call()[0].shape == (1, 2)
        (tmp_path / "tokens").write_text(line.replace(told["fingerprint"], "0" * 64))
        with pytest.raises(DeviceLost, match="shows another certificate"):
            call()
        with pytest.raises(InvalidOption, match=r"shows another certificate.*nothing was sent.*agent --tls"):
            open_device(f"remote:127.0.0.1:{port}").batch  # noqa: B018
        assert process.poll() is None


def test_a_device_that_does_not_work_or_a_port_that_is_taken_is_told_at_once(addresses):
    with pytest.raises(UserError, match="did you mean 'onnxruntime'"):
        Agent("onxruntime", token=TOKEN).__enter__()
    with pytest.raises(
        InvalidOption, match=r"torch_cpu.*runs no files.*one that does: onnxruntime, onnxruntime_cuda, op"
    ):
        Agent("torch_cpu", token=TOKEN).__enter__()
    port = int(addresses[0].rpartition(":")[2])
    with pytest.raises(UserError, match=r"cannot listen on 127[.]0[.]0[.]1.*another --port"):
        Agent("onnxruntime", token=TOKEN, port=port).__enter__()


def test_the_worker_ends_with_the_agent(far):
    with agent("--on", "onnxruntime", home=far) as (process, address):
        assert open_device(f"remote:{address}").batch == 1
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
        )
        [child] = map(int, listed.stdout.split())
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        end = time.monotonic() + 20
        while alive(child) and time.monotonic() < end:
            time.sleep(0.1)
        assert not alive(child)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_worker_that_died_while_idle_is_replaced():
    worker = WorkerProcess("onnxruntime", limit_s=60)
    first, _ = worker.ask({"do": "describe"})
    worker._process.kill()
    worker._process.wait()
    assert worker.ask({"do": "describe"})[0] == first
    worker.close()


def test_the_worker_imports_nothing_of_the_current_folder(tmp_path, monkeypatch):
    for name in ("msgspec", "numpy", "onnxruntime"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    worker = WorkerProcess("onnxruntime:threads=1,batch=1", limit_s=60)
    try:
        assert worker.ask({"do": "describe"})[0]["batch"] == 1
    finally:
        worker.close()
