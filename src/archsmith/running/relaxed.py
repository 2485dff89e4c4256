"""Continuous relaxation: a probability for every option, and a rule that mixes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archsmith.architecture import Architecture
from archsmith.errors import InvalidArchitecture, InvalidOption, unknown
from archsmith.method import make
from archsmith.running.mixing.base import Mixing, RelaxedCall
from archsmith.running.shadow import PlanProgram, Program
from archsmith.space import ChoiceSpace
from archsmith.structure.structure import Structure

MAX_DRAWS = 1000
"""How many paths are drawn before giving up, where constraints of the space forbid all of them."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A probability for every option of every choice; the supernet's output is differentiable in them.

    ``"sum"`` runs everything and mixes it, ``"sampled_path"`` draws one option per choice and runs that architecture
    alone; ``archsmith methods running.mixing`` lists the rules. A one-hot relaxation by ``"sum"`` equals that
    architecture in evaluation mode, except where a layer norm spans an elastic width (the mask comes after it), and
    where statistics were calibrated (a relaxation has none of its own).

    Args:
        probabilities: choice name -> tensor ``(options,)``, not negative, of sum 1. They may carry gradients.
        mixing: the rule: its name, an instance, or ``module:Class``.
        rng: draws the paths.

    Raises:
        UnknownName: for an unknown rule.
        InvalidOption: for a rule that draws, without ``rng``.
    """

    probabilities: Mapping[str, Tensor]
    mixing: str | Mixing = "sum"
    rng: np.random.Generator | None = None
    _rule: Mixing = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.mixing, str | Mixing):
            raise InvalidOption(
                f"mixing={self.mixing!r} must be a rule: its name, an instance, or module:Class as text"
            )
        rule = _named(self.mixing) if isinstance(self.mixing, str) else make("running.mixing", self.mixing)
        if rule.draws and self.rng is None:
            raise InvalidOption(f"mixing={self.mixing!r} needs rng=np.random.default_rng(seed)")
        object.__setattr__(self, "_rule", rule)

    @classmethod
    def uniform(
        cls, space: ChoiceSpace, mixing: str | Mixing = "sum", rng: np.random.Generator | None = None
    ) -> Relaxed:
        """Every option as likely as every other of its choice."""
        return cls({c.name: torch.full((len(c.options),), 1 / len(c.options)) for c in space.choices}, mixing, rng)

    @classmethod
    def one_hot(cls, space: ChoiceSpace, architecture: Architecture) -> Relaxed:
        """All probability on one architecture; for inactive choices on the first option."""
        [row] = space.rows([architecture])
        sizes = zip(space.choices, row.tolist(), strict=True)
        return cls({c.name: F.one_hot(torch.tensor(k), len(c.options)).float() for c, k in sizes})

    def check(self, space: ChoiceSpace) -> None:
        """Refuse probabilities that do not fit ``space``.

        Raises:
            UnknownName: for a choice that the space does not have.
            InvalidArchitecture: for a missing choice, a wrong shape, or values that are no probabilities.
        """
        for name in self.probabilities:
            if name not in space.names:
                raise unknown("choice", name, space.names)
        for choice in space.choices:
            if choice.name not in self.probabilities:
                raise InvalidArchitecture(f"no probabilities for {choice.name!r}; Relaxed.uniform(space) gives all")
            p = self.probabilities[choice.name].detach()
            if p.shape != (len(choice.options),):
                raise InvalidArchitecture(
                    f"{choice.name!r} needs one probability for each of {len(choice.options)} options; got {p.tolist()}"
                )
            if not (bool((p >= 0).all()) and abs(float(p.sum()) - 1) < 1e-3):
                raise InvalidArchitecture(f"{choice.name!r}: {p.tolist()} are no probabilities; use a softmax")

    def draw(self, space: ChoiceSpace) -> Architecture:
        """An architecture drawn from the probabilities, choice by choice.

        Raises:
            InvalidArchitecture: where constraints forbid all of a thousand draws.
        """
        rng = self.rng if self.rng is not None else np.random.default_rng(0)
        given = [self.probabilities[c.name].detach().double().cpu().numpy() for c in space.choices]
        for _ in range(MAX_DRAWS):
            rows = np.array([[rng.choice(len(p), p=p / p.sum()) for p in given]])
            if space.valid(rows)[0]:
                return space.architectures(rows)[0]
        raise InvalidArchitecture(
            f"{MAX_DRAWS} draws in a row broke a constraint of the space; change the probabilities"
        )

    def program(
        self,
        model: nn.Module,
        structure: Structure,
        policy_tensors: Mapping[str, Tensor],
        bind: Callable[[Architecture], PlanProgram],
    ) -> Program:
        """What one call shadows; ``bind`` gives the program of an architecture.

        Raises:
            InvalidModel: where the size of images is a choice, which cannot be weighted.
        """
        self.check(structure.space)
        call = RelaxedCall(
            model, structure, policy_tensors, self.probabilities, partial(self.draw, structure.space), bind
        )
        return self._rule.program(call)


@cache
def _named(mixing: str) -> Mixing:
    """A rule by name, cached: every step makes a relaxation, and looking a name up takes longer than that."""
    found: Mixing = make("running.mixing", mixing)
    return found
