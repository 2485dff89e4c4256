"""What every device must do: subclass :class:`DeviceConformance` and give it a ``device`` fixture and an ``other``.

Example::

    class TestMine(DeviceConformance):
        @pytest.fixture
        def device(self):
            return Mine(batch=4)

        @pytest.fixture
        def other(self):
            return Mine(batch=8)
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from archsmith.errors import InvalidOption, MeasurementFailed
from archsmith.hardware import Call, Device, Meter, open_device


def small_network() -> nn.Module:
    """Convolution, batch norm and dropout, left in training mode with gradients and a hook."""
    torch_rng = torch.Generator().manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=torch_rng)
        parameter.grad = torch.randn(parameter.shape, generator=torch_rng)
    network.train()
    network[3].eval()  # a user may freeze a part
    return network


def example() -> tuple[torch.Tensor]:
    """Two images."""
    return (torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(4)),)


class Refuses(nn.Module):
    """A network that no input fits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Never returns."""
        raise RuntimeError(f"shape {tuple(x.shape)} is not welcome")


class Sees(nn.Module):
    """Remembers the shapes that it is called with, in a list that copies share."""

    def __init__(self, seen: list[tuple[int, ...]]) -> None:
        super().__init__()
        self.seen = seen
        self.linear = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        self.seen.append(tuple(int(n) for n in x.shape))
        return self.linear(x)  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: dict[int, Any]) -> Sees:
        copied = Sees(self.seen)
        copied.load_state_dict(self.state_dict())
        return copied.train(self.training)


class DeviceConformance:
    """Run over every device by ``tests/hardware/test_devices.py``, and by third parties over theirs."""

    def test_prepare_leaves_the_module_as_found(self, device: Device) -> None:
        """Weights, buffers, gradients, modes and hooks."""
        network = small_network()
        calls: list[int] = []
        network.register_forward_hook(lambda *_: calls.append(1))
        before = copy.deepcopy(network.state_dict())
        grads = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        modes = [m.training for m in network.modules()]
        device.prepare(network, example())()
        assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
        assert all(
            torch.equal(p.grad, g) for p, g in zip(network.parameters(), grads, strict=True) if p.grad is not None
        )
        assert [m.training for m in network.modules()] == modes
        assert all(p.requires_grad for p in network.parameters())
        assert len(network._forward_hooks) == 1

    def test_the_call_runs_the_network_in_evaluation_mode(self, device: Device) -> None:
        """The same outputs as the module's own, repeated to the batch of the device."""
        network, (x,) = small_network(), example()
        outputs = _outputs(device.prepare(network, (x,)))
        with torch.no_grad():
            wanted = network.eval()(x).numpy()
        batch = getattr(device, "batch", 1)
        np.testing.assert_allclose(outputs, wanted[np.arange(batch) % 2], rtol=1e-4, atol=1e-5)

    def test_content_of_a_file_is_run_like_the_module(self, device: Device) -> None:
        """From memory, on tensors and on arrays alike; devices that run modules only refuse it."""
        from archsmith.export.onnx_tools.fast_exporter import candidate_onnx

        network, (x,) = small_network(), example()
        content = candidate_onnx(network, (x,))
        if ".onnx" not in device.files:
            with pytest.raises(InvalidOption, match="ONNX"):
                device.prepare_onnx(content, (x,))
            return
        module = _outputs(device.prepare(network, (x,), batch=2))
        np.testing.assert_array_equal(_outputs(device.prepare_onnx(content, (x,), batch=2)), module)
        np.testing.assert_array_equal(_outputs(device.prepare_onnx(content, (x.numpy(),), batch=2)), module)
        with pytest.raises(InvalidOption, match="made for batches of 2, the device runs 5"):
            device.prepare_onnx(content, (x,), batch=5)
        with pytest.raises(MeasurementFailed):
            device.prepare_onnx(content[: len(content) // 2], (x,), batch=2)

    def test_batch_can_be_given(self, device: Device) -> None:
        """Whatever the device's own is; other dimensions stay."""
        seen: list[tuple[int, ...]] = []
        device.prepare(Sees(seen), (torch.zeros(2, 4),), batch=7)
        assert set(seen) == {(7, 4)}

    def test_changes_to_the_module_after_prepare_do_not_matter(self, device: Device) -> None:
        """What is timed is a copy."""
        network = small_network()
        call = device.prepare(network, example())
        before = _outputs(call)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
        np.testing.assert_array_equal(_outputs(call), before)

    def test_spec_opens_the_same_device(self, device: Device) -> None:
        """``spec`` is what a run records."""
        again = open_device(device.spec)
        assert again.spec == device.spec
        assert again.fingerprint == device.fingerprint

    def test_fingerprint_tells_options_apart(self, device: Device, other: Device) -> None:
        """Latencies of different options are never mixed."""
        assert device.fingerprint != other.fingerprint
        assert device.spec != other.spec
        assert len(device.fingerprint) == 16

    def test_works_here_or_says_why(self, device: Device) -> None:
        """And occupies named hardware."""
        assert device.unavailable() == ""
        assert device.hardware
        assert device.threads >= 1

    def test_a_network_that_fails_is_a_failed_measurement(self, device: Device) -> None:
        """With the network's own words."""
        with pytest.raises(MeasurementFailed, match="is not welcome"):
            device.prepare(Refuses(), example())

    def test_inputs_without_a_batch_are_refused(self, device: Device) -> None:
        """Before anything runs."""
        for wrong in ((), (3,), (torch.zeros(0, 3, 8, 8),)):
            with pytest.raises(InvalidOption, match="batch"):
                device.prepare(small_network(), wrong)
        with pytest.raises(InvalidOption, match="tuple"):
            device.prepare(small_network(), torch.zeros(1, 3, 8, 8))  # type: ignore[arg-type]

    def test_files_that_it_cannot_read_are_refused(self, device: Device) -> None:
        """Naming the file."""
        with pytest.raises(InvalidOption, match=r"network[.]unknown"):
            device.prepare_file("network.unknown", example())

    def test_a_meter_measures_on_it(self, device: Device) -> None:
        """A bigger network takes longer, and the interval holds the value."""
        big = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1))
        with Meter(device, anchor_ms=1.0) as meter:
            small = meter.measure(device.prepare(small_network(), example(), batch=8))
            large = meter.measure(device.prepare(big, example(), batch=8))
        assert 0 < small.low <= small.latency_ms <= small.high
        assert large.low > small.high


def _outputs(call: Call) -> Any:
    """The first output as an array of its own, wherever it lies."""
    found: Any = call()
    first = found[0] if isinstance(found, list | tuple) else found
    for step in ("detach", "cpu", "numpy"):
        first = getattr(first, step)() if hasattr(first, step) else first
    return np.array(first)
