"""The algebra of dimensions, and what is refused when it does not fit the model."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from archsmith.errors import InvalidModel, UnknownName
from archsmith.structure.axes import as_axis, split_leading
from archsmith.supernet import Elastic, Kernel, Optional, Supernet, Switch, Width

A, B = Width("a", (1, 2, 4)), Width("b", (2, 3))
factors = st.lists(st.sampled_from([2, 3, A, B]), min_size=1, max_size=3)


def brute(segments, numbers):
    """Positions kept, by walking all units."""
    kept, position = [], 0
    for segment in segments:
        sizes = [f if isinstance(f, int) else f.full for f in segment]
        limits = [f if isinstance(f, int) else f.options[numbers[f.choice]] for f in segment]
        for unit in np.ndindex(*sizes):
            if all(u < limit for u, limit in zip(unit, limits, strict=True)):
                kept.append(position)
            position += 1
    return kept, position


@given(segments=st.lists(factors, min_size=1, max_size=3), a=st.integers(0, 2), b=st.integers(0, 1))
def test_index_is_what_walking_all_units_gives(segments, a, b):
    axis = None
    for segment in segments:
        product = as_axis(segment[0])
        for factor in segment[1:]:
            product = product * factor
        axis = product if axis is None else axis + product
    numbers = {"a": a, "b": b}
    kept, full = brute(segments, numbers)
    index = axis.index(numbers)
    assert axis.full == full
    assert axis.size(numbers) == len(kept)
    found = list(range(full)) if index is None else list(range(index)) if isinstance(index, int) else list(index)
    assert found == kept
    assert isinstance(index, int) == (kept == list(range(len(kept))) and len(kept) < full)


def test_an_integer_repeats_a_concatenation():
    numbers = {"a": 0, "b": 0}
    assert (2 * (A + B)).index(numbers) == (A + B + A + B).index(numbers)
    with pytest.raises(InvalidModel, match="concatenation"):
        A * (A + B)


@pytest.mark.parametrize(
    ("axis", "size", "parts"), [(4 * A, 4, ("4", "a")), (A * 6, 8, ("a*2", "3")), (A + B, 2, None)]
)
def test_split_leading(axis, size, parts):
    found = split_leading(axis, size)
    assert (found and tuple(map(str, found))) == parts


@pytest.mark.parametrize("options", [(), (4, 2), (0, 2), (2, 2), (1.5, 2), (True, 2)])
def test_widths_ascend(options):
    with pytest.raises(InvalidModel, match="'w'"):
        Width("w", options)


W8, W4 = Width("w", (2, 8)), Width("v", (2, 4))
WRONG = {
    "size": (nn.Linear(4, 8), Elastic(out=W4), "has size 4 at its largest, but the module has 8"),
    "field": (nn.Linear(4, 8), Elastic(over=W8), "no 'over' dimension"),
    "norm": (nn.BatchNorm1d(8), Elastic(out=W8), "no 'out' dimension"),
    "missing": (nn.LayerNorm(8), Elastic(), "needs Elastic"),
    "layer norm": (nn.LayerNorm((4, 8)), Elastic(over=W8), "2 dimensions"),
    "family": (nn.LSTM(4, 8), Elastic(out=W8), "no rule knows LSTM"),
    "depthwise": (nn.Conv2d(4, 8, 3), Elastic(over=W4), "depthwise"),
    "both": (nn.Conv2d(4, 4, 3, groups=4), Elastic(over=W4, out=W4), "both sides at once"),
    "groups": (nn.Conv2d(4, 8, 3, groups=2), Elastic(out=W8), "start with the groups"),
    "other groups": (nn.Conv2d(4, 4, 3, groups=4), Elastic(out=W4), "same groups"),
    "kernel": (nn.Conv2d(4, 8, 3, padding=1), Elastic(kernel=Kernel("k", (3, 5))), "kernel"),
    "padding": (nn.Conv2d(4, 8, 5), Elastic(kernel=Kernel("k", (3, 5))), "padding"),
    "valid": (nn.Conv2d(4, 8, 5, padding="valid"), Elastic(kernel=Kernel("k", (3, 5))), "take 'same'"),
    "number": (nn.Linear(4, 8), Elastic(out="8"), "made of Width objects"),
    "nothing": (nn.Linear(4, 8), Elastic(out=8), "nothing in this model is elastic"),
}


@pytest.mark.parametrize("case", WRONG)
def test_declarations_that_do_not_fit(case):
    module, elastic, message = WRONG[case]
    with pytest.raises(InvalidModel, match=message):
        Supernet(nn.Sequential(module), {"0": elastic})


def test_unknown_names_come_with_the_nearest():
    with pytest.raises(UnknownName, match=r"classifer.*did you mean 'classifier'"):
        Supernet(nn.ModuleDict({"classifier": nn.Linear(1, 4)}), {"classifer": Elastic(out=W4)})
    with pytest.raises(UnknownName, match="kernel_transform"):
        Supernet(nn.Conv2d(1, 1, 3, padding=1), {"": Elastic(kernel=Kernel("k", (1, 3), "kernel_transfrom"))})
    with pytest.raises(InvalidModel, match="centre"):
        Kernel("k", (2, 3))


def test_what_shares_a_name_shares_its_options():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 8), nn.Linear(8, 2))
    narrow, wide = Width("ratio", (2, 4)), Width("ratio", (4, 8))
    elastic = {"0": Elastic(out=narrow), "1": Elastic(into=narrow, out=wide), "2": Elastic(into=wide)}
    supernet = Supernet(model, elastic, example_inputs=(torch.ones(1, 3),))
    assert supernet.space.choices[0].options == (2, 4)
    assert [p.shape[0] for p in supernet.extract(supernet.smallest).parameters()] == [2, 2, 4, 4, 2, 2]
    with pytest.raises(InvalidModel, match="shares the number of its options"):
        Supernet(
            nn.Sequential(Optional("ratio", nn.Linear(3, 3)), nn.Linear(3, 4)),
            {"1": Elastic(out=Width("ratio", (1, 2, 4)))},
        )


def test_a_forgotten_module_is_found_by_running_it():
    model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 2))
    with pytest.raises(InvalidModel, match=r"does not run.*account"):
        Supernet(model, {"0": Elastic(out=W8)}, example_inputs=(torch.ones(1, 3),))


def test_conditions_follow_the_containers(mlp, models):
    conditions = {c.name: c.when for c in mlp.space.choices}
    assert conditions == {
        "hidden": None,
        "blocks": None,
        "second": ("blocks", (2, 3)),
        "head": None,
        "inner": ("head", ("tall",)),
    }
    shared = Width("shared", (1, 3))
    switch = Switch("s", {"a": nn.Linear(3, 3), "b": nn.Linear(3, 3), "c": nn.Identity()})
    supernet = Supernet(nn.Sequential(switch), {"0.a": Elastic(out=shared), "0.b": Elastic(out=shared)})
    assert supernet.space.choices[1].when == ("s", ("a", "b"))


def test_account_says_what_is_rigid():
    supernet = Supernet(nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 8), nn.PReLU()), {"1": Elastic(out=W8)})
    account = supernet.account()
    assert [(name, count) for name, count, _ in account.rigid] == [("0", 32), ("2", 1)]
    assert (account.parameters, account.elastic_parameters) == (105, 72)
    assert "out_features = w" in str(account)
    assert str(account).startswith("2 ")
