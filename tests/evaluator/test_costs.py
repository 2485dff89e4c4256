"""Costs beside latency: each is what it says, by hand where the hand can count."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from archsmith.architecture import Proposal
from archsmith.candidates.files import Candidates
from archsmith.errors import EvaluationFailed, InvalidOption, MeasurementFailed
from archsmith.evaluator.file_size import FileSize
from archsmith.evaluator.footprint import Footprint, intensity
from archsmith.evaluator.kit.operator_counter import count_operators
from archsmith.evaluator.kv_cache import KvCache
from archsmith.evaluator.latency import Latency, per_second
from archsmith.evaluator.peak_memory import PeakMemory
from archsmith.hardware import Meter, open_device
from archsmith.hardware.energy import Nvml, Rapl, counter_of, energy_mj, watts
from archsmith.hardware.memory import peak_memory_mib
from archsmith.supernet import Elastic, Supernet, Width
from archsmith.testing.clock import FakeClock, FakeDevice
from archsmith.testing.evaluators import EvaluatorConformance
from archsmith.value import Value

MIB = 2**20


class TestFootprint(EvaluatorConformance):
    @pytest.fixture
    def evaluator(self, supernet):
        return Footprint(supernet)

    def test_smaller_networks_need_less(self, supernet, evaluator):
        small, large = (evaluator.measure(Proposal(a), seed=0) for a in (supernet.smallest, supernet.largest))
        assert small["live_memory_mib"].value < large["live_memory_mib"].value
        assert small["live_memory_mib"].source == "computed"

    def test_the_weights_share_is_checked_and_counts(self, supernet, evaluator):
        with pytest.raises(InvalidOption, match="between 0 and 1"):
            Footprint(supernet, weight_share=1.5)
        assert Footprint(supernet, weight_share=0.9).fingerprint != evaluator.fingerprint


class TestTally:
    def test_a_chain_of_layers_by_hand(self):
        network = nn.Sequential(nn.Linear(100, 1000), nn.ReLU(), nn.Linear(1000, 10)).eval()
        found = count_operators(network, (torch.zeros(1, 100),))
        assert [(o.macs, o.weights, o.activations) for o in found.operations] == [
            (100_000, 4 * 101_000, 4 * 1100),
            (10_000, 4 * 10_010, 4 * 1010),
        ]
        assert found.weight_bytes == 4 * (101_000 + 10_010)
        # the input, which the caller holds, and what the ReLU reads and writes
        assert found.live_bytes == 4 * (100 + 1000 + 1000)

    def test_what_nothing_holds_any_more_is_gone(self):
        deep = nn.Sequential(*[nn.Linear(64, 64) for _ in range(50)]).eval()
        assert count_operators(deep, (torch.zeros(1, 64),)).live_bytes == 4 * 3 * 64  # the input, and two in turn

    def test_what_a_shortcut_holds_is_there(self):
        class Residual(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(3))

            def forward(self, x):
                y = self.layers[0](x)
                return y + self.layers[2](self.layers[1](y))

        assert count_operators(Residual().eval(), (torch.zeros(1, 64),)).live_bytes == 4 * 4 * 64

    def test_tied_weights_count_once_and_attention_is_taken_apart(self):
        layer = nn.MultiheadAttention(16, 4, batch_first=True, bias=False).eval()

        class Attends(nn.Module):
            def __init__(self):
                super().__init__()
                self.one, self.two = layer, layer

            def forward(self, x):
                return self.two(self.one(x, x, x, need_weights=False)[0], x, x, need_weights=False)[0]

        found = count_operators(Attends(), (torch.zeros(1, 8, 16),))
        assert found.weight_bytes == sum(p.nbytes for p in layer.parameters())
        products = 2 * 4 * 8 * 8 * 4  # heads x tokens x tokens x head size, queries by keys and weights by values
        assert sum(o.macs for o in found.operations) == 2 * (4 * 8 * 16 * 16 + products)

    def test_a_network_that_looks_at_its_data_is_run(self):
        class Looks(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(4, 4)

            def forward(self, x):
                return self.linear(x) if float(x.sum()) > 0 else x

        found = count_operators(Looks().eval(), (torch.ones(1, 4),))
        assert [o.macs for o in found.operations] == [16]

    def test_data_types_count_by_their_size(self):
        network = nn.Linear(64, 64, bias=False).eval()
        full = intensity(count_operators(network, (torch.zeros(1, 64),)), 0.5)
        half = intensity(count_operators(copy.deepcopy(network).bfloat16(), (torch.zeros(1, 64).bfloat16(),)), 0.5)
        assert half == pytest.approx(2 * full)
        assert full == pytest.approx(64 * 64 / (4 * (64 * 64 + 128)))

    def test_nothing_multiplied_is_no_figure(self):
        with pytest.raises(EvaluationFailed, match="multiplies nothing"):
            intensity(count_operators(nn.ReLU(), (torch.zeros(1, 4),)), 0.5)


class TestFileSize(EvaluatorConformance):
    @pytest.fixture
    def evaluator(self, supernet):
        return FileSize(supernet)

    def test_weights_and_a_little_more(self, supernet, evaluator):
        small, large = (
            evaluator.measure(Proposal(a), seed=0)["size_mib"].value for a in (supernet.smallest, supernet.largest)
        )
        # batch norms are folded into the convolution: its weights and biases, and those of the linear layer, remain
        grown = 4 * ((8 * 27 + 8 + 8 * 4 + 4) - (4 * 27 + 4 + 4 * 4 + 4)) / MIB
        assert large - small == pytest.approx(grown, abs=100 / MIB)


class TestFileSizeOfCandidates(EvaluatorConformance):
    @pytest.fixture
    def evaluator(self, supernet):
        return FileSize(supernet, Candidates(supernet, open_device("onnxruntime:batch=2")))

    def test_a_file_that_is_cut_out_is_as_large_as_one_of_its_own(self, supernet, evaluator):
        for arch in (supernet.smallest, supernet.largest):
            sizes = [e.measure(Proposal(arch), seed=0)["size_mib"].value for e in (evaluator, FileSize(supernet))]
            assert sizes[0] == pytest.approx(sizes[1], abs=1024 / MIB)
        assert evaluator.fingerprint != FileSize(supernet).fingerprint


def wide(sizes=(64, 4096)):
    """A network of which 64 or 4096 units remain: 0.4 or 24 MiB of weights."""
    width = Width("w", sizes)
    model = nn.Sequential(nn.Linear(1500, sizes[1]), nn.ReLU(), nn.Linear(sizes[1], 4))
    axes = {"0": Elastic(out=width), "2": Elastic(into=width)}
    return Supernet(model, axes, example_inputs=(torch.zeros(1, 1500),))


class TestPeakMemory(EvaluatorConformance):
    @pytest.fixture(params=["onnxruntime"])
    def evaluator(self, request, supernet):
        return PeakMemory(supernet, open_device(request.param))

    def test_weights_are_there_once_at_least_and_not_many_times(self):
        supernet = wide()
        weights = 4 * (1500 * 4096 + 4096 * 5) / MIB
        evaluator = PeakMemory(supernet, open_device("onnxruntime"), name="here")
        small, large = (
            evaluator.measure(Proposal(a), seed=0)["peak_memory_mib@here"]
            for a in (supernet.smallest, supernet.largest)
        )
        assert small.source == "measured"
        assert small.value < 4
        assert weights < large.value < 5 * weights

    def test_the_same_network_takes_the_same_again(self, supernet, evaluator):
        found = [evaluator.measure(Proposal(supernet.largest), seed=0)["peak_memory_mib"].value for _ in range(2)]
        assert abs(found[0] - found[1]) < 1

    def test_devices_that_cannot_are_refused(self, supernet):
        with pytest.raises(InvalidOption, match="live_memory_mib is computed for any"):
            PeakMemory(supernet, open_device("torch_cpu"))
        with pytest.raises(InvalidOption, match="not on torch_cpu"):
            peak_memory_mib(open_device("torch_cpu"), b"", (torch.zeros(1, 4),))

    def test_what_the_runtime_refuses_is_a_failed_measurement(self):
        with pytest.raises(MeasurementFailed, match="cannot run this network"):
            peak_memory_mib(open_device("onnxruntime"), b"no network", (torch.zeros(1, 4),))


class TestThroughput:
    def test_is_the_batch_over_the_latency(self):
        found = per_second(64, Value(2.0, "measured", 1.6, 2.5))
        assert (found.value, found.low, found.high) == (32_000.0, 25_600.0, 40_000.0)
        with pytest.raises(EvaluationFailed, match="no throughput"):
            per_second(1, Value(1.0, "measured", 0.0, 2.0))

    def test_comes_with_the_latency_of_its_device(self, supernet):
        with Meter(open_device("torch_cpu:batch=8"), anchor_ms=1.0) as meter:
            evaluator = Latency(supernet, meter, metric="latency_ms@pi", also=("throughput", "energy_mj"))
            assert [m.name for m in evaluator.metrics] == ["latency_ms@pi", "throughput@pi", "energy_mj@pi"]
            found = evaluator.measure(Proposal(supernet.smallest), seed=0)
            plain = Latency(supernet, meter, metric="latency_ms@pi")
        assert found["throughput@pi"].value == pytest.approx(8000 / found["latency_ms@pi"].value)
        assert plain.fingerprint != evaluator.fingerprint


@pytest.fixture
def rapl(tmp_path):
    """The kernel's files of two packages and of a part of the first."""

    def write(**energies):
        for name, energy in energies.items():
            folder = tmp_path / f"intel-rapl:{name.strip('p').replace('_', ':')}"
            folder.mkdir(exist_ok=True)
            (folder / "energy_uj").write_text(f"{energy}\n")
            (folder / "max_energy_range_uj").write_text("1000000\n")

    write(p0=100, p1=200, p0_0=50)
    return tmp_path, write


class TestEnergy:
    def test_packages_are_counted_once_and_overflow_is_seen_through(self, rapl):
        root, write = rapl
        counter = Rapl.here(root)
        assert counter.joules() == 0
        write(p0=1100, p1=200, p0_0=900)
        assert counter.joules() == pytest.approx(1e-3)
        write(p0=600, p1=1200)  # the first began anew: 1,000,000 - 1,100 + 600
        assert counter.joules() == pytest.approx(1e-3 + (999_500 + 1000) * 1e-6)

    def test_counters_that_may_not_be_read_are_none(self, tmp_path, rapl):
        assert Rapl.here(tmp_path / "nothing") is None
        root, _ = rapl
        (root / "intel-rapl:1" / "energy_uj").unlink()
        assert Rapl.here(root) is None
        assert counter_of(FakeDevice(FakeClock())) is None

    def test_a_counter_is_divided_by_the_calls(self):
        clock = FakeClock()
        device = FakeDevice(clock)

        class Counts:
            def joules(self):
                return 20.0 * clock.now  # watts

        found = energy_mj(device, device.call(3.0), Value(3.0, "measured"), Counts(), clock=clock)
        assert found.source == "measured"
        assert found.value == pytest.approx(60.0, rel=1e-3)
        assert found.low <= found.value <= found.high

    def test_a_counter_that_stands_still_is_a_failed_measurement(self):
        clock = FakeClock()
        device = FakeDevice(clock)

        class Stands:
            def joules(self):
                return 7.0

        with pytest.raises(MeasurementFailed, match="stands still"):
            energy_mj(device, device.call(3.0), Value(3.0, "measured"), Stands(), clock=clock)

    def test_without_a_counter_it_is_modelled_and_says_so(self, monkeypatch):
        device = open_device("torch_cpu:threads=2")
        latency = Value(3.0, "measured", 2.0, 4.0)
        found = energy_mj(device, lambda: None, latency, None)
        assert found == Value(60.0, "modelled", 40.0, 80.0)
        monkeypatch.setenv("ARCHSMITH_WATTS", "5.5")
        assert energy_mj(device, lambda: None, latency, None).value == pytest.approx(16.5)
        for wrong in ("much", "-1", "nan", "0"):
            monkeypatch.setenv("ARCHSMITH_WATTS", wrong)
            with pytest.raises(InvalidOption, match="positive number of watts"):
                watts(device)

    def test_the_source_of_energy_is_part_of_the_fingerprint(self, supernet, monkeypatch):
        with Meter(open_device("torch_cpu"), anchor_ms=1.0) as meter:
            monkeypatch.setattr("archsmith.evaluator.latency.counter_of", lambda device: None)
            modelled = Latency(supernet, meter, also=("energy_mj",)).fingerprint
            monkeypatch.setenv("ARCHSMITH_WATTS", "77")
            other = Latency(supernet, meter, also=("energy_mj",)).fingerprint
            monkeypatch.setattr("archsmith.evaluator.latency.counter_of", lambda device: Rapl)
            measured = Latency(supernet, meter, also=("energy_mj",)).fingerprint
        assert len({modelled, other, measured}) == 3

    def test_the_graphics_processors_counter(self):
        def library(code=0):
            def energy(handle, found):
                found._obj.value = 12_500
                return code

            names = ("nvmlInit_v2", "nvmlDeviceGetHandleByIndex_v2")
            return SimpleNamespace(**dict.fromkeys(names, lambda *_: 0), nvmlDeviceGetTotalEnergyConsumption=energy)

        assert Nvml(library()).joules() == 12.5
        with pytest.raises(OSError, match="does not count"):
            Nvml(library(code=3)).joules()


class TestKvCache:
    def test_networks_without_one_are_refused(self, supernet):
        with pytest.raises(EvaluationFailed, match="needs a decoder of transformers"):
            KvCache(supernet).measure(Proposal(supernet.largest), seed=0)
