"""What is offered is proved.

Every choice alone, the smallest architecture and random ones run as the trace foretells, and the coupling of every
atom holds in numbers.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from archsmith.architecture import Architecture, Option
from archsmith.plan import Plan
from archsmith.supernet._observing import Observer
from archsmith.supernet._shadow import PlanProgram, Shadow
from archsmith.supernet._structure import Structure
from archsmith.supernet.axes import Axis, Numbers, Width
from archsmith.supernet.blocks import Blocks, Branch
from archsmith.supernet.discovery import Discovered
from archsmith.supernet.passing import answering
from archsmith.supernet.shapes import ANCHORS, Memory, Shapes
from archsmith.supernet.tracing import Inputs, Trace, fixed_outputs, meta_copy, on_meta, slow_attention
from archsmith.supernet.units import reorder, zero_dropped

RANDOM = 20
"""Random architectures that run before a space is offered."""
TOLERANCE = 1e-10
"""Of the coupling law in double precision, relative to the largest output."""
TOLERANCE_SINGLE = 1e-4
"""Where a model computes in single precision whatever its inputs are."""


@dataclass(frozen=True)
class Fault:
    """A choice that was proved wrong, and why."""

    choice: str
    reason: str


class Prover:
    """Proves structures of one model.

    Args:
        model: stays as it is.
        inputs: of one call.
        trace: of that call.
    """

    def __init__(self, model: nn.Module, inputs: Inputs, trace: Trace) -> None:
        self._model, self._inputs, self._trace = model, inputs, trace
        if trace.on == "meta":
            self._copy, self._given = meta_copy(model), on_meta(inputs)
        else:
            self._copy, self._given = copy.deepcopy(model).eval(), inputs
        self._shadow = Shadow(self._copy)
        self._memory: Memory = {}
        self._largest: dict[bool, list[tuple[int, ...]]] = {}
        self._right: set[tuple[str, tuple[Option, ...]]] = set()

    def fault(self, discovered: Discovered, structure: Structure) -> list[Fault]:
        """Choices that must not be offered so; none where everything holds."""
        runs = _Runs(self, discovered, structure)
        return self._alone(runs, structure) or runs.together() or self._in_numbers(discovered, structure)

    def _alone(self, runs: _Runs, structure: Structure) -> list[Fault]:
        """What was right stays so while others are dropped: an architecture of one small choice has no other."""
        found = []
        for choice in structure.space.choices:
            if (choice.name, choice.options) not in self._right:
                if why := runs.wrong({choice.name}):
                    found.append(Fault(choice.name, why))
                else:
                    self._right.add((choice.name, choice.options))
        return found

    # Shapes ------------------------------------------------------------------------------------------------------

    def wrong(self, plan: Plan, expected: Sequence[tuple[int, ...]]) -> str:
        """Why a subnet does not run as foretold, or ``""``."""
        program = PlanProgram(self._copy, plan, {})
        try:
            with self._shadow.running(program), Shapes(self._memory) as anchors:
                outputs = self._plainly(self._copy, self._given)
        except Exception as error:  # noqa: BLE001 - whatever a model raises at other sizes is the answer
            return f"it does not run: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        wanted = self._outputs_of_largest()
        if _shapes(outputs) != wanted:
            return f"the outputs have the shapes {_shapes(outputs)} instead of {wanted}"
        if len(anchors.shapes) == len(expected):
            for i, (found, foretold) in enumerate(zip(anchors.shapes, expected, strict=True)):
                if found != foretold:
                    return f"operator {i} ({anchors.names[i]}) gives {found} where {foretold} was foretold"
        return ""

    def unlearnable(self, structure: Structure, numbers: Numbers) -> str:
        """Why no gradient can be computed: something writes into a tensor that is needed for it; or ``""``."""
        weights = [p for p in self._copy.parameters() if p.requires_grad]
        try:
            with torch.enable_grad(), self._shadow.running(PlanProgram(self._copy, structure.plan(numbers), {})):
                outputs = [t for t in tree_leaves(self._copy(*self._given[0], **self._given[1])) if _learned(t)]
                if outputs and weights:
                    torch.autograd.grad(outputs, weights, [torch.ones_like(t) for t in outputs], allow_unused=True)
        except Exception as error:  # noqa: BLE001 - a model that does not learn for another reason is its own affair
            return "it cannot be trained: what follows writes into its output" if "inplace" in str(error) else ""
        return ""

    def _outputs_of_largest(self) -> list[tuple[int, ...]]:
        training = self._copy.training
        if training not in self._largest:
            with Shapes(self._memory):
                self._largest[training] = _shapes(self._plainly(self._copy, self._given))
        return self._largest[training]

    def _plainly(self, model: nn.Module, inputs: Inputs) -> Any:
        with torch.no_grad(), slow_attention():
            return model(*inputs[0], **inputs[1])

    # Numbers -----------------------------------------------------------------------------------------------------

    def _in_numbers(self, discovered: Discovered, structure: Structure) -> list[Fault]:
        """Permuted units change nothing; zeroed units are dropped units; blocks that are left out pass things on."""
        if any(t.device.type == "meta" for t in (*self._model.parameters(), *self._model.buffers())):
            return []
        inputs: Inputs = tree_map(_double, self._inputs)
        try:
            law = _Law(copy.deepcopy(self._model).eval().double(), _one(inputs), structure)
        except Exception:  # noqa: BLE001 - not every model takes every batch size
            law = _Law(copy.deepcopy(self._model).eval().double(), inputs, structure)
        widths = [w for _, w in discovered.widths.values()]
        if found := law.culprits(widths, law.permuted):
            return [Fault(w.atom, f"permuting its units changes the outputs by {gap:.2g}") for w, gap in found]
        exact = [w for m, w in discovered.widths.values() if not m.atom.spanned]
        blocks = list(discovered.blocks.items())
        if law.smaller(exact, blocks) <= law.tolerance:
            return []
        found = law.culprits(exact, lambda some: law.smaller(some, []))
        wrong = [(b, gap) for b in blocks if (gap := law.smaller([], [b])) > law.tolerance]
        return [
            *(Fault(w.atom, f"zeroing its units is not dropping them: {gap:.2g}") for w, gap in found),
            *(Fault(b.name, f"blocks left out are not blocks that pass things on: {gap:.2g}") for (_, b), gap in wrong),
        ]


def _learned(thing: Any) -> bool:
    return isinstance(thing, Tensor) and thing.requires_grad


class _Runs:
    """Runs the architectures of one structure without memory."""

    def __init__(self, prover: Prover, discovered: Discovered, structure: Structure) -> None:
        self._prover, self._structure, self._space = prover, structure, structure.space
        self._largest = structure.space.largest().to_dict()
        self._blocks = discovered.blocks
        self._anchors = [
            (o.module, [discovered.axis(d) or prover._trace.algebra.size(d) for d in o.dims])
            for o in prover._trace.operations
            if o.name in ANCHORS
        ]

    def wrong(self, small: set[str]) -> str:
        """Why the architecture in which ``small`` have their first option does not run, or ``""``."""
        first = {c.name: c.options[0] for c in self._space.choices}
        return self.runs(self._space.architecture({**self._largest, **{n: first[n] for n in small if n in first}}))

    def runs(self, architecture: Architecture) -> str:
        """Why an architecture does not run as foretold, or ``""``."""
        numbers = self._structure.numbers(architecture)
        plan = self._structure.plan(numbers)
        return self._prover.wrong(plan, list(self._foretold(numbers, plan.skipped)))

    def _foretold(self, numbers: Numbers, dropped: Sequence[str]) -> Iterator[tuple[int, ...]]:
        inside = tuple(f"{d}." for d in dropped)
        for module, dims in self._anchors:
            if not f"{module}.".startswith(inside):
                yield tuple(d.size(numbers) if isinstance(d, Axis) else d for d in dims)

    def together(self) -> list[Fault]:
        """The first architecture that fails although every choice alone is right, reduced to one choice."""
        rng = np.random.default_rng(0)
        for architecture in [self._space.smallest(), *self._space.sample(RANDOM, rng)]:
            if why := self.runs(architecture):
                return [self._reduced(architecture, why)]
        if self._prover._trace.trains:
            with _training(self._prover._copy):
                if why := self.runs(self._space.smallest()):
                    return [self._reduced(self._space.smallest(), f"in training mode, {why}")]
                return self._unlearnable()
        return []

    def _unlearnable(self) -> list[Fault]:
        """Depths that end a container in what the rest of the network writes into, such as ``x += shortcut``.

        Only those are tried that end it in a block of another kind than the whole container's.
        """
        ends = [e for path, b in self._blocks.items() if isinstance(b, Blocks) and (e := self._other_ends(path, b))]

        def faults(some: Sequence[tuple[str, Any]]) -> list[Fault]:
            """The culprits, by halving."""
            architecture = self._space.architecture({**self._largest, **dict(some)})
            why = self._prover.unlearnable(self._structure, self._structure.numbers(architecture))
            if not why or len(some) == 1:
                return [Fault(some[0][0], why)] if why else []
            half = len(some) // 2
            return [*faults(some[:half]), *faults(some[half:])]

        if not ends or self._prover.unlearnable(self._structure, self._structure.numbers(self._space.largest())):
            return []
        rounds = [[e for e in together if e is not None] for together in zip_longest(*ends)]
        return list({f.choice: f for some in rounds for f in faults(some)}.values())

    def _other_ends(self, path: str, blocks: Blocks) -> list[tuple[str, Any]]:
        """The choice and its options under which the last block is of another kind than the last of all."""
        container = self._prover._copy.get_submodule(path)
        kinds = {c: [type(m) for m in container.get_submodule(c).modules()] for c in blocks.children}
        last = [[c for c in blocks.children if c not in blocks.dropped(n)][-1] for n in range(len(blocks.options))]
        offered = blocks.name in self._largest
        return [
            (blocks.name, o)
            for o, c in zip(blocks.options, last, strict=True)
            if offered and kinds[c] != kinds[last[-1]]
        ]

    def _reduced(self, architecture: Architecture, why: str) -> Fault:
        """Choices go back to their largest option, many at a time first, while the architecture still fails."""
        values = {**self._largest, **architecture.to_dict()}
        small = [n for n, v in values.items() if v != self._largest[n]]
        step = max(len(small) // 2, 1)
        while step:
            for start in range(0, len(small), step):
                back = {n: self._largest[n] for n in small[start : start + step]}
                if len(back) < len([n for n, v in values.items() if v != self._largest[n]]) and (
                    found := self.runs(self._space.architecture({**values, **back}))
                ):
                    values, why = {**values, **back}, found
            small = [n for n, v in values.items() if v != self._largest[n]]
            step = min(step // 2, len(small))
        rest = f" together with {', '.join(small[1:])}" if small[1:] else ""
        return Fault(small[0], why + rest)


class _Law:
    """The coupling law on a copy in double precision."""

    def __init__(self, model: nn.Module, inputs: Inputs, structure: Structure) -> None:
        self._model, self._structure = model, structure
        self._tensors = [*model.parameters(), *model.buffers()]
        self._values = [t.detach().clone() for t in self._tensors]
        self._shadow = Shadow(model)
        self._inputs = inputs
        with _Precision() as precision:
            self._expected = self._outputs()
        self.tolerance = TOLERANCE if precision.double else TOLERANCE_SINGLE

    def _outputs(self) -> list[Tensor]:
        with torch.no_grad(), torch.random.fork_rng(), slow_attention():
            torch.manual_seed(0)
            outputs = self._model(*self._inputs[0], **self._inputs[1])
        return [t for t in fixed_outputs(outputs) if t.is_floating_point()]

    def culprits(self, widths: Sequence[Width], gap: Callable[[Sequence[Width]], float]) -> list[tuple[Width, float]]:
        """The atoms whose law does not hold, found by halving."""
        if not widths:
            return []
        whole = gap(widths)
        if whole <= self.tolerance:
            return []
        if len(widths) == 1:
            return [(widths[0], whole)]
        half = len(widths) // 2
        return [*self.culprits(widths[:half], gap), *self.culprits(widths[half:], gap)]

    def permuted(self, widths: Sequence[Width]) -> float:
        """How far the outputs are off with the units of ``widths`` in another order."""
        rng = np.random.default_rng(0)
        with self._restored():
            reorder(self._model, self._structure.declared, {w: rng.permutation(w.full) for w in widths})
            return _gap(self._outputs(), self._expected)

    def smaller(self, widths: Sequence[Width], blocks: Sequence[tuple[str, Blocks | Branch]]) -> float:
        """How far dropping units and blocks is from units of zeros and blocks that return their input.

        Atoms that share a choice are dropped together.
        """
        choices = {w.choice for w in widths}
        alike = {w: w.options[0] for w in self._structure.widths if w.choice in choices}
        numbers = self._structure.numbers(self._structure.space.largest())
        numbers |= dict.fromkeys([*choices, *(b.name for _, b in blocks)], 0)
        with self._shadow.running(PlanProgram(self._model, self._structure.plan(numbers), {})):
            dropped = self._outputs()
        passing = {
            f"{path}.{child}" if path else child: answering(*b.passing[child], _unchanged)
            for path, b in blocks
            if isinstance(b, Blocks)
            for child in b.dropped(0)
        }
        passing |= {path: answering(*b.passing, torch.zeros_like) for path, b in blocks if isinstance(b, Branch)}
        with self._restored():
            zero_dropped(self._model, self._structure.declared, alike)
            try:
                for name, forward in passing.items():
                    self._model.get_submodule(name).__dict__["forward"] = forward
                return _gap(self._outputs(), dropped)
            finally:
                for name in passing:
                    self._model.get_submodule(name).__dict__.pop("forward", None)

    @contextmanager
    def _restored(self) -> Iterator[None]:
        try:
            yield
        finally:
            with torch.no_grad():
                for tensor, value in zip(self._tensors, self._values, strict=True):
                    tensor.copy_(value)


class _Precision(Observer):  # type: ignore[no-untyped-call]
    """Sees whether everything is computed in double precision; some models cast as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.double = True

    def seen(self, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:  # noqa: ARG002
        if isinstance(result, Tensor) and result.is_floating_point() and result.dtype != torch.float64:
            self.double = False


@contextmanager
def _training(model: nn.Module) -> Iterator[None]:
    model.train()
    try:
        yield
    finally:
        model.eval()


def _unchanged(stream: Tensor) -> Tensor:
    return stream


def _double(x: Any) -> Any:
    return x.double() if isinstance(x, Tensor) and x.is_floating_point() else x


def _one(inputs: Inputs) -> Inputs:
    """The first item of a batch, where all tensors that go in have as many: what holds for one holds for all."""
    sizes = {t.shape[:1] for t in tree_leaves(inputs) if isinstance(t, Tensor)}
    return tree_map(lambda x: x[:1] if isinstance(x, Tensor) else x, inputs) if len(sizes) == 1 else inputs


def _shapes(outputs: Any) -> list[tuple[int, ...]]:
    return [tuple(t.shape) for t in fixed_outputs(outputs)]


def _gap(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference relative to the largest output; infinite for other shapes."""
    worst = 0.0
    for ours, theirs in zip(found, expected, strict=True):
        if ours.shape != theirs.shape:
            return float("inf")
        if ours.numel():
            scale = float(theirs.abs().max().clamp_min(1e-300))
            worst = max(worst, float((ours - theirs).abs().max()) / scale)
    return float("inf") if math.isnan(worst) else worst
