"""Every device keeps the laws; and what only one of them does."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from archsmith import method
from archsmith.errors import DamagedFile, Interrupted, InvalidOption, MeasurementFailed, RunLocked, UnknownName
from archsmith.export.onnx_tools.fast_exporter import candidate_onnx
from archsmith.export.onnx_tools.quantising import Policy, Quantisable
from archsmith.files import home_folder
from archsmith.hardware import Device, Meter, available_devices, environment, open_device
from archsmith.hardware.catalogue import ROLE_NAME
from archsmith.hardware.devices.onnxruntime import OnnxRuntime
from archsmith.hardware.devices.torch_cpu import TorchCpu
from archsmith.hardware.lock import HardwareLock
from archsmith.hardware.machine import governor, int8_weight_bits, load_average, package_version
from archsmith.hardware.reference import reference_call
from archsmith.progress import Reporter
from archsmith.testing.clock import FakeClock, FakeDevice
from archsmith.testing.devices import DeviceConformance

WORKING = [d.name for d in available_devices() if not d.unavailable and d.name != "remote"]  # which has its own file
SLOW = [pytest.mark.slow] if "torch_compile" in WORKING else []


class TestEveryDevice(DeviceConformance):
    @pytest.fixture(params=[pytest.param(n, marks=SLOW * (n == "torch_compile")) for n in WORKING])
    def device(self, request):
        return open_device(f"{request.param}:batch=3")

    @pytest.fixture
    def other(self, device):
        return open_device(f"{device.name}:batch=4")


def test_specs_are_read():
    device = open_device("onnxruntime: threads=2 , batch=64")
    assert (device.spec, device.threads, device.batch) == ("onnxruntime:threads=2,batch=64", 2, 64)
    assert open_device("onnxruntime").spec == "onnxruntime:threads=1,batch=1"
    assert open_device(device) is device
    assert open_device("archsmith.hardware.devices.torch_cpu:TorchCpu:batch=5").spec == "torch_cpu:threads=1,batch=5"
    assert open_device("archsmith.hardware.devices.torch_cpu:TorchCpu").spec == "torch_cpu:threads=1,batch=1"


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("onxruntime", UnknownName, "no device is called 'onxruntime'; did you mean 'onnxruntime'"),
        ("onnxruntime:thread=1", UnknownName, "no option of onnxruntime is called 'thread'; did you mean 'threads'"),
        ("onnxruntime:threads=0", InvalidOption, "threads=0 must be a whole number from 1 on"),
        ("onnxruntime:threads=1.5", InvalidOption, "threads=1.5 must be a whole number"),
        ("torch_cpu:batch=many", InvalidOption, "batch='many' must be a whole number"),
        ("onnxruntime:precision=int4", InvalidOption, "precision='int4' must be one of fp32, int8"),
        ("openvino:precision=f32", InvalidOption, "precision='f32' must be one of fp32, bf16"),
        ("torch_cpu:precision=bf8", InvalidOption, "precision='bf8' must be one of fp32, bf16"),
        ("onnxruntime:threads=1,batch", InvalidOption, "cannot read 'batch'"),
        ("onnxruntime:threads=1,threads=2", InvalidOption, "given twice"),
        ("archsmith.evaluation:Value", InvalidOption, "is no device"),
        ("no.such.package:Device", UnknownName, "No module named"),
    ],
)
def test_wrong_specs_name_the_way_out(spec, error, message):
    with pytest.raises(error, match=message):
        open_device(spec)


def test_available_devices_says_what_can_be_typed():
    found = available_devices()
    assert [d.name for d in found] == method.names(ROLE_NAME)
    assert {"onnxruntime", "openvino", "torch_cpu"} <= set(WORKING)
    for device in found:
        assert device.summary.endswith(".")
        if device.unavailable:
            with pytest.raises(InvalidOption, match=f"{device.name} does not work here: "):
                open_device(device.spec)
        else:
            assert open_device(device.spec).spec == device.spec


def test_a_device_whose_package_is_missing_says_so(monkeypatch):
    monkeypatch.setattr("archsmith.hardware._onnxruntime.package_version", lambda name: "")
    [device] = [d for d in available_devices() if d.name == "onnxruntime"]
    assert "pip install 'archsmith[onnx]'" in device.unavailable
    with pytest.raises(InvalidOption, match="does not work here: needs onnxruntime"):
        open_device("onnxruntime")


def test_torch_threads_are_put_back():
    seen = []

    class Asks(nn.Module):
        def forward(self, x):
            seen.append(torch.get_num_threads())
            return x

    before = torch.get_num_threads()
    TorchCpu(threads=before + 1).prepare(Asks(), (torch.zeros(1),))()
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


class TestFiles:
    @pytest.fixture
    def network(self):
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).eval()

    @pytest.fixture
    def path(self, tmp_path, network):
        path = tmp_path / "small.onnx"
        path.write_bytes(candidate_onnx(network, (torch.zeros(2, 3, 2, 2),)))
        return path

    def test_round_trip(self, path, network):
        x = torch.randn(2, 3, 2, 2)
        [found] = OnnxRuntime(batch=2).prepare_file(str(path), (x,))()
        np.testing.assert_allclose(found, network(x).detach().numpy(), rtol=1e-5, atol=1e-6)

    def test_another_batch_is_named(self, path):
        with pytest.raises(InvalidOption, match="made for batches of 2, the device runs 64: use onnxruntime:batch=2"):
            OnnxRuntime(batch=64).prepare_file(str(path), (torch.zeros(2, 3, 2, 2),))

    def test_inputs_of_another_shape_or_number_are_refused(self, path):
        with pytest.raises(DamagedFile, match="cannot run"):
            OnnxRuntime(batch=2).prepare_file(str(path), (torch.zeros(2, 3, 5, 5),))
        with pytest.raises(InvalidOption, match="reads 1 inputs, the example has 2"):
            OnnxRuntime(batch=2).prepare_file(str(path), (torch.zeros(2, 3), torch.zeros(2, 3)))

    def test_damage_and_absence_are_named(self, path, tmp_path):
        broken = tmp_path / "broken.onnx"
        broken.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(DamagedFile, match=r"broken[.]onnx"):
            OnnxRuntime(batch=2).prepare_file(str(broken), (torch.zeros(2, 3, 2, 2),))
        with pytest.raises(InvalidOption, match="there is no file"):
            OnnxRuntime(batch=2).prepare_file(str(tmp_path / "none.onnx"), (torch.zeros(2, 3),))


def test_a_network_that_no_exporter_takes_is_a_failed_measurement(monkeypatch):
    tried = []

    def refuse(*args, dynamo, **options):
        tried.append(dynamo)
        raise RuntimeError("no such operator\nand a long story")

    monkeypatch.setattr("torch.onnx.export", refuse)
    with pytest.raises(MeasurementFailed, match=r"onnxruntime:threads=1,batch=1 cannot run this .*: no such operator$"):
        OnnxRuntime().prepare(nn.Linear(2, 2), (torch.ones(1, 2),))
    assert tried == [False, True]


@pytest.mark.parametrize("name", [n for n in WORKING if n != "torch_compile"])
def test_the_reference_is_the_same_network_every_time(name):
    device = open_device(name)
    first, second = reference_call(device)(), reference_call(device)()
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    assert np.isfinite(np.asarray(first)).all()
    assert np.asarray(first).reshape(-1, 10).shape[0] == 16  # its own batch, not the device's


def test_environment_is_plain_data_without_names():
    import json
    import platform

    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert found["packages"]["torch"] == package_version("torch")
    assert package_version("no-such-package") == ""
    assert platform.node() not in json.dumps(found) or len(platform.node()) < 4
    assert found["cores"] >= 1
    assert (load_average() or 0) >= 0
    assert governor() is None or governor()


HOLD = """
import sys, pathlib
from archsmith.hardware.lock import HardwareLock
with HardwareLock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(home):
    """Another process holds the fake hardware."""
    file = home / "locks" / "fake.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)
    ) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_waiting_ends_when_it_is_asked_to(held):
    device, asked = FakeDevice(FakeClock()), []
    with pytest.raises(Interrupted, match=f"waiting for process {held.pid}"):
        Meter(
            device, clock=device.clock, wait_s=60, reporter=Reporter(stop=lambda: len(asked) == 2 or asked.append(1))
        ).__enter__()
    assert len(asked) == 2


def test_hardware_held_by_another_process_is_refused_by_name(held):
    device, messages = FakeDevice(FakeClock()), []
    with pytest.raises(RunLocked, match=f"fake is being measured on by process {held.pid}"):
        Meter(
            device, clock=device.clock, wait_s=0.2, reporter=Reporter(lambda event: messages.append(event.text))
        ).__enter__()
    assert messages == [f"waiting for process {held.pid} to finish measuring on fake"]


def test_hardware_is_free_once_its_holder_is_killed(held):
    device = FakeDevice(FakeClock())
    threading.Timer(0.3, held.kill).start()
    start = time.monotonic()
    with Meter(device, clock=device.clock, wait_s=60) as meter:
        assert meter.measure(device.call(1.0)).agreed
    assert 0.1 < time.monotonic() - start < 30


def test_one_process_may_measure_on_several_devices_of_one_hardware(home):
    one, two = FakeDevice(FakeClock()), FakeDevice(FakeClock(), batch=8)
    with Meter(one, clock=one.clock) as outer, Meter(two, clock=two.clock, wait_s=0) as inner:
        assert outer.measure(one.call(1.0)).agreed
        assert inner.measure(two.call(1.0)).agreed
    file = home / "locks" / "fake.lock"
    code = HOLD.replace("sys.stdin.read()", "pass").replace("(sys.argv[1])", "(sys.argv[1]), wait_s=0")
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False)
    assert done.stdout == "held\n"  # both gave it back


def test_a_lock_is_given_back_after_an_exception(tmp_path):
    with pytest.raises(ValueError, match="mine"), HardwareLock(tmp_path / "x.lock"):
        raise ValueError("mine")
    with HardwareLock(tmp_path / "x.lock", wait_s=0):
        pass


def test_home_is_where_the_user_says(tmp_path, monkeypatch):
    assert home_folder(tmp_path) == tmp_path
    monkeypatch.setenv("ARCHSMITH_HOME", str(tmp_path / "there"))
    assert home_folder() == tmp_path / "there"
    monkeypatch.delenv("ARCHSMITH_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home_folder() == tmp_path / ".cache" / "archsmith"


def test_devices_are_devices():
    assert issubclass(OnnxRuntime, Device)
    assert issubclass(TorchCpu, Device)


INT8 = [f"{name}:batch=3,precision=int8" for name in ("onnxruntime", "openvino") if name in WORKING]


@pytest.mark.parametrize("spec", INT8)
class TestInt8:
    """A device that quantises what is not quantised yet."""

    def network(self):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return nn.Sequential(
                nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)
            )

    def test_modules_and_files_are_quantised_alike(self, spec, tmp_path):
        device, plain = open_device(spec), open_device(spec.replace(",precision=int8", ""))
        network, inputs = self.network().eval(), (torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)),)
        path = tmp_path / "network.onnx"
        path.write_bytes(candidate_onnx(network, inputs))
        [right] = plain.prepare(network, inputs)()
        [of_module] = device.prepare(network, inputs)()
        [of_file] = device.prepare_file(str(path), inputs)()
        [of_content] = device.prepare_onnx(path.read_bytes(), inputs)()
        assert np.array_equal(of_module, of_file)
        assert np.array_equal(of_module, of_content)
        assert 1e-5 < np.abs(right - of_module).max() / np.abs(right).max() < 0.2
        assert device.fingerprint != plain.fingerprint

    def test_what_is_quantised_already_stays_so(self, spec):
        device, plain = open_device(spec), open_device(spec.replace(",precision=int8", ""))
        inputs = (torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)),)
        file = Quantisable(candidate_onnx(self.network().eval(), inputs))
        content = file.quantised(Policy({"4": "int8"}), file.ranges([inputs]), weight_bits=7)
        [one], [other] = device.prepare_onnx(content, inputs)(), plain.prepare_onnx(content, inputs)()
        assert np.array_equal(one, other)

    def test_time_is_told_by_operators(self, spec, tmp_path):
        inputs = (torch.zeros(3, 3, 8, 8),)
        path = tmp_path / "network.onnx"
        path.write_bytes(candidate_onnx(self.network().eval(), inputs))
        found = open_device(spec).profile_file(str(path), inputs, calls=3)
        assert found.operators


@pytest.mark.parametrize(
    ("machine", "flags", "bits"),
    [("x86_64", "avx2 avx512_vnni", 8), ("x86_64", "avx2 avx_vnni", 8), ("x86_64", "avx2", 7), ("aarch64", "", 8)],
)
def test_int8_weights_leave_room_where_sums_saturate(monkeypatch, machine, flags, bits):
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: f"flags : {flags}")
    assert int8_weight_bits() == bits
