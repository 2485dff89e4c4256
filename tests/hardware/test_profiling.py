"""Where the time of a network goes."""

import pytest
import torch
from torch import nn

from archsmith.errors import InvalidOption
from archsmith.export.onnx_tools.fast_exporter import quiet_exporter
from archsmith.hardware import open_device
from archsmith.hardware.profiling import OperatorTime, Profile, modules_of, profile_of


class Network(nn.Module):
    """One block that costs much and one that costs little."""

    def __init__(self):
        super().__init__()
        self.heavy = nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 5, padding=2), nn.ReLU()
        )
        self.light = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5))

    def forward(self, x):
        return self.light(self.heavy(x))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "network.onnx"
    torch.manual_seed(0)
    with quiet_exporter():
        torch.onnx.export(Network().eval(), (torch.zeros(2, 3, 24, 24),), path, dynamo=True, verbose=False)
    return path


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_the_heavy_convolution_is_the_slowest(file, name):
    found = open_device(f"{name}:batch=2").profile_file(str(file), (torch.zeros(2, 3, 24, 24),), calls=4)
    assert found.device == f"{name}:threads=1,batch=2"
    assert [o.ms for o in found.operators] == sorted((o.ms for o in found.operators), reverse=True)
    assert "Conv" in found.operators[0].kind
    assert found.total_ms == pytest.approx(sum(o.ms for o in found.operators))
    kinds, parts = found.by_kind(), found.by_module(1)
    assert sum(ms for _, ms in kinds.values()) == pytest.approx(found.total_ms)
    assert sum(count for count, _ in parts.values()) == len(found.operators)
    assert parts["heavy"][1] > 0.5 * found.total_ms
    assert found.operators[0].module.startswith("heavy")


def test_times_are_means_over_calls(file):
    device, x = open_device("onnxruntime:batch=2"), (torch.zeros(2, 3, 24, 24),)
    few, many = (device.profile_file(str(file), x, calls=n) for n in (1, 20))
    assert {o.name for o in few.operators} == {o.name for o in many.operators}
    assert many.total_ms < 10 * few.total_ms


def test_modules_are_those_of_the_exporter(file):
    assert {m.partition(".")[0] for m in modules_of(str(file)).values()} == {"heavy", "light"}
    assert modules_of("nowhere.onnx") == {}
    fused = profile_of(
        "d", 2, {(f"{next(iter(modules_of(str(file))))}_nchwc", "Conv"): 3.0, ("new", "X"): 1.0}, str(file)
    )
    assert fused.operators[0] == OperatorTime(fused.operators[0].name, "Conv", 1.5, fused.operators[0].module)
    assert fused.operators[0].module.startswith("heavy")
    assert fused.by_module()["(the runtime)"] == (1, 0.5)


def test_an_empty_profile_is_nothing():
    assert Profile("d", 1, ()).total_ms == 0
    assert Profile("d", 1, ()).by_kind() == {}


def test_runtimes_that_tell_nothing_say_so(file):
    with pytest.raises(
        InvalidOption, match="torch_cpu does not report times of single operators; onnxruntime and openvino do"
    ):
        open_device("torch_cpu").profile_file(str(file), (torch.zeros(2, 3, 24, 24),), calls=1)
