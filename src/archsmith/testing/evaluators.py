"""What every evaluator must do.

Subclass the suite and give it two fixtures, ``supernet`` and ``evaluator`` (which measures subnets of it)::

class TestMine(EvaluatorConformance):
    @pytest.fixture
    def evaluator(self, supernet): ...
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from archsmith.architecture import Proposal
from archsmith.evaluator.base import Evaluator
from archsmith.evaluator.kit.composite import Composite
from archsmith.supernet import Supernet
from archsmith.value import Value


class EvaluatorConformance:
    """Laws of evaluators; each test needs the fixtures ``supernet`` and ``evaluator``."""

    def test_gives_every_metric_that_it_names(self, supernet: Supernet, evaluator: Evaluator) -> None:
        """Exactly those, finite, inside their intervals."""
        assert evaluator.metrics, "an evaluator names at least one metric"
        found = evaluator.measure(Proposal(supernet.smallest), seed=0)
        assert list(found) == [m.name for m in evaluator.metrics]
        for value in found.values():
            assert isinstance(value, Value)
            assert math.isfinite(value.value)
            assert value.low <= value.value <= value.high

    def test_leaves_the_supernet_as_found(self, supernet: Supernet, evaluator: Evaluator) -> None:
        """Weights, buffers, modes, gradients and hooks, also of a network that cannot be evaluated."""
        supernet.train()
        before = _state(supernet)
        evaluator.measure(Proposal(supernet.smallest), seed=0)
        evaluator.measure(Proposal(supernet.largest), seed=0)
        assert _same(before, _state(supernet))

    def test_fingerprint_is_stable(self, supernet: Supernet, evaluator: Evaluator) -> None:
        """Measuring does not change what is measured."""
        before = evaluator.fingerprint
        evaluator.measure(Proposal(supernet.smallest), seed=0)
        assert evaluator.fingerprint == before
        assert len(before) == 16
        assert int(before, 16) >= 0

    def test_says_what_its_values_depend_on(self, evaluator: Evaluator) -> None:
        """On the function or on the architecture as written."""
        assert evaluator.depends_on in ("function", "architecture")

    def test_draws_on_no_global_generator(self, supernet: Supernet, evaluator: Evaluator) -> None:
        """NumPy's and torch's are where they were."""
        numpys, torchs = np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]  # noqa: NPY002
        evaluator.measure(Proposal(supernet.smallest), seed=0)
        assert np.random.get_state()[1].tolist() == numpys  # type: ignore[index]  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), torchs)

    def test_composes(self, supernet: Supernet, evaluator: Evaluator) -> None:
        """One evaluation with the evaluator's values and what they cost."""
        found = Composite([evaluator], seed=3)(Proposal(supernet.largest))
        assert found.ok, found.reason
        assert found.seed == 3
        assert set(found.values) == {m.name for m in evaluator.metrics}
        assert found.cost["wall_s"] > 0


def _state(supernet: Supernet) -> dict[str, Any]:
    modules = list(supernet.model.modules())
    return {
        "tensors": {name: tensor.clone() for name, tensor in supernet.state_dict().items()},
        "modes": [m.training for m in modules],
        "gradients": [None if p.grad is None else p.grad.clone() for p in supernet.parameters()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in modules],
        "shadows": [sorted(m.__dict__) for m in modules],
    }


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    tensors = all(torch.equal(a["tensors"][name], b["tensors"][name]) for name in a["tensors"] | b["tensors"])
    return tensors and all(a[k] == b[k] for k in ("modes", "gradients", "hooks", "shadows"))
