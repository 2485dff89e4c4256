"""Random small search spaces for property tests with Hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from archsmith.space import Choice, ChoiceSpace, Constraint, Interchangeable, Subset
from archsmith.space.choice import Condition

_NAMES = ("depth", "a.width", "a.0.kernel", "b", "b.op", "skip?", "lr")
_MAX_ARCHITECTURES = 3000


@st.composite
def choice_spaces(draw: st.DrawFn, *, rules: bool = True) -> ChoiceSpace:
    """Spaces of at most some thousand architectures, none of them empty.

    Args:
        draw: given by Hypothesis.
        rules: whether constraints and symmetries occur beside conditions.
    """
    choices: list[Choice] = []
    for name in _NAMES[: draw(st.integers(1, len(_NAMES)))]:
        choices.append(draw(_choices(name, draw(_conditions(choices)))))
    symmetries = []
    if rules and draw(st.booleans()):
        pair = draw(_alike(draw(_conditions(choices))))
        choices += pair
        symmetries.append(Interchangeable(tuple((f"op{g}", f"in{g}") for g in range(len(pair) // 2))))
    constraints = draw(st.lists(_constraints(choices), max_size=2)) if rules else []
    space = ChoiceSpace(choices, constraints, symmetries)
    assume(0 < ChoiceSpace(choices).size().value <= _MAX_ARCHITECTURES)
    assume(space.size().value > 0)
    return space


@st.composite
def _conditions(draw: st.DrawFn, earlier: list[Choice]) -> Condition | None:
    if not earlier or draw(st.booleans()):
        return None
    parent = draw(st.sampled_from(earlier))
    values = draw(st.lists(st.sampled_from(parent.options), min_size=1, unique=True))
    return parent.name, tuple(values)


@st.composite
def _choices(draw: st.DrawFn, name: str, when: Condition | None) -> Choice:
    kind = draw(st.sampled_from(["ordinal", "ordinal", "categorical", "subset"]))
    if kind == "subset":
        items = ("x", "y", 3)[: draw(st.integers(1, 3))]
        return Subset(name, items, draw(st.integers(1, len(items))), when)
    if kind == "categorical":
        pool: st.SearchStrategy[Any] = st.sampled_from(["conv", "pool", "skip", "ünï"])
        return Choice(name, tuple(draw(st.lists(pool, min_size=1, max_size=4, unique=True))), "categorical", when)
    numbers = st.integers(-2, 9) | st.sampled_from([0.5, 1.5])
    return Choice(name, tuple(sorted(draw(st.lists(numbers, min_size=1, max_size=4, unique=True)))), when=when)


@st.composite
def _alike(draw: st.DrawFn, when: Condition | None) -> list[Choice]:
    found = []
    for group in range(draw(st.integers(2, 3))):
        found.append(Choice(f"op{group}", ("none", "conv"), "categorical", when))
        found.append(Choice(f"in{group}", (0, 1), when=(f"op{group}", ("conv",))))
    return found


@st.composite
def _constraints(draw: st.DrawFn, choices: list[Choice]) -> Constraint:
    """Rules that name choices through ``value("...")``, so that any name will do."""
    usable = [c for c in choices if c.kind != "subset"]
    assume(bool(usable))
    a, b = draw(st.sampled_from(usable)), draw(st.sampled_from(usable))
    left, right = f'value("{a.name}")', f'value("{b.name}")'
    if not a.numeric:
        option = draw(st.sampled_from(a.options))
        texts = [f"{left} != {option!r}", f"{left} in ({option!r},) or not active({a.name!r})"]
    elif not b.numeric:
        texts = [f"{left} > 1 or active({b.name!r})", f"not ({left} < 2 and active({b.name!r}))"]
    else:
        texts = [f"{left} <= {right} + 2", f"{left} * {right} - 1 < 9", f"max({left}, {right}, 1) <= 5"]
        texts += [
            f"1 <= sum({left}, {right}) + 2 <= 12",
            f"-{left} / 2 != {right}",
            f"({left} == 3) + ({right} > 1) < 2",
        ]
    return Constraint(draw(st.sampled_from(texts)))
