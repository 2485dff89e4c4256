"""The contract of a strategy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from archsmith.architecture import Proposal
from archsmith.errors import InvalidOption
from archsmith.evaluation import Evaluation
from archsmith.method import Method
from archsmith.metric import Limit, Objective
from archsmith.space.base import Space


@dataclass(frozen=True)
class Handles:
    """What a strategy can be asked to do; checked before a search starts.

    Args:
        objectives: the largest number of objectives, ``None`` for any.
        rows: whether it needs a ``ChoiceSpace``, whose architectures are rows of option indices.
    """

    objectives: int | None = None
    rows: bool = False


class Strategy(Method):
    """Proposes architectures. Never sees a module, a store, a clock or the total budget.

    Deterministic in ``rng`` and the history of calls. Every strategy is built as
    ``Strategy(space, objectives, limits, rng=rng, **options)``.
    """

    handles: ClassVar[Handles]

    @abstractmethod
    def __init__(
        self, space: Space, objectives: Sequence[Objective], limits: Sequence[Limit] = (), *, rng: np.random.Generator
    ) -> None: ...

    @abstractmethod
    def ask(self, n: int) -> list[Proposal]:
        """Up to ``n`` proposals worth evaluating next.

        Fewer or none while evaluations are outstanding means waiting for them; none with nothing
        outstanding means finished.
        """

    @abstractmethod
    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Learn from evaluations: in any order, any number, asked for or not, failed or not."""


class Recalling(Strategy):
    """A strategy that can be put back to where it stood without the work of asking.

    Its proposals depend on the calls so far and on its one generator alone, and only asking moves the generator.
    Whatever else an ask changes, :meth:`recall` changes too. A search that goes on recalls all asks but the last, and
    repeats that one.
    """

    @property
    @abstractmethod
    def generator(self) -> np.random.Generator:
        """The only source of randomness."""

    @abstractmethod
    def recall(self, n: int, given: Sequence[Proposal]) -> None:
        """Take note that ``ask(n)`` gave these proposals; the generator is in the state that it had then.

        The state afterwards does not matter: the caller sets the generator to where the ask left it.
        """


def proposals(result: Any, *, of: Strategy) -> list[Proposal]:
    """What a strategy's ``ask`` gave, checked: the strategy may be the user's own.

    Raises:
        InvalidOption: when it is anything but a list of proposals.
    """
    odd = [x for x in result if not isinstance(x, Proposal)] if isinstance(result, list | tuple) else [result]
    if odd:
        raise InvalidOption(
            f"{type(of).__module__}:{type(of).__qualname__} proposed {odd[0]!r:.80}; its ask(n) "
            "gives a list of archsmith.architecture.Proposal, an empty one where it has nothing to propose"
        )
    return list(result)
