"""The laws of a supernet, on architectures that Hypothesis draws."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archsmith.supernet import Relaxed
from archsmith.testing import supernets as laws

drawn = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
seeds = st.integers(0, 2**31)


def architecture(supernet, seed):
    """Often random, sometimes an end of the space."""
    if seed % 5 == 0:
        return (supernet.smallest, supernet.largest)[seed % 2]
    return supernet.random(np.random.default_rng(seed))


@drawn
@given(seed=seeds)
def test_active_equals_extracted_bit_for_bit(case, seed):
    supernet, inputs = case
    laws.check_equality(supernet, architecture(supernet, seed), inputs)


@drawn
@given(seed=seeds)
def test_calibrated_active_equals_extracted(branches, branches_inputs, seed):
    branches.record_calibration([branches_inputs[0], (branches_inputs[0] * 2 + 1, None)])
    try:
        laws.check_equality(branches, architecture(branches, seed), branches_inputs)
    finally:
        branches._calibration = ()


@drawn
@given(seed=seeds)
def test_plans_are_plain_data(case, seed):
    supernet, _ = case
    laws.check_plan(supernet, architecture(supernet, seed))


def test_coupling(case, rng):
    supernet, inputs = case
    laws.check_coupling(supernet, inputs, rng)


def test_coupling_sees_a_forgotten_tensor(models, branches_inputs, rng):
    from archsmith.supernet import Supernet

    model, elastic = models["branches"]
    declared = {k: v for k, v in elastic().items() if k != "depthwise"}
    supernet = Supernet(model(), declared)
    with pytest.raises((AssertionError, RuntimeError)):
        laws.check_coupling(supernet, branches_inputs, rng)


def test_largest_is_the_original(models, mlp_inputs, branches_inputs):
    from archsmith.supernet import Supernet

    for name, inputs in (("mlp", mlp_inputs), ("branches", branches_inputs)):
        model, elastic = models[name]
        original = model().eval()
        supernet = Supernet(original, elastic())
        assert torch.equal(supernet(*inputs), original(*inputs))
        assert torch.equal(supernet(*inputs, arch=supernet.largest), original(*inputs))
        extracted = supernet.extract(supernet.largest)
        assert torch.equal(extracted(*inputs), original(*inputs))


@pytest.mark.parametrize("which", ["smallest", "largest", "random", "relaxed"])
def test_as_found(case, rng, which):
    supernet, inputs = case
    arch = {"smallest": supernet.smallest, "largest": supernet.largest, "random": supernet.random(rng)}.get(which)
    laws.check_as_found(supernet, arch or Relaxed.uniform(supernet.space), inputs)


def test_calibration_is_pure(case, rng):
    supernet, inputs = case
    laws.check_calibration(supernet, supernet.random(rng), supernet.smallest, [inputs[0], (inputs[0] + 1, "labels")])


@drawn
@given(seed=seeds)
@pytest.mark.parametrize("name", ["branches", "convnet"])
def test_one_hot_relaxation_is_the_architecture(request, name, seed):
    supernet, inputs = request.getfixturevalue(name), request.getfixturevalue(f"{name}_inputs")
    laws.check_relaxed(supernet, architecture(supernet, seed), inputs)
