"""One run of a model in which the dimensions of tensors are followed through every operator.

The model runs as it is, on tensors without memory where it can and on real ones where it cannot (control flow that
depends on values); so every model that runs can be followed. Integers among its attributes are marked for the run, and
where a mark reaches a reshape, the attribute is known to be the size of that dimension.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary, WeakIdRef

from archsmith.discovery.dimensions import Algebra, Dim
from archsmith.discovery.marks import Attribute, Marks
from archsmith.discovery.operators.base import Call, Dims, Operators
from archsmith.errors import InvalidModel
from archsmith.graph.readers.kit.recorder import Inputs, meta_copy, on_meta, record
from archsmith.method import load, names
from archsmith.structure.passing import PLAIN_TYPES, Place, StandIn, places, stand_in_of


@dataclass
class ModuleCall:
    """One call of a module.

    Args:
        entered: dimensions of every tensor that went in, by its place.
        left: dimensions of the first tensor that came out, or ``None`` where there was none.
        stand_in: how its output could be built from its inputs, see :mod:`archsmith.structure.passing`; ``None`` where
            that is impossible.
        made: dimensions of its output tensors after the first that are no inputs.
        needed: which of them were read afterwards.
        objects: ``id`` of its inputs that are neither tensors nor plain values, such as a cache.
        serials: number of each input tensor, by place, and under ``()`` of the first output tensor; one tensor, one
            number.
    """

    entered: dict[Place, Dims]
    left: Dims | None = None
    stand_in: StandIn | None = None
    made: list[Dims] = field(default_factory=list)
    needed: set[int] = field(default_factory=set)
    objects: frozenset[int] = frozenset()
    serials: dict[Place, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One operator call: its name, the module that made it, and the dimensions of its first output."""

    name: str
    module: str
    dims: Dims


@dataclass
class Trace:
    """The result of one run.

    Attributes:
        algebra: what is equal to what.
        tensors: parameter or buffer -> its dimensions.
        attributes: attribute of a module -> every dimension whose size it was.
        calls: module -> its calls, in order.
        operations: in order.
        added: modules whose output, scaled or dropped out at most, is added to something else, in order.
        unknown: operators that no family knows -> how often they ran.
        on: the device of the run: ``"meta"``, or the model's own.
        trains: whether it ran in training mode too.
    """

    algebra: Algebra
    tensors: dict[str, Dims] = field(default_factory=dict)
    attributes: dict[Attribute, list[Dim]] = field(default_factory=dict)
    calls: dict[str, list[ModuleCall]] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    added: dict[str, None] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    on: str = "meta"
    trains: bool = True


def trace(model: nn.Module, inputs: Inputs) -> Trace:
    """Follow one call of ``model``, which stays as it is.

    Raises:
        InvalidModel: where the model does not run on these inputs.
    """
    try:
        return _Run(meta_copy(model), "meta").follow(on_meta(inputs))
    except Exception:  # noqa: BLE001 - a model may fail without values in any way; with values it must run
        pass
    try:
        with torch.random.fork_rng():
            return _Run(copy.deepcopy(model).eval(), "").follow(inputs)
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        raise InvalidModel(
            f"the model does not run on the example inputs: {type(error).__name__}: {said}. Give inputs of one call, "
            "a tensor, a tuple of positional inputs or a dict by name, on the model's device"
        ) from error


class _Run:
    """Follows one call of a copy of the model."""

    def __init__(self, model: nn.Module, on: str) -> None:
        self._model = model
        self.trace = Trace(Algebra(), on=on)
        self._known: Any = WeakIdKeyDictionary(ref_type=WeakIdRef)
        self._path = [""]
        self._given: list[list[tuple[Place, Any]]] = []
        self._outputs_of: Any = WeakIdKeyDictionary(ref_type=WeakIdRef)
        self._made_by: Any = WeakIdKeyDictionary(ref_type=WeakIdRef)
        self._serials: Any = WeakIdKeyDictionary(ref_type=WeakIdRef)
        self._numbers = itertools.count()
        self._constants: list[Tensor] = []

    def follow(self, inputs: Inputs) -> Trace:
        """The trace of one call in evaluation mode, and of one in training mode where the model has that."""
        algebra = self.trace.algebra
        for name, tensor in _named_tensors(self._model):
            if tensor not in self._known:
                self._known[tensor] = algebra.dims(tensor.shape)
            self.trace.tensors[name] = self._known[tensor]
        for leaf in tree_leaves(inputs):
            if isinstance(leaf, Tensor) and leaf not in self._known:
                self._known[leaf] = algebra.dims(leaf.shape, "it is a size of the inputs")
                self._constants.append(leaf)
        marks = Marks(self._model, algebra, self.dims)
        with _assigned_buffers(self._model) as assigned:
            self._run(inputs, marks)
            self._train(inputs, marks)
        for tensor in assigned:
            for dim in self.dims(tensor):
                algebra.freeze(dim, "a module assigns this buffer when it runs, and would keep the value of a subnet")
        for tensor in [*self._model.parameters(), *self._model.buffers()]:
            for atom in algebra.atoms(self.dims(tensor)):
                if not atom.used:
                    algebra.freeze([(atom,)], "nothing reads it in a call like the example")
        self.trace.attributes = marks.found
        return self.trace

    def _run(self, inputs: Inputs, marks: Marks) -> None:
        outputs = record(self._model, inputs, self, within=marks)
        self._read(t for t in tree_leaves(outputs) if isinstance(t, Tensor))
        for tensor in fixed_outputs(outputs):
            for dim in self.dims(tensor):
                self.trace.algebra.freeze(dim, "it is a size of the outputs")

    def _train(self, inputs: Inputs, marks: Marks) -> None:
        """Follow modules that only training uses (auxiliary heads) too; their calls and operators are not kept."""
        calls, operations = self.trace.calls, self.trace.operations
        self.trace.calls, self.trace.operations = {}, []
        self._model.train()
        try:
            self._run(inputs, marks)
        except Exception:  # noqa: BLE001 - some models want targets in training, some norms more than one value
            self.trace.trains = False
        finally:
            self._model.eval()
            self._path, self._given = [""], []
            self.trace.calls, self.trace.operations = calls, operations

    def dims(self, tensor: Tensor) -> Dims:
        """The dimensions of a tensor; fixed ones for a tensor of unknown origin."""
        if tensor not in self._known:
            self._known[tensor] = self.trace.algebra.dims(tensor.shape, "it belongs to a tensor that is no parameter")
            self._constants.append(tensor)
        found: Dims = self._known[tensor]
        return found

    def operator(self, function: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """Follow one operator call."""
        outputs = [t for t in (result if isinstance(result, list | tuple) else [result]) if isinstance(t, Tensor)]
        if not outputs:
            return
        call = Call(name, _bound(function._schema, args, kwargs), outputs, self.trace.algebra, self.dims)
        family = families().get(name) or families().get(name.rstrip("_"))
        if family is None and torch.Tag.pointwise in function.tags:
            family = families()["clone"]
        found = list(family.apply(call)) if family is not None else []
        right = [self._fits(dims, t) for dims, t in zip(found, outputs, strict=False)]
        if len(right) < len(outputs) or not all(right):
            self.trace.unknown[name] = self.trace.unknown.get(name, 0) + 1
            reason = f"the operator {name} cannot be followed"
            for tensor in call.tensors:
                call.freeze(self.dims(tensor), reason)
            found = [call.fixed(t.shape, reason) for t in outputs]
        for tensor, dims in zip(outputs, found, strict=False):
            self._known[tensor] = dims
        for tensor in call.tensors:
            for i, dim in enumerate(self.dims(tensor)):
                if not (name == "slice" and i == call["dim"] % tensor.ndim):
                    self.trace.algebra.use(dim)
        self._read(call.tensors)
        self._follow_outputs(name, function, call, outputs[0])
        self.trace.operations.append(Operation(name, self._path[-1], found[0]))

    def _follow_outputs(self, name: str, function: Any, call: Call, output: Tensor) -> None:
        """Note whose outputs an elementwise result is computed from, and which of them are added to something else."""
        if torch.Tag.pointwise not in function.tags and name not in ("clone", "native_dropout"):
            return
        sources = [self._outputs_of.get(t, frozenset()) for t in call.tensors]
        if name in ("add", "add_") and len(sources) == 2:
            self.trace.added |= dict.fromkeys(sorted(sources[0] ^ sources[1]))
        self._outputs_of[output] = frozenset().union(*sources)

    def _serial(self, tensor: Tensor) -> int:
        """The number of a tensor."""
        number: int = self._serials.setdefault(tensor, next(self._numbers))
        return number

    def _read(self, tensors: Iterable[Tensor]) -> None:
        """Note that something depends on these tensors."""
        if self._made_by:
            for tensor in tensors:
                for call, number in self._made_by.get(tensor, ()):
                    call.needed.add(number)

    def _fits(self, dims: Dims, tensor: Tensor) -> bool:
        sizes = [self.trace.algebra.size(d) for d in dims]
        return sizes == list(tensor.shape)

    def entered(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """A module is called."""
        given = places(args, kwargs)
        entered = {place: self.dims(t) for place, t in given if isinstance(t, Tensor)}
        serials = {place: self._serial(t) for place, t in given if isinstance(t, Tensor)}
        objects = frozenset(id(x) for _, x in given if not isinstance(x, Tensor | PLAIN_TYPES))
        self.trace.calls.setdefault(name, []).append(ModuleCall(entered, objects=objects, serials=serials))
        self._path.append(name)
        self._given.append(given)

    def left(self, name: str, output: Any) -> None:
        """A module has returned."""
        self._path.pop()
        found, call = stand_in_of(output, self._given.pop()), self.trace.calls[name][-1]
        if found is not None:
            call.stand_in, stream, made = found
            call.left, call.serials[()] = self.dims(stream), self._serial(stream)
            self._outputs_of[stream] = self._outputs_of.get(stream, frozenset()) | {name}
            call.made = [self.dims(tensor) for tensor in made]
            for i, tensor in enumerate(made):
                self._made_by[tensor] = (*self._made_by.get(tensor, ()), (call, i))


class _Buffers(dict[str, Any]):
    """The buffers of a module; it notes assignments."""

    def __init__(self, buffers: Mapping[str, Any], assigned: list[Tensor]) -> None:
        super().__init__(buffers)
        self._assigned = assigned

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(self.get(name), Tensor):
            self._assigned.append(self[name])
        super().__setitem__(name, value)


@contextmanager
def _assigned_buffers(model: nn.Module) -> Iterator[list[Tensor]]:
    """The buffers that modules assign to; they are restored at the end."""
    assigned: list[Tensor] = []
    before = [(module, module._buffers) for module in model.modules()]
    for module, buffers in before:
        module.__dict__["_buffers"] = _Buffers(buffers, assigned)
    try:
        yield assigned
    finally:
        for module, buffers in before:
            module.__dict__["_buffers"] = buffers


@cache
def families() -> Mapping[str, Operators]:
    """Operator name -> the family that knows it."""
    found: dict[str, Operators] = {}
    for key in names("discovery.operators"):
        family: Operators = load("discovery.operators", key)()
        found |= dict.fromkeys(family.names, family)
    return found


def _bound(schema: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, with defaults."""
    found = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    found |= {a.name: value for a, value in zip(schema.arguments, args, strict=False)}
    return found | dict(kwargs)


def _named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def fixed_outputs(outputs: Any) -> list[Tensor]:
    """The tensors whose sizes users rely on: all that come out, or the logits alone where a model names them.

    Outputs beside logits (hidden states, caches) are as wide as the subnet.
    """
    named = outputs if isinstance(outputs, Mapping) else opened(outputs)
    if isinstance(named, Mapping) and isinstance(named.get("logits"), Tensor):
        return [named["logits"]]
    return [t for t in tree_leaves(named) if isinstance(t, Tensor)]


def opened(outputs: Any) -> Any:
    """The fields of a dataclass; everything else as it is."""
    return vars(outputs) if hasattr(outputs, "__dataclass_fields__") else outputs
