"""The recurrent network that writes an architecture choice by choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from archsmith.errors import require
from archsmith.predictor import one_thread
from archsmith.space.choice_space import ChoiceSpace
from archsmith.strategy.kit.policy import one_hot_blocks
from archsmith.strategy.kit.variation import Floats, Rows

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT_RANGE = 0.1
"""Half the range of the first weights."""
LARGEST_GRADIENT = 5.0
"""Largest norm of a gradient."""


class Controller:
    """A long short-term memory with one step a choice: reads the last option, gives a softmax over the next ones.

    Before the first step it reads the weights of the objectives. Inactive choices are read as their first option and
    draw nothing.

    Args:
        space: whose choices it draws in order; conditions look back only, so that each step knows whether it counts.
        context: length of what it reads first.
        hidden: length of its state.
        rate: step of its optimiser (Adam).
        rng: for the first weights.
    """

    def __init__(self, space: ChoiceSpace, context: int, *, hidden: int, rate: float, rng: np.random.Generator) -> None:
        self._torch = torch = require("torch", extra="torch", purpose="a recurrent controller")
        self._space = space
        self._widths = space.cardinalities.tolist()
        self._starts = one_hot_blocks(space).tolist()

        def weight(*shape: int, spread: float = WEIGHT_RANGE) -> Tensor:
            drawn = rng.uniform(-spread, spread, shape).astype(np.float32)
            return torch.tensor(drawn, requires_grad=True)  # type: ignore[no-any-return]

        self._first = weight(context, hidden, spread=1.0)  # the weights of the objectives must show
        self._embedding = weight(self._starts[-1], hidden)
        self._inputs, self._recurrent = weight(hidden, 4 * hidden), weight(hidden, 4 * hidden)
        self._bias = weight(4 * hidden)
        with torch.no_grad():
            self._bias[:hidden] += 1.0  # remembers at first
        self._heads, self._head_bias = weight(hidden, self._starts[-1]), weight(self._starts[-1])
        self._recall = weight(hidden, self._starts[-1])
        self._parameters = [self._first, self._embedding, self._inputs, self._recurrent, self._bias]
        self._parameters += [self._heads, self._head_bias, self._recall]
        self._optimizer = torch.optim.Adam(self._parameters, lr=rate)

    def draw(self, contexts: Floats, rng: np.random.Generator, warmth: float = 1.0) -> Rows:
        """One row a context, ``(n, d)``, perhaps invalid; ``warmth`` above 1 makes all options more alike."""
        torch = self._torch
        rows = np.zeros((len(contexts), len(self._space.choices)), dtype=np.int16)
        with one_thread(torch), torch.no_grad():
            state = self._start(contexts)
            for j in range(rows.shape[1]):
                options = slice(self._starts[j], self._starts[j + 1])
                scores = (state[0] @ self._heads[:, options] + self._head_bias[options]).numpy() / warmth
                rows[:, j] = np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)
                rows[:, j] *= self._space.active(rows)[:, j]
                places = torch.from_numpy(rows[:, j].astype(np.int64) + self._starts[j])
                state = self._stepped(state, self._embedding[places] @ self._inputs)
        return rows

    def states(self, rows: Rows, contexts: Floats) -> NDArray[np.float32]:
        """The hidden state after the last choice of each of ``rows (n, d)``: ``(n, hidden)``."""
        with one_thread(self._torch), self._torch.no_grad():
            return np.asarray(self._read(rows, contexts)[0].numpy())

    def learn(self, rows: Rows, contexts: Floats, advantages: Floats, *, entropy: float, recalled: int) -> None:
        """One step of REINFORCE: rows with a positive advantage become more likely.

        Args:
            rows: ``(n, d)``; those after the first ``k`` are there to be recalled only.
            contexts: what was read before each was written, ``(n, context)``.
            advantages: of the first ``k``, ``(k,)``.
            entropy: weight of the policy's entropy.
            recalled: how many rows at the end are recalled: their options are to be read off the last hidden state.
        """
        torch = self._torch
        with one_thread(torch):
            last, logs, unsure = self._read(rows, contexts)
            k = len(rows) - recalled
            gain = (torch.tensor(advantages, dtype=torch.float32) * logs[:k] + entropy * unsure[:k]).mean()
            if recalled:
                gain = gain + self._recollection(last[k:], rows[k:])
            self._optimizer.zero_grad()
            (-gain).backward()
            torch.nn.utils.clip_grad_norm_(self._parameters, LARGEST_GRADIENT)
            self._optimizer.step()

    def _recollection(self, last: Tensor, rows: Rows) -> Tensor:
        """Mean log-probability with which a linear layer reads the active options of ``rows`` off their last states."""
        torch = self._torch
        active = torch.from_numpy(self._space.active(rows).astype(np.float32))
        scores = torch.split(last @ self._recall, self._widths, dim=1)
        logs = [
            torch.log_softmax(of_choice, dim=1).gather(1, torch.from_numpy(rows[:, [j]].astype(np.int64)))
            for j, of_choice in enumerate(scores)
        ]
        mean: Tensor = (torch.cat(logs, dim=1) * active).sum() / active.sum().clamp(min=1.0)
        return mean

    def _read(self, rows: Rows, contexts: Floats) -> tuple[Tensor, Tensor, Tensor]:
        """Last hidden states ``(n, hidden)``, log-probabilities ``(n,)`` and entropies ``(n,)`` of given rows."""
        torch = self._torch
        active = torch.from_numpy(self._space.active(rows).astype(np.float32))
        places = torch.from_numpy((rows + np.array(self._starts[:-1])).astype(np.int64))
        # Of all steps at once; only the recurrence is one after the other.
        read = self._embedding[places] @ self._inputs
        heads = torch.split(self._heads, self._widths, dim=1)
        biases = torch.split(self._head_bias, self._widths)
        state = self._start(contexts)
        logs, unsure = torch.zeros(len(rows)), torch.zeros(len(rows))
        for j, start in enumerate(self._starts[:-1]):
            options = torch.log_softmax(state[0] @ heads[j] + biases[j], dim=1)
            chosen = options.gather(1, places[:, j : j + 1] - start)[:, 0]
            logs = logs + active[:, j] * chosen
            unsure = unsure - active[:, j] * (options.exp() * options).sum(dim=1)
            state = self._stepped(state, read[:, j])
        return state[0], logs, unsure

    def _start(self, contexts: Floats) -> tuple[Tensor, Tensor]:
        torch = self._torch
        given = torch.tensor(contexts, dtype=torch.float32)
        zero = torch.zeros(len(given), self._first.shape[1])
        return self._stepped((zero, zero), given @ self._first @ self._inputs)

    def _stepped(self, state: tuple[Tensor, Tensor], read: Tensor) -> tuple[Tensor, Tensor]:
        torch = self._torch
        hidden, cell = state
        gates = read + hidden @ self._recurrent + self._bias
        keep, write, show = torch.sigmoid(gates[:, : 3 * hidden.shape[1]]).chunk(3, dim=1)
        cell = keep * cell + write * torch.tanh(gates[:, 3 * hidden.shape[1] :])
        return show * torch.tanh(cell), cell
