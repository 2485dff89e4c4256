"""What single runtimes do: precision is set and kept, compilation is real, a graphics processor is really used."""

import functools
import io
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from archsmith.errors import InvalidOption, MeasurementFailed
from archsmith.export.onnx_tools.fast_exporter import candidate_onnx, quiet_exporter
from archsmith.hardware import Meter, _torch, available_devices, open_device
from archsmith.hardware.devices.onnxruntime_cuda import PROVIDER, OnnxRuntimeCuda
from archsmith.hardware.devices.openvino import OpenVino
from archsmith.hardware.devices.torch_compile import TorchCompile, lacks_compiler
from archsmith.hardware.devices.torch_compile_cuda import TorchCompileCuda
from archsmith.hardware.devices.torch_cpu import TorchCpu
from archsmith.hardware.devices.torch_cuda import TorchCuda
from archsmith.hardware.machine import nvidia_gpu
from archsmith.hardware.reference import FILE, reference_call, reference_module
from archsmith.testing.clock import FakeClock, FakeDevice


def test_the_reference_file_is_the_reference_module():
    x = np.random.default_rng(1).standard_normal((7, 3, 16, 16), dtype=np.float32)
    [found] = open_device("onnxruntime").prepare_onnx(FILE.read_bytes(), (x,), batch=7)()
    with torch.no_grad():
        wanted = reference_module()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())
    assert not any(word in FILE.read_bytes() for word in (b"/home", b"/work", b"site-packages"))


class TestPrecision:
    def test_bf16_is_what_torch_computes_in(self):
        seen = []

        class Asks(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(4, 2)

            def forward(self, x, mask):
                seen.append((x.dtype, self.linear.weight.dtype, mask.dtype))
                return self.linear(x)

        network = Asks()
        device = TorchCpu(precision="bf16")
        outputs = device.prepare(network, (torch.ones(1, 4), torch.ones(1, 4, dtype=torch.long)))()
        assert set(seen) == {(torch.bfloat16, torch.bfloat16, torch.int64)}
        assert outputs.dtype == torch.bfloat16
        assert network.linear.weight.dtype == torch.float32
        assert device.spec == "torch_cpu:threads=1,batch=1,precision=bf16"
        assert device.fingerprint != TorchCpu().fingerprint

    def test_openvino_is_told_its_precision_and_threads(self):
        settings = compiled_settings(OpenVino(threads=2))
        assert settings["INFERENCE_PRECISION_HINT"] == "f32"
        assert settings["INFERENCE_NUM_THREADS"] == 2
        assert settings["ENABLE_CPU_PINNING"] is False

    def test_openvino_does_not_pass_fp32_off_as_bf16(self):
        device = OpenVino()
        if "BF16" not in device._runtime().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            with pytest.raises(InvalidOption, match="this processor has no bf16"):
                OpenVino(precision="bf16")
        else:
            assert compiled_settings(OpenVino(precision="bf16"))["INFERENCE_PRECISION_HINT"] == "bf16"
        device.precision = "bf16"
        device._core = Overrules(device._runtime())
        with pytest.raises(MeasurementFailed, match="computes this network in f32 instead"):
            device.prepare(nn.Linear(2, 2), (torch.ones(1, 2),))

    def test_specs_without_a_precision_are_fp32_as_they_always_were(self):
        for name in ("onnxruntime", "openvino", "torch_cpu"):
            assert open_device(f"{name}:precision=fp32").spec == f"{name}:threads=1,batch=1"
            assert open_device(name).precision == "fp32"


def compiled_settings(device):
    """What OpenVINO was told when it compiled a network."""
    core = device._core = Listens(device._runtime())
    device.prepare(nn.Linear(2, 2), (torch.ones(1, 2),))
    return core.settings


class Listens:
    def __init__(self, core):
        self.core = core

    def read_model(self, source):
        return self.core.read_model(source)

    def compile_model(self, model, hardware, settings):
        self.settings = settings
        return self.core.compile_model(model, hardware, settings)


class Overrules(Listens):
    def compile_model(self, model, hardware, settings):
        return self.core.compile_model(model, hardware, settings | {"INFERENCE_PRECISION_HINT": "f32"})


def test_sizes_that_a_file_leaves_open_become_those_of_the_inputs():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    x = torch.randn(5, 3, 8, 8)
    buffer = io.BytesIO()
    with torch.no_grad(), quiet_exporter():
        wanted = network(x).numpy()
        torch.onnx.export(network, (x,), buffer, dynamic_shapes=({0: torch.export.Dim("b")},), verbose=False)
    for name in ("onnxruntime", "openvino"):
        [found] = open_device(name).prepare_onnx(buffer.getvalue(), (x,), batch=5)()
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


class TestCompiling:
    """One small network, which Inductor compiles once for all of these tests."""

    @pytest.fixture
    def device(self):
        return TorchCompile(batch=2)

    def test_a_network_is_given_to_the_compiler(self, device, monkeypatch):
        """Inductor needs a good ten seconds for its first network; what is compiled is the same without it."""
        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
        network, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.randn(2, 4)
        counters.clear()
        call = device.prepare(network, (x,))
        assert counters["stats"]["unique_graphs"] == 1
        with torch.no_grad():
            torch.testing.assert_close(call(), network(x), rtol=1e-4, atol=1e-5)

    @pytest.mark.slow
    def test_a_network_is_compiled_and_computes_the_same(self, device):
        network, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.randn(2, 4)
        with torch.no_grad():
            wanted = network(x)
        torch.testing.assert_close(device.prepare(network, (x,))(), wanted, rtol=1e-4, atol=1e-5)

    @pytest.mark.slow
    def test_the_twelfth_network_of_a_class_is_still_compiled(self, device):
        x, networks = torch.randn(2, 4), [nn.Sequential(nn.Linear(4, 3), nn.ReLU()) for _ in range(12)]
        calls = []
        for network in networks:
            counters.clear()
            calls.append(device.prepare(network, (x,)))
            assert counters["stats"]["unique_graphs"] == 1
        for call, network in zip(calls, networks, strict=True):  # those that Dynamo forgot compile anew
            counters.clear()
            with torch.no_grad():
                torch.testing.assert_close(call(), network(x), rtol=1e-4, atol=1e-5)
            assert counters["stats"]["unique_graphs"] == (call is not calls[-1])

    def test_left_to_itself_torch_would_not_compile_the_twelfth(self):
        torch._dynamo.reset()
        found = []
        for _ in range(12):
            counters.clear()
            torch.compile(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), backend="eager")(torch.randn(2, 4))
            found.append(counters["stats"]["unique_graphs"])
        assert found[0] == 1
        assert found[-1] == 0

    def test_what_is_not_compiled_is_refused(self, device):
        class Escapes(nn.Module):
            @torch.compiler.disable
            def forward(self, x):
                return x + 1

        with pytest.raises(MeasurementFailed, match="nothing of this network was compiled"):
            device.prepare(Escapes(), (torch.ones(2, 4),))

    def test_a_missing_compiler_is_named(self, monkeypatch):
        assert lacks_compiler() == ""
        monkeypatch.setenv("CXX", "no-such-compiler")
        [found] = [d for d in available_devices() if d.name == "torch_compile"]
        assert "needs a C++ compiler (no-such-compiler)" in found.unavailable


class FakeSession:
    """ONNX Runtime with CUDA, where there is none: what is bound is run by the real session on the processor."""

    def __init__(self, session, providers):
        self.session, self.get_providers = session, lambda: providers
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs

    def io_binding(self):
        return FakeBinding()

    def run_with_iobinding(self, binding):
        binding.found = self.session.run(binding.outputs, binding.inputs)


class FakeBinding:
    def __init__(self):
        self.inputs, self.outputs, self.found = {}, [], []

    def bind_ortvalue_input(self, name, value):
        self.inputs[name] = value

    def bind_output(self, name, where, index):
        assert (where, index) == ("cuda", 0)
        self.outputs.append(name)

    def get_outputs(self):
        return self.found


@pytest.fixture
def gpu(monkeypatch):
    """A graphics processor as far as our own code can tell."""
    import onnxruntime

    real, made = onnxruntime.InferenceSession, []

    def session(source, options, *, providers):
        assert providers[0][0] == PROVIDER
        made.append(providers[0][1])
        return FakeSession(real(source, options, providers=["CPUExecutionProvider"]), made_with)

    made_with = [PROVIDER, "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.InferenceSession", session)
    monkeypatch.setattr("onnxruntime.OrtValue", SimpleNamespace(ortvalue_from_numpy=lambda array, where, index: array))
    monkeypatch.setattr("archsmith.hardware.devices.onnxruntime_cuda.nvidia_gpu", lambda: "A GPU, 1.0, 8 MiB")
    return SimpleNamespace(settings=made, providers=made_with)


class TestCuda:
    def test_a_session_on_the_graphics_processor(self, gpu):
        network, x = nn.Linear(4, 3), torch.randn(2, 4)
        [found] = OnnxRuntimeCuda(batch=2).prepare_onnx(candidate_onnx(network, (x,)), (x,))()
        np.testing.assert_allclose(found, network(x).detach().numpy(), rtol=1e-5, atol=1e-6)
        assert gpu.settings[0]["use_tf32"] == "0"
        OnnxRuntimeCuda(batch=2, precision="tf32").prepare(network, (x,))
        assert gpu.settings[-1]["use_tf32"] == "1"

    def test_a_session_that_fell_back_to_the_processor_is_refused(self, gpu):
        gpu.providers.remove(PROVIDER)
        with pytest.raises(MeasurementFailed, match="would run this network by CPUExecutionProvider"):
            OnnxRuntimeCuda(batch=2).prepare(nn.Linear(4, 3), (torch.randn(2, 4),))

    def test_wall_time_counts(self):
        for device in (OnnxRuntimeCuda(), TorchCuda(), TorchCompileCuda()):
            assert device.wall_only
            assert device.threads == 1
            assert device.reference_batch > 1000

        fake = FakeDevice(FakeClock())
        fake.wall_only = True
        with Meter(fake, clock=fake.clock, anchor_ms=1.0) as meter:
            assert meter.measure(fake.call(2.0)).clock == "wall"

    def test_tensorfloat_is_on_or_off_for_the_length_of_a_call(self):
        parts = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
        before = [p.fp32_precision for p in parts]
        for tf32, wanted in ((True, "tf32"), (False, "ieee")):
            call = _torch.in_tf32(lambda: lambda: [p.fp32_precision for p in parts], tf32=tf32)
            assert call() == [wanted, wanted]
        assert [p.fp32_precision for p in parts] == before

    def test_why_not_is_said(self, monkeypatch):
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert "sees no CUDA device" in _torch.lacks_cuda()
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert _torch.lacks_cuda() == ""
        monkeypatch.setattr("archsmith.hardware.devices.torch_compile_cuda.package_version", lambda name: "")
        assert "triton" in TorchCompileCuda.unavailable()
        monkeypatch.setattr(torch.version, "cuda", None)
        assert "was built without CUDA" in TorchCuda.unavailable()
        monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [PROVIDER])
        assert "nvidia-smi" in OnnxRuntimeCuda.unavailable()
        monkeypatch.setattr("archsmith.hardware._onnxruntime.package_version", lambda name: "")
        assert "pip install onnxruntime-gpu" in OnnxRuntimeCuda.unavailable()

    def test_the_driver_is_asked_for_the_graphics_processor(self, tmp_path, monkeypatch):
        nvidia_gpu.cache_clear()
        monkeypatch.setenv("PATH", str(tmp_path))
        assert nvidia_gpu() == ""
        program = tmp_path / "nvidia-smi"
        program.write_text("#!/bin/sh\nprintf 'A GPU, 580.1, 8192 MiB\\nanother\\n'\n")
        program.chmod(0o755)
        nvidia_gpu.cache_clear()
        assert nvidia_gpu() == "A GPU, 580.1, 8192 MiB"
        assert OnnxRuntimeCuda().fingerprint != open_device("onnxruntime").fingerprint
        program.write_text("#!/bin/sh\nexit 9\n")
        nvidia_gpu.cache_clear()
        assert nvidia_gpu() == ""
        nvidia_gpu.cache_clear()


def test_devices_that_run_files_need_no_torch_for_the_reference():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from archsmith.hardware import Meter, open_device\n"
        "from archsmith.hardware.reference import reference_call\n"
        "for name in ('onnxruntime', 'openvino'):\n"
        "    print(reference_call(open_device(name))()[0].shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "(16, 10)\n(16, 10)\n", done.stderr


def test_the_reference_has_the_batch_of_the_device():
    device = TorchCpu()
    type(device).reference_batch, before = 3, type(device).reference_batch
    try:
        assert reference_call(device)().shape == (3, 10)
    finally:
        type(device).reference_batch = before
