"""Made-up supernets: strategies compared where a search is short and the space has no graph view.

Tables of cells say little about the widths, depths and kernels of a supernet. Each problem here is a space of ordinal
choices, an accuracy (diminishing returns of every choice, the weakest stage counts, pairs of choices interact, a fixed
roughness, steps of one validation image) and a latency that adds up and is measured with an error of 1 %. Everything is
drawn from the problem's own seed; nothing is fitted to anything. As in a first search of one's own the latency may be
60 % of the largest network's at most.

    python benchmarks/synthetic.py                     # all strategies, 10 seeds, 40 and 100 evaluations
    python benchmarks/synthetic.py auto linas --seeds 3 --first-seed 50
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from archsmith.evaluation import Evaluation
from archsmith.method import load
from archsmith.metric import Limit, Objective
from archsmith.pareto import hypervolume, is_non_dominated
from archsmith.space import Choice, ChoiceSpace
from archsmith.strategy.kit.variation import evolve
from archsmith.value import Value

Floats = NDArray[np.float64]
OBJECTIVES = (Objective("accuracy", "max"), Objective("latency", "min"))
BUDGETS = (40, 100)
STRATEGIES = ("auto", "linas", "tpe", "nsga2", "random")
SHARE = 0.6


def digits() -> ChoiceSpace:
    """Three stages: width, inner width, depth, and a kernel a block; 2 million designs."""
    choices = []
    for s, widths in enumerate(((8, 12, 16), (12, 18, 24), (20, 30, 40))):
        choices += [Choice(f"s{s}.width", widths), Choice(f"s{s}.inner", widths), Choice(f"s{s}.depth", (1, 2, 3))]
        whens = (None, (f"s{s}.depth", (2, 3)), (f"s{s}.depth", (3,)))
        choices += [Choice(f"s{s}.b{b}.kernel", (3, 5), when=when) for b, when in enumerate(whens)]
    return ChoiceSpace(choices)


def inverted() -> ChoiceSpace:
    """Four stages of two to four inverted bottlenecks, each with a kernel and an expansion."""
    choices = []
    for s in range(4):
        choices.append(Choice(f"s{s}.depth", (2, 3, 4)))
        for b in range(4):
            when = None if b < 2 else (f"s{s}.depth", (3, 4)) if b == 2 else (f"s{s}.depth", (4,))
            choices += [Choice(f"s{s}.b{b}.kernel", (3, 5, 7), when=when), Choice(f"s{s}.b{b}.e", (3, 4, 6), when=when)]
    return ChoiceSpace(choices)


def transformer() -> ChoiceSpace:
    """One width, a depth, and heads and a ratio a layer."""
    choices = [Choice("s0.width", (192, 256, 320, 384, 448)), Choice("s0.depth", (4, 6, 8))]
    for b in range(8):
        when = None if b < 4 else ("s0.depth", (6, 8)) if b < 6 else ("s0.depth", (8,))
        choices += [Choice(f"s0.b{b}.heads", (2, 4, 6), when=when), Choice(f"s0.b{b}.ratio", (1, 2, 3, 4), when=when)]
    return ChoiceSpace(choices)


def widths() -> ChoiceSpace:
    """Nine layers of seven widths, as pruning a network gives."""
    return ChoiceSpace([Choice(f"s{i // 3}.w{i}", (16, 24, 32, 40, 48, 56, 64)) for i in range(9)])


@dataclass(frozen=True)
class Problem:
    """A space and what is measured on it: rows ``(n, d)`` -> accuracy in percent and latency, ``(n,)`` each."""

    name: str
    space: ChoiceSpace
    measure: Callable[[NDArray[np.int16]], tuple[Floats, Floats]]


def problem(name: str, space: ChoiceSpace, seed: int, *, top: float, images: int, rough: float) -> Problem:
    """Draws what each choice is worth and costs.

    Args:
        name: of the problem.
        space: choices ``sI.NAME``, ``I`` being the stage.
        seed: of the draws.
        top: accuracy of the best, roughly, in percent.
        images: of the validation split; accuracies are multiples of one.
        rough: standard deviation in percent of what no structure explains.
    """
    rng = np.random.default_rng(seed)
    d, levels = len(space.choices), np.maximum(space.cardinalities - 1, 1)
    stage = np.array([int(c.name[1 : c.name.index(".")]) for c in space.choices])
    depth = np.array([c.name.endswith("depth") for c in space.choices])
    worth, bend = rng.gamma(2.0, 1.0, d) * (1 + 2 * depth), rng.uniform(0.5, 3.0, d)
    pairs, strength = rng.integers(0, d, (2, 2 * d)), rng.normal(0, 0.25, 2 * d)
    cost, keys = rng.gamma(2.0, 1.0, d), rng.integers(1, 2**62, d, dtype=np.uint64)
    scale = 60 / worth.sum()

    def measure(rows: NDArray[np.int16]) -> tuple[Floats, Floats]:
        active = space.active(rows)
        level = np.where(active, (rows + 1) / (levels + 1), 0.0)
        gains = worth * (1 - np.exp(-bend * level)) / (1 - np.exp(-bend))
        stages = np.stack(
            [gains[:, stage == s].sum(axis=1) / worth[stage == s].sum() for s in np.unique(stage)], axis=1
        )
        good = gains.sum(axis=1) + (level[:, pairs[0]] * level[:, pairs[1]]) @ strength
        good += 0.15 * worth.sum() * stages.min(axis=1)  # the weakest stage holds the others back
        uniform = _uniform(rows, keys)
        error = 100 - top + 20 * np.exp(-good * scale / 12) + rough * ndtri(uniform[0])
        accuracy = np.clip(np.rint((100 - error) * images / 100) * 100 / images, 0, 100)
        width = np.ones(len(rows))
        for j in np.flatnonzero([".w" in c.name for c in space.choices]):
            width *= 0.6 + 0.4 * level[:, j]
        latency = 1 + (cost * level).sum(axis=1) + 0.5 * cost.sum() * width
        return accuracy, latency * (1 + 0.01 * ndtri(uniform[1]))

    return Problem(name, space, measure)


def _uniform(rows: NDArray[np.int16], keys: NDArray[np.uint64]) -> Floats:
    """Two numbers of each row that look random and are always the same, ``(2, n)`` in (0, 1)."""
    mixed = ((rows.astype(np.uint64) + np.uint64(1)) * keys).sum(axis=1, dtype=np.uint64)
    found = []
    for _ in range(2):
        mixed ^= mixed >> np.uint64(31)
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
        found.append((mixed >> np.uint64(11)).astype(float) / 2**53)
    return np.clip(np.stack(found), 1e-9, 1 - 1e-9)


PROBLEMS = (
    problem("digits-1", digits(), 1, top=98.5, images=360, rough=0.25),
    problem("digits-2", digits(), 2, top=99.0, images=360, rough=0.15),
    problem("inverted", inverted(), 3, top=77.0, images=10000, rough=0.10),
    problem("transformer", transformer(), 4, top=85.0, images=870, rough=0.30),
    problem("widths", widths(), 5, top=93.0, images=5000, rough=0.15),
)


class Judge:
    """What counts as found: the front below the limit of a long evolution on the function itself."""

    def __init__(self, given: Problem) -> None:
        space, rng = given.space, np.random.default_rng(0)
        largest = space.rows([space.largest()])
        self.limit = SHARE * float(given.measure(largest)[1][0])

        def evaluate(rows: NDArray[np.int16]) -> tuple[Floats, Floats]:
            accuracy, latency = given.measure(rows)
            return np.stack([-accuracy, latency], axis=1), np.maximum(latency / self.limit - 1, 0.0)

        start = space.sample_rows(400, rng)
        _, costs, broken = evolve(space, start, evaluate, population=200, generations=150, crossover=0.9, rng=rng)
        costs = costs[broken == 0]
        front = costs[is_non_dominated(costs)]
        self.low, self.span = front.min(axis=0), np.ptp(front, axis=0)
        self.whole = hypervolume((front - self.low) / self.span, np.full(2, 1.1))

    def __call__(self, costs: Floats) -> tuple[float, float]:
        """The share of the hypervolume, and how many percent below the best the accuracy is."""
        costs = costs[costs[:, 1] <= self.limit]
        if not len(costs):
            return 0.0, float(self.span[0])
        share = hypervolume((costs - self.low) / self.span, np.full(2, 1.1)) / self.whole
        return float(share), float(costs[:, 0].min() - self.low[0])


def search(given: Problem, judge: Judge, strategy: str, seed: int, budgets: Sequence[int]) -> list[tuple[float, float]]:
    """The share of the hypervolume and the missing accuracy after each budget."""
    limits = (Limit("latency", "<=", judge.limit),)
    method = load("strategy", strategy)(given.space, OBJECTIVES, limits, rng=np.random.default_rng([seed, 77]))
    costs: list[list[float]] = []
    while len(costs) < max(budgets):
        [proposal] = method.ask(1)
        accuracy, latency = (float(v[0]) for v in given.measure(given.space.rows([proposal.architecture])))
        values = {"accuracy": Value(accuracy, "measured"), "latency": Value(latency, "measured")}
        method.tell([Evaluation(proposal=proposal, values=values, evaluator="synthetic")])
        costs.append([-accuracy, latency])
    return [judge(np.array(costs[:budget])) for budget in budgets]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("strategies", nargs="*", default=STRATEGIES)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--problems", nargs="*", default=[p.name for p in PROBLEMS])
    parser.add_argument("--json", help="also append every search to this file, one a line")
    options = parser.parse_args()
    for given in [p for p in PROBLEMS if p.name in options.problems]:
        judge = Judge(given)
        for strategy in options.strategies:
            seeds = range(options.first_seed, options.first_seed + options.seeds)
            found = np.array([search(given, judge, strategy, seed, BUDGETS) for seed in seeds])
            mean, error = found.mean(axis=0), found.std(axis=0) / np.sqrt(len(found))
            text = "   ".join(
                f"{b}: hypervolume {m[0]:.3f} ± {e[0]:.3f}, accuracy missing {m[1]:.2f} ± {e[1]:.2f}"
                for b, m, e in zip(BUDGETS, mean, error, strict=True)
            )
            print(f"{given.name:12} {strategy:8} {text}", flush=True)
            if options.json:
                with Path(options.json).open("a", encoding="utf-8") as file:
                    file.write(json.dumps([given.name, strategy, list(seeds), found.tolist()]) + "\n")


if __name__ == "__main__":
    main()
