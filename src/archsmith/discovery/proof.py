"""Proving what is offered.

Every choice alone, the smallest architecture and random ones run as the trace predicts, and the coupling of every
atom holds in numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from archsmith.architecture import Architecture, Option
from archsmith.discovery.coupling import Law
from archsmith.discovery.discovered import Discovered
from archsmith.discovery.tracing import Trace, fixed_outputs
from archsmith.graph.readers.kit.recorder import Inputs, meta_copy, on_meta, slow_attention
from archsmith.graph.readers.kit.shapes import ANCHORS, Memory, Shapes, Tables
from archsmith.plan import Plan
from archsmith.running.shadow import PlanProgram, Shadow
from archsmith.structure.axes import Axis, Numbers
from archsmith.structure.blocks import Blocks
from archsmith.structure.resolution import Resolution
from archsmith.structure.structure import Structure

RANDOM_ARCHITECTURES = 20
"""How many random architectures must run before a space is offered."""
NOT_PREDICTED = -1
"""Stands for a size that is not predicted."""


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
        """Choices that must not be offered; none where the proof succeeds."""
        runs = _Runs(self, discovered, structure)
        return self._alone(runs, structure) or runs.together() or self._in_numbers(discovered, structure)

    def _alone(self, runs: _Runs, structure: Structure) -> list[Fault]:
        """Prove each choice alone, once: the result does not depend on other choices being dropped."""
        found = []
        for choice in structure.space.choices:
            if (choice.name, choice.options) not in self._right:
                if structure.resolution is not None and choice.name == structure.resolution.name:
                    found += runs.sizes_of_images(structure.resolution)
                elif why := runs.wrong({choice.name}):
                    found.append(Fault(choice.name, why))
                else:
                    self._right.add((choice.name, choice.options))
        return found

    # Shapes ------------------------------------------------------------------------------------------------------

    def wrong(self, plan: Plan, expected: Sequence[tuple[int, ...]]) -> str:
        """Why a subnet does not run as predicted, or ``""``."""
        program = PlanProgram(self._copy, plan, {})
        try:
            with self._shadow.running(program), redirect_stderr(StringIO()), Shapes(self._memory) as anchors:
                outputs = self._plainly(self._copy, self._given)
        except Exception as error:  # noqa: BLE001 - whatever a model raises at other sizes is the reason
            return f"it does not run: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        wanted = self._outputs_of_largest()
        if _shapes(outputs) != wanted:
            return f"the outputs have the shapes {_shapes(outputs)} instead of {wanted}"
        if len(anchors.shapes) == len(expected):
            for i, (found, predicted) in enumerate(zip(anchors.shapes, expected, strict=True)):
                if len(found) != len(predicted) or any(
                    b not in (a, NOT_PREDICTED) for a, b in zip(found, predicted, strict=True)
                ):
                    return f"operator {i} ({anchors.names[i]}) gives {found} where {predicted} was predicted"
        return ""

    def anchored(self, plan: Plan) -> tuple[list[tuple[int, ...]], list[tuple[str, tuple[int, ...]]]]:
        """The output shapes of anchors in a subnet, and the shapes of what is read out of tables of the model."""
        tables = Tables(self._memory, dict(self._copy.named_parameters()) | dict(self._copy.named_buffers()))
        with self._shadow.running(PlanProgram(self._copy, plan, {})), tables:
            self._plainly(self._copy, self._given)
        return tables.shapes, tables.read

    def unlearnable(self, structure: Structure, numbers: Numbers) -> str:
        """Why no gradient can be computed (an operator overwrites a tensor that it needs), or ``""``."""
        weights = [p for p in self._copy.parameters() if p.requires_grad]
        try:
            with (
                torch.enable_grad(),
                redirect_stderr(StringIO()),
                self._shadow.running(PlanProgram(self._copy, structure.plan(numbers), {})),
            ):
                outputs = [t for t in tree_leaves(self._copy(*self._given[0], **self._given[1])) if _learned(t)]
                if outputs and weights:
                    torch.autograd.grad(outputs, weights, [torch.ones_like(t) for t in outputs], allow_unused=True)
        except Exception as error:  # noqa: BLE001 - a model that does not learn for another reason is its own affair
            return "it cannot be trained: a later operator writes into its output" if "inplace" in str(error) else ""
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
        """Permuting units changes nothing; zeroing units is dropping them; blocks left out pass their input on."""
        if any(t.device.type == "meta" for t in (*self._model.parameters(), *self._model.buffers())):
            return []
        inputs: Inputs = tree_map(_double, self._inputs)
        try:
            law = Law(copy.deepcopy(self._model).eval().double(), _one(inputs), structure)
        except Exception:  # noqa: BLE001 - not every model takes every batch size
            law = Law(copy.deepcopy(self._model).eval().double(), inputs, structure)
        widths = [w for _, w in discovered.widths.values()]
        for law_here in (law, *law.at_smaller_images()):
            if found := law_here.culprits(widths, law_here.permuted):
                return [Fault(w.atom, f"permuting its units changes the outputs by {gap:.2g}") for w, gap in found]
        exact = [w for m, w in discovered.widths.values() if not m.atom.spanned]
        blocks = list(discovered.blocks.items())
        if law.smaller(exact, blocks) <= law.tolerance:
            return []
        found = law.culprits(exact, lambda some: law.smaller(some, []))
        wrong = [(b, gap) for b in blocks if (gap := law.smaller([], [b])) > law.tolerance]
        return [
            *(Fault(w.atom, f"zeroing its units is not dropping them: {gap:.2g}") for w, gap in found),
            *(
                Fault(b.name, f"blocks that are left out do not equal blocks that pass their input on: {gap:.2g}")
                for (_, b), gap in wrong
            ),
        ]


def _scaled(dim: Axis | int, size: int, numbers: Numbers) -> int:
    """A dimension in a subnet, given its ``size`` in the largest network at another size of images."""
    if isinstance(dim, int):
        return size
    if size == dim.full:
        return dim.size(numbers)
    product = len(dim.segments) == 1 and dim.size(numbers) * size % dim.full == 0
    return dim.size(numbers) * size // dim.full if product else NOT_PREDICTED


def _learned(thing: Any) -> bool:
    return isinstance(thing, Tensor) and thing.requires_grad


class _Runs:
    """Runs the architectures of one structure without memory."""

    def __init__(self, prover: Prover, discovered: Discovered, structure: Structure) -> None:
        self._prover, self._structure, self._space = prover, structure, structure.space
        self._largest = structure.space.largest().to_dict()
        self._blocks = discovered.blocks
        self._bases: dict[int, list[tuple[int, ...]]] = {}
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
        """Why an architecture does not run as predicted, or ``""``."""
        numbers = self._structure.numbers(architecture)
        plan = self._structure.plan(numbers)
        return self._prover.wrong(plan, list(self._predicted(numbers, plan.skipped)))

    def _predicted(self, numbers: Numbers, dropped: Sequence[str]) -> Iterator[tuple[int, ...]]:
        inside = tuple(f"{d}." for d in dropped)
        resolution = self._structure.resolution
        whole = resolution is None or numbers[resolution.name] == len(resolution.options) - 1
        base = None if whole else self._base(numbers)
        for i, (module, dims) in enumerate(self._anchors):
            if not f"{module}.".startswith(inside):
                if base is None:
                    yield tuple(d.size(numbers) if isinstance(d, Axis) else d for d in dims)
                elif len(base) == len(self._anchors):
                    yield tuple(_scaled(d, size, numbers) for d, size in zip(dims, base[i], strict=True))

    def _base(self, numbers: Numbers) -> list[tuple[int, ...]]:
        """The output shapes of anchors in the largest network at a smaller size of images."""
        resolution = self._structure.resolution
        assert resolution is not None
        number = numbers[resolution.name]
        if number not in self._bases:
            largest = {**self._largest, resolution.name: resolution.options[number]}
            plan = self._structure.plan(self._structure.numbers(self._space.architecture(largest)))
            self._bases[number] = self._prover.anchored(plan)[0]
        return self._bases[number]

    def sizes_of_images(self, resolution: Resolution) -> list[Fault]:
        """Sizes of images at which the network does not run, gives other outputs, or reads parts of its tables."""
        faults = []
        read = self._prover.anchored(Plan())[1]
        for height in resolution.options[:-1]:
            arch = self._space.architecture({**self._largest, resolution.name: height})
            plan = self._structure.plan(self._structure.numbers(arch))
            why = self._prover.wrong(plan, [])
            pairs = [] if why else zip(read, self._prover.anchored(plan)[1], strict=False)
            if other := next((one for one, two in pairs if one != two), None):
                why = f"another part of {other[0]} is read, whose entries stand for positions in images of full size"
            if why:
                faults.append(Fault(resolution.option(height), why))
        return faults

    def together(self) -> list[Fault]:
        """The first architecture that fails although every choice alone is right, reduced to one choice."""
        rng = np.random.default_rng(0)
        for architecture in [self._space.smallest(), *self._space.sample(RANDOM_ARCHITECTURES, rng)]:
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

        Only depths are tried at which the last block is of another class than at full depth.
        """
        ends = [e for path, b in self._blocks.items() if isinstance(b, Blocks) and (e := self._other_ends(path, b))]

        def faults(some: Sequence[tuple[str, Any]]) -> list[Fault]:
            """The depths at fault, found by halving."""
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
        """The choice and its options under which the last block is of another class than at full depth."""
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
        """Set choices back to their largest option, many at a time first, as long as the architecture still fails."""
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


@contextmanager
def _training(model: nn.Module) -> Iterator[None]:
    model.train()
    try:
        yield
    finally:
        model.eval()


def _double(x: Any) -> Any:
    return x.double() if isinstance(x, Tensor) and x.is_floating_point() else x


def _one(inputs: Inputs) -> Inputs:
    """The first item of a batch, where all input tensors have the same batch size: one item is enough for the proof."""
    sizes = {t.shape[:1] for t in tree_leaves(inputs) if isinstance(t, Tensor)}
    return tree_map(lambda x: x[:1] if isinstance(x, Tensor) else x, inputs) if len(sizes) == 1 else inputs


def _shapes(outputs: Any) -> list[tuple[int, ...]]:
    return [tuple(t.shape) for t in fixed_outputs(outputs)]
