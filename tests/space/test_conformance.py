"""The shipped suites over spaces of every make."""

import pytest

from archsmith.space import Choice, ChoiceSpace, Interchangeable, Subset
from archsmith.testing.spaces import ChoiceSpaceConformance
from archsmith.testing.toy import toy_space


def flat():
    return ChoiceSpace(
        [Choice("width", (8, 16, 32)), Choice("rate", (0.5, 1.0)), Choice("act", ("relu",), "categorical")]
    )


def constrained():
    widths = [Choice(f"stage{i}.width", (8, 16, 24, 32)) for i in (1, 2, 3)]
    return ChoiceSpace(widths, ["stage1.width <= stage2.width <= stage3.width", "sum(stage1.width, stage2.width) < 60"])


def symmetric():
    operators = ("none", "conv", "pool")
    pairs = [
        (Choice(f"op{i}", operators, "categorical"), Choice(f"in{i}", (0, 1), when=(f"op{i}", ("conv", "pool"))))
        for i in (1, 2, 3)
    ]
    groups = tuple((op.name, source.name) for op, source in pairs)
    return ChoiceSpace(
        [c for pair in pairs for c in pair], ['op1 == "none" or op3 == "conv"'], [Interchangeable(groups)]
    )


def subsets():
    return ChoiceSpace(
        [
            Subset("branches", ("a", "b", "c", 4), 2),
            Choice("depth", (1, 2)),
            Subset("heads", (1, 2, 3), 1, when=("depth", (2,))),
        ]
    )


def huge():
    choices = [Choice("depth", (1, 2))] + [Choice(f"k{i}", (3, 5, 7), when=("depth", (2,))) for i in range(40)]
    return ChoiceSpace(choices, ["k0 <= k1 or depth < 2"])


SPACES = {
    "flat": flat,
    "toy": toy_space,
    "constrained": constrained,
    "symmetric": symmetric,
    "subsets": subsets,
    "product": lambda: flat() * subsets() * ChoiceSpace([Choice("bits", (4, 8), owner="precision")], ["bits > 2"]),
    "single": lambda: ChoiceSpace([Choice("only", (1,))]),
    "huge": huge,
}


class TestEverySpace(ChoiceSpaceConformance):
    @pytest.fixture(params=SPACES.values(), ids=SPACES.keys())
    def space(self, request):
        return request.param()
