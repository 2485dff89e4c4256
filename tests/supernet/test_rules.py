"""Every rule: one family each, sizes as in the module, and a message for what does not fit."""

import pytest
from torch import nn

from archsmith import method
from archsmith.errors import InvalidModel
from archsmith.supernet import Elastic, Width

RULES = {name: method.load("structure.rules", name)() for name in method.names("structure.rules")}

IN, OUT = Width("in", (4, 8)), Width("out", (6, 12))

# family -> a module of it, what is elastic in it, and the shapes that its tensors must have
FAMILIES = {
    "linear": (nn.Linear(8, 12), Elastic(into=IN, out=OUT), {"weight": (OUT, IN), "bias": (OUT,)}),
    "conv": (nn.Conv2d(8, 12, 3), Elastic(into=IN, out=OUT), {"weight": (OUT, IN, None, None), "bias": (OUT,)}),
    "batch_norm": (
        nn.BatchNorm2d(12),
        Elastic(over=OUT),
        dict.fromkeys(["weight", "bias", "running_mean", "running_var"], (OUT,)),
    ),
    "layer_norm": (nn.LayerNorm(12), Elastic(over=OUT), {"weight": (OUT,), "bias": (OUT,)}),
}


def test_every_rule_has_a_family_here():
    assert set(FAMILIES) == set(RULES)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_family_belongs_to_one_rule(name):
    module = FAMILIES[name][0]
    assert [n for n, rule in RULES.items() if rule.handles(module)] == [name]


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_axes_follow_the_declaration(name):
    module, elastic, wanted = FAMILIES[name]
    declared = RULES[name].declare("here", module, elastic)
    sizes = {t: tuple(a and a.full for a in axes) for t, axes in declared.tensors.items()}
    assert sizes == {t: tuple(a and a.full for a in axes) for t, axes in wanted.items()}
    held = dict(module.named_parameters()) | dict(module.named_buffers())
    for tensor, dims in sizes.items():
        assert all(size in (None, real) for size, real in zip(dims, held[tensor].shape, strict=True))


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_wrong_size_is_named(name):
    module, elastic, _ = FAMILIES[name]
    wrong = Width("wrong", (5, 7))
    side = "over" if elastic.over is not None else "out"
    with pytest.raises(InvalidModel, match=r"here.*7.*the module has 12"):
        RULES[name].declare("here", module, Elastic(**{side: wrong}))


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm"])
def test_a_side_that_a_family_lacks_is_refused(name):
    with pytest.raises(InvalidModel, match="has no 'into' dimension"):
        RULES[name].declare("here", FAMILIES[name][0], Elastic(into=IN, over=OUT))
