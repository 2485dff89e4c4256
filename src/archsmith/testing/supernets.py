"""What every supernet owes: laws that hold for any model, checked on the one given.

Each check raises ``AssertionError`` with the tensor or module that breaks the law. Inputs are a tuple as the model
takes them; the model's output is one floating-point tensor.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from archsmith.architecture import Architecture
from archsmith.discovery.tracing import fixed_outputs
from archsmith.plan import Index, Plan, positions
from archsmith.structure.units import reorder, zero_dropped
from archsmith.supernet import Axis, Relaxed, Supernet, Width

Inputs = tuple[Any, ...]


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Torch's generator starts at ``seed`` inside, and is as found after: equal dropout in two runs."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def live_parameters(supernet: Supernet, arch: Architecture) -> list[str]:
    """Names of the parameters of the model that ``arch`` runs, in the order of the extracted network's own."""
    numbers, containers = supernet.structure.numbers(arch), supernet.structure.containers

    def runs(name: str) -> bool:
        parts = name.split(".")
        around = ((".".join(parts[:i]), parts[i]) for i in range(len(parts)))
        inside = [(containers[path], child) for path, child in around if path in containers]
        return all(numbers[container.name] in container.runs(child) for container, child in inside)

    return [name for name, _ in supernet.model.named_parameters() if runs(name)]


def check_plan(supernet: Supernet, arch: Architecture) -> None:
    """A plan is plain data: its JSON reads back as the same plan, and its shapes are the extracted network's."""
    plan = supernet.plan(arch)
    assert Plan.from_json(plan.to_json()).fingerprint == plan.fingerprint, f"the plan of {arch} does not survive JSON"
    network = supernet.extract(arch)
    for name, own in zip(live_parameters(supernet, arch), network.parameters(), strict=True):
        tensor = plan.tensors.get(name)
        full = supernet.model.get_parameter(name).shape
        if tensor is not None and tensor.policy is None:
            shape = tuple(len(positions(i, n)) for i, n in zip(tensor.index, full, strict=True))
            assert shape == tuple(own.shape), f"{name}: the plan says {shape}, extracted {tuple(own.shape)}"
        elif tensor is None:
            assert full == own.shape, f"{name}: not in the plan, yet extracted as {tuple(own.shape)}"


GRADIENTS = 1e-5
"""Relative and absolute tolerance of gradients: matrix products of views add up in another order than of copies."""


def check_equality(supernet: Supernet, arch: Architecture, inputs: Inputs, *, tolerance: float = 0.0) -> None:
    """The active subnet is the extracted network: outputs, gradients and batch-norm statistics.

    Gradients agree to ``GRADIENTS``, or to ``tolerance`` where that is larger.

    Args:
        supernet: left as found, except that running statistics learn from one call.
        arch: of its space.
        inputs: of one call.
        tolerance: relative and absolute; 0 asks for equal bits of outputs and statistics.
    """
    with kept_mode(supernet):
        supernet.eval()
        network = supernet.extract(arch)
        with torch.no_grad():
            _same(supernet(*inputs, arch=arch), network(*inputs), tolerance, "output in evaluation mode")
            with supernet.active(arch):
                _same(supernet(*inputs), network(*inputs), tolerance, "output inside active()")
        supernet.train()
        network = _uncalibrated(supernet, arch)
        before = {name: b.clone() for name, b in supernet.model.named_buffers()}
        gradients = [_gradients(supernet.model, lambda: supernet(*inputs, arch=arch))]
        gradients.append(_gradients(network, lambda: network(*inputs)))
        _same(gradients[0][0], gradients[1][0], tolerance, "output in training mode")
        _check_gradients(supernet, arch, gradients[0][1], list(gradients[1][1].values()), max(tolerance, GRADIENTS))
        _check_statistics(supernet, arch, before, network, tolerance)


def _uncalibrated(supernet: Supernet, arch: Architecture) -> nn.Module:
    """The extracted network in training mode, with the slices of the model's own running statistics."""
    calibration, supernet._calibration = supernet._calibration, ()
    try:
        return supernet.extract(arch).train()
    finally:
        supernet._calibration = calibration


def _gradients(model: nn.Module, call: Callable[[], Tensor]) -> tuple[Tensor, dict[str, Tensor | None]]:
    parameters = dict(model.named_parameters())
    with seeded():
        output = call()
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    wanted = [p for p in parameters.values() if p.requires_grad]
    found = torch.autograd.grad((output * weights).sum(), wanted, allow_unused=True)
    by_id = {id(p): g for p, g in zip(wanted, found, strict=True)}
    return output.detach(), {name: by_id.get(id(p)) for name, p in parameters.items()}


def _check_gradients(
    supernet: Supernet,
    arch: Architecture,
    full: dict[str, Tensor | None],
    own: Sequence[Tensor | None],
    tolerance: float,
) -> None:
    plan = supernet.plan(arch)
    live = live_parameters(supernet, arch)
    for name, gradient in full.items():
        if name not in live:
            assert gradient is None or not gradient.any(), f"{name} does not run, yet has a gradient"
    for name, expected in zip(live, own, strict=True):
        gradient = full[name]
        tensor = plan.tensors.get(name)
        if expected is None or gradient is None:
            given = next((g for g in (gradient, expected) if g is not None), None)
            assert given is None or not given.any(), f"{name} has a gradient in one of the two networks only"
        elif tensor is None:
            _same(gradient, expected, tolerance, f"gradient of {name}")
        elif tensor.policy is None:
            where = _grid(tensor.index, gradient.shape)
            _same(gradient[where], expected, tolerance, f"gradient of {name}")
            outside = gradient.clone()
            outside[where] = 0
            assert not outside.any(), f"{name} has a gradient outside of its slice"


def _check_statistics(
    supernet: Supernet, arch: Architecture, before: dict[str, Tensor], network: nn.Module, tolerance: float
) -> None:
    """Running statistics moved like the extracted network's, inside the slice only."""
    plan = supernet.plan(arch)
    after = dict(supernet.model.named_buffers())
    own = dict(network.named_buffers())
    for name in plan.tensors.keys() & after.keys() & own.keys():
        where = _grid(plan.tensors[name].index, after[name].shape)
        _same(after[name][where], own[name], tolerance, f"{name} after a training call")
        outside = (after[name] - before[name]).clone()
        outside[where] = 0
        assert not outside.any(), f"{name} changed outside of its slice"


def check_as_found(supernet: Supernet, arch: Architecture | Relaxed, inputs: Inputs) -> None:
    """A call leaves every module as it was, also when the network raises half-way."""
    with kept_mode(supernet):
        supernet.eval()
        state = {name: t.clone() for name, t in supernet.state_dict().items()}
        before = _inventory(supernet.model)
        with torch.no_grad():
            supernet(*inputs, arch=arch)
        assert _inventory(supernet.model) == before, "a call left something behind"
        leaves = [m for m in supernet.model.modules() if not list(m.children())]
        for leaf in (leaves[0], leaves[len(leaves) // 2], leaves[-1]):
            _check_raising(supernet, arch, inputs, leaf, before)
        for name, tensor in supernet.state_dict().items():
            assert torch.equal(tensor, state[name]), f"{name} changed in evaluation mode"


def _check_raising(
    supernet: Supernet, arch: Architecture | Relaxed, inputs: Inputs, leaf: nn.Module, before: dict[str, Any]
) -> None:
    def broken(*_: Any) -> None:
        raise _BrokenOnPurposeError

    handle = leaf.register_forward_hook(broken)
    try:
        supernet(*inputs, arch=arch)
    except _BrokenOnPurposeError:
        pass  # leaves that this architecture skips do not raise
    finally:
        handle.remove()
    assert _inventory(supernet.model) == before, "an exception left something behind"


class _BrokenOnPurposeError(Exception):
    """Raised inside a forward pass."""


def _inventory(model: nn.Module) -> dict[str, Any]:
    """Identity of everything that a module holds, registries opened."""
    found: dict[str, Any] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        for key, value in vars(module).items():
            small = isinstance(value, int | float | str | tuple | bool | type(None))
            opened = {k: id(v) for k, v in value.items()} if isinstance(value, dict) else None
            found[f"{name}:{key}"] = value if small else (opened if opened is not None else id(value))
    return found


def check_coupling(supernet: Supernet, inputs: Inputs, rng: np.random.Generator, *, tolerance: float = 1e-10) -> None:
    """The declaration names every tensor that an atom reaches: an oracle that does not slice.

    In float64, permuting an atom's units in all its tensors leaves the full model's output unchanged; and where no
    layer norm spans it, zeroing the units that a smaller option drops equals slicing them away.
    """
    double = copy.deepcopy(supernet).double().eval()
    double._calibration = ()
    inputs = tuple(x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)
    spanned = {
        w
        for d in double.structure.declared.values()
        for w in _widths(d.axes)
        if "normalized_shape" in d.attributes or w.atom in double.structure.spanned
    }
    with torch.no_grad():
        expected = outputs_of(double.model(*inputs))
        for width in double.structure.widths:
            with _restored(double.model):
                reorder(double.model, double.structure.declared, {width: rng.permutation(width.full)})
                found = outputs_of(double.model(*inputs))
                _same(found, expected, tolerance, f"output after permuting {width.atom or width.choice}")
            if not spanned.intersection(w for w in double.structure.widths if w.choice == width.choice):
                _check_zeroing(double, width, inputs, tolerance)


def _check_zeroing(double: Supernet, width: Width, inputs: Inputs, tolerance: float) -> None:
    """All atoms of one choice are dropped together; other choices stay at their largest."""
    choice = next(c for c in double.space.choices if c.name == width.choice)
    alike = [w for w in double.structure.widths if w.choice == width.choice]
    if alike[0] != width or len(width.options) < 2:
        return
    values = {**double.largest.to_dict(), choice.name: choice.options[0]}
    smaller = outputs_of(double(*inputs, arch=double.space.architecture(values)))
    with _restored(double.model):
        zero_dropped(double.model, double.structure.declared, {w: w.options[0] for w in alike})
        zeroed = outputs_of(double.model(*inputs))
    if zeroed.shape == smaller.shape:  # else the model's outputs themselves are narrower
        _same(zeroed, smaller, tolerance, f"output after zeroing {width.choice}")


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    """Parameters and buffers have their values back after."""
    tensors = [*model.parameters(), *model.buffers()]
    values = [t.detach().clone() for t in tensors]
    try:
        yield
    finally:
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)


def outputs_of(outputs: Any) -> Tensor:
    """The floating-point tensors that a subnet owes its user as one: the only one as it is, several flattened."""
    found = [t for t in fixed_outputs(outputs) if t.is_floating_point()]
    return found[0] if len(found) == 1 else torch.cat([t.flatten() for t in found])


def _widths(axes: Sequence[Axis]) -> list[Width]:
    return [width for axis in axes for width in axis.widths]


def check_relaxed(supernet: Supernet, arch: Architecture, inputs: Inputs, *, tolerance: float = 1e-4) -> None:
    """A one-hot relaxation is that architecture: in evaluation mode, without layer norms over elastic widths."""
    with kept_mode(supernet), torch.no_grad():
        supernet.eval()
        relaxed = supernet(*inputs, arch=Relaxed.one_hot(supernet.space, arch))
        _same(relaxed, _uncalibrated(supernet, arch).eval()(*inputs), tolerance, "one-hot relaxation")


def check_calibration(supernet: Supernet, arch: Architecture, other: Architecture, batches: Sequence[Any]) -> None:
    """Calibrated statistics depend on weights, architecture and batches, not on what ran before."""
    one, two = (copy.deepcopy(supernet).eval() for _ in range(2))
    for clone in (one, two):
        clone.record_calibration(batches)
    with torch.no_grad():
        two.extract(other)
        two.train()
        two(*supernet.example_inputs, arch=other)  # moves the running statistics, which do not count
        two.eval()
    first, second = one.calibrated_plan(arch).overrides, two.calibrated_plan(arch).overrides
    assert first.keys() == second.keys(), "other norms were calibrated"
    for name, value in first.items():
        assert np.array_equal(value, second[name]), f"{name} depends on what ran before"


@contextmanager
def kept_mode(model: nn.Module) -> Iterator[None]:
    """Every module's training mode is as found after."""
    modes = [(m, m.training) for m in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _grid(index: Sequence[Index], shape: Sequence[int]) -> tuple[Tensor, ...]:
    where = [torch.from_numpy(positions(i, n)) for i, n in zip(index, shape, strict=True)]
    return torch.meshgrid(*where, indexing="ij")


def _same(found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    assert found.shape == expected.shape, f"{what}: shape {tuple(found.shape)} instead of {tuple(expected.shape)}"
    if tolerance == 0.0:
        assert torch.equal(found, expected), f"{what}: differs by {(found - expected).abs().max().item():.3g}"
    else:
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance, msg=lambda text: f"{what}: {text}")
