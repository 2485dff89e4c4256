"""ONNX files of subnets cut out of the largest network's, many times faster than exporting each.

The largest network is exported once. A subnet's file has the same nodes without those of the modules that do not run;
its weights are the slices that the plan makes of the supernet's; and the numbers that forward methods wrote into the
graph (sizes of reshapes, groups, scales) are formulas of sizes of the plan. The formulas are found by exporting a few
probe subnets directly, and proved on others: file against file, number by number, and by running them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from math import inf
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from archsmith.architecture import Architecture
from archsmith.errors import UserError
from archsmith.export.onnx_tools.by_position import positional
from archsmith.export.onnx_tools.comparing import difference
from archsmith.export.onnx_tools.onnx_file import OnnxFile
from archsmith.export.slicing.assembly import Assembly
from archsmith.export.slicing.cutting import cut
from archsmith.export.slicing.folding import plain
from archsmith.export.slicing.onnx_graph import Graph, NotSliceable, OnnxNode, exported
from archsmith.export.slicing.pairing import Pairing
from archsmith.export.slicing.symbolic_sizes import Doubtful, Key, Search, Sizes
from archsmith.export.slicing.template import Numbers
from archsmith.progress import SILENT, Reporter

__all__ = ["Doubtful", "NotSliceable", "SlicedExport", "Subnets"]

POOL_SUBNETS = 48
"""How many random subnets the probe subnets are chosen from."""
PROBE_SUBNETS = 10
"""How many subnets at most are exported to find the formulas of the numbers."""
PROVED_IN_A_ROW = 3
"""How many random subnets in a row must equal their direct export."""
MAX_EXPORTS = 24
"""How many exports are made at most."""
FORMS_KEPT = 64
"""For how many sets of running modules the nodes are cached."""
RELATIVE_TOLERANCE = 1e-6
"""Relative difference up to which floating-point numbers in a graph count as equal."""


class SubnetPieces(Protocol):
    """The parts of a subnet, under names of the largest network; see :class:`archsmith.running.extraction.Pieces`."""

    @property
    def tensors(self) -> Mapping[str, Tensor]: ...

    @property
    def attributes(self) -> Mapping[str, Mapping[str, Any]]: ...

    @property
    def dropped(self) -> tuple[str, ...]: ...

    @property
    def silenced(self) -> tuple[str, ...]: ...

    @property
    def switched(self) -> tuple[str, ...]: ...


class Subnets(Protocol):
    """What this module needs from a supernet."""

    @property
    def largest(self) -> Architecture:
        """The largest one."""

    @property
    def smallest(self) -> Architecture:
        """The smallest one."""

    def random(self, rng: np.random.Generator, /) -> Architecture:
        """A random one."""

    def extract(self, arch: Architecture, /, *, calibrated: bool = True) -> nn.Module:
        """One as a network of its own."""

    def pieces(self, arch: Architecture, /, *, calibrated: bool = True) -> SubnetPieces:
        """The parts of one, without copies."""


class SlicedExport:
    """Makes ONNX files of the subnets of one supernet for one shape of inputs.

    Args:
        subnets: a supernet.
        inputs: tensors of one call, for which all files are made.
        names: of the inputs, where the network takes them by name.
        seed: of the subnets on which it is proved.
        reporter: gets progress.

    Raises:
        NotSliceable: when files cut out of the largest are not those of a direct export, with the reason.
    """

    def __init__(
        self,
        subnets: Subnets,
        inputs: tuple[Any, ...],
        names: Sequence[str] = (),
        *,
        seed: int = 0,
        reporter: Reporter = SILENT,
    ) -> None:
        self._subnets, self._inputs, self._names = subnets, inputs, tuple(names)
        self._forms: OrderedDict[Any, Assembly] = OrderedDict()
        self.exports = 0
        rng = np.random.default_rng(seed)
        pool = {
            a.key: a for a in (subnets.largest, subnets.smallest, *(subnets.random(rng) for _ in range(POOL_SUBNETS)))
        }
        self._pool = list(pool.values())
        pieces = [subnets.pieces(a, calibrated=False) for a in self._pool]
        reporter.progress("exporting the largest network and a few others")
        self._graph = self._template(pieces)
        self._rows = [self._sizes(p) for p in pieces]
        self._numbers, self._looked = Numbers(self._graph), [0]
        self._learn()
        self._prove(rng)
        del self._numbers, self._rows  # arrays of all exported subnets

    def __call__(self, arch: Architecture) -> bytes:
        """The file of a subnet with the supernet's weights as they are now.

        Raises:
            Doubtful: where two formulas fit all exported subnets and differ in this one.
            NotSliceable: for one whose file would be larger than 2 GiB.
        """
        return self._file(self._subnets.pieces(arch))

    # Learning ----------------------------------------------------------------------------------------------------

    def _template(self, pool: Sequence[SubnetPieces]) -> Graph:
        """The largest network's graph; also notes what is needed to read the others'."""
        if switched := sorted({name for p in pool for name in p.switched}):
            raise NotSliceable(f"{switched[0]} holds one of several modules, and the largest network has but one")
        network = self._subnets.extract(self._subnets.largest, calibrated=False)
        dropped = dict.fromkeys(name for p in pool for name in (*p.dropped, *p.silenced))
        marked = [n for n in dropped if _there(network, n)]
        self._whole = {
            (module, attribute): getattr(network.get_submodule(module), attribute)
            for p in pool
            for module, attributes in p.attributes.items()
            for attribute in attributes
        }
        self._silent = any(p.silenced for p in pool)
        return self._exported(network, marked)

    def _exported(self, network: nn.Module, marked: Sequence[str] = ()) -> Graph:
        self.exports += 1
        with torch.no_grad():
            return plain(exported(network, self._inputs, names=self._names, marked=marked))

    @cached_property
    def _zeros(self) -> Graph | None:
        """The graph that replaces a branch that is left out: it returns zeros."""
        return plain(exported(nn.Hardshrink(inf), (torch.ones(2),))) if self._silent else None

    def _learn(self) -> None:
        """Export probe subnets until each number's formula is certain for the whole pool."""
        for row in dict.fromkeys((min(1, len(self._pool) - 1), *Sizes(self._rows).probes(PROBE_SUBNETS))):
            if row:
                self._look(row)
        while (doubted := self._solve()) is not None and self.exports < MAX_EXPORTS - PROVED_IN_A_ROW:
            self._look(doubted)

    def _prove(self, rng: np.random.Generator) -> None:
        """Export random subnets until some in a row equal their cut files."""
        right = 0
        while right < PROVED_IN_A_ROW:
            arch = self._subnets.random(rng)
            pieces = self._subnets.pieces(arch, calibrated=False)
            network = self._subnets.extract(arch, calibrated=False)
            graph = self._exported(network)
            try:
                wrong = self._wrong(pieces, graph, network)
                right = 0 if wrong else right + 1
            except Doubtful as doubt:
                wrong = str(doubt)
            if not wrong:
                continue
            if self.exports >= MAX_EXPORTS:
                raise NotSliceable(f"after {self.exports} exports there are still subnets that come out wrong: {wrong}")
            self._pool.append(arch)
            self._rows.append(self._sizes(pieces))
            self._look(len(self._pool) - 1, graph)
            self._solve()

    def _look(self, row: int, graph: Graph | None = None) -> None:
        """Export a subnet directly and note its numbers."""
        pieces = self._subnets.pieces(self._pool[row], calibrated=False)
        if graph is None:
            graph = self._exported(self._subnets.extract(self._pool[row], calibrated=False))
        self._looked.append(row)
        for number, _, other in self._paired(pieces, graph)[0]:
            if number >= 0:
                self._numbers.see(len(self._looked) - 1, number, other)

    def _paired(
        self, pieces: SubnetPieces, graph: Graph
    ) -> tuple[list[tuple[int, OnnxNode, OnnxNode]], dict[str, str]]:
        """Pairs of nodes, cut and exported, with their number in the largest graph; and pairs of names of weights."""
        mine, numbers = cut(self._graph, pieces.dropped, pieces.silenced, self._zeros)
        at = {id(node): i for node, i in zip(mine.nodes, numbers, strict=True)}
        at |= {id(node): len(self._graph.nodes) + i for i, node in enumerate(mine.outputs)}
        pairs = Pairing(mine, graph)
        return [(at[id(one)], one, other) for one, other in pairs.nodes], pairs.weights

    def _solve(self) -> int | None:
        """Find the formulas of the numbers; returns the row that would settle most doubts, or ``None``."""
        search = Search(Sizes(self._rows), self._looked)
        tensors = [_Arrays(self._subnets.pieces(self._pool[row], calibrated=False)) for row in self._looked]
        self._makers = self._numbers.makers(search, tensors)
        self._forms.clear()
        if not search.doubts:
            return None
        tells = np.sum(search.doubts, axis=0)
        return int(np.argmax(tells)) if tells.any() else None

    def _wrong(self, pieces: SubnetPieces, graph: Graph, network: nn.Module) -> str:
        """How a subnet's file differs from its direct export; empty where it does not."""
        sizes, arrays = self._sizes(pieces), _Arrays(pieces)
        nodes, weights = self._paired(pieces, graph)
        for number, one, other in nodes:
            makers = self._makers.get(number, {})
            for name, attribute in one.attributes.items():
                try:
                    value = makers[name](sizes, arrays) if name in makers else attribute.value
                except KeyError as error:
                    return f"{name} of {one.op} follows {error}, which does not run"
                if not _equal(value, other.attributes[name].value):
                    return f"{name} of {one.op} is {_shown(value)} and should be {_shown(other.attributes[name].value)}"
        state = {**dict(network.named_parameters(remove_duplicate=False)), **dict(network.named_buffers())}
        for mine, theirs in weights.items():
            if not torch.equal(pieces.tensors[mine], state[theirs]):
                return f"the weight {mine} is another"
        try:
            found = OnnxFile(self._file(pieces))(*self._inputs)
        except UserError as error:
            return str(error)
        with torch.no_grad():
            apart = difference(positional(network, self._names)(*self._inputs), found)
        return "" if apart.equal else f"outputs differ by {apart.relative:.2g} of the largest"

    # Making ------------------------------------------------------------------------------------------------------

    def _file(self, pieces: SubnetPieces) -> bytes:
        form = pieces.dropped, pieces.silenced
        if form not in self._forms:
            graph, numbers = cut(self._graph, *form, self._zeros)
            self._forms[form] = Assembly(graph, numbers, self._makers, len(self._graph.nodes))
            if len(self._forms) > FORMS_KEPT:
                self._forms.popitem(last=False)
        try:
            return self._forms[form](self._sizes(pieces), pieces.tensors, _Arrays(pieces))
        except KeyError as error:
            raise Doubtful(f"a number of its file follows {error}, which does not run") from error

    def _sizes(self, pieces: SubnetPieces) -> dict[Key, int]:
        """Every size of a subnet, by its place."""
        found: dict[Key, int] = {
            (name, i, -1): size for name, tensor in pieces.tensors.items() for i, size in enumerate(tensor.shape)
        }
        without = tuple(f"{name}." for name in (*pieces.dropped, *pieces.silenced))
        for (module, attribute), whole in self._whole.items():
            if not f"{module}.".startswith(without):
                value = pieces.attributes.get(module, {}).get(attribute, whole)
                for i, number in enumerate(value if isinstance(value, tuple | list) else (value,)):
                    if isinstance(number, int):
                        found[module, attribute, i] = number
        return found


def _there(network: nn.Module, name: str) -> bool:
    try:
        network.get_submodule(name)
    except AttributeError:
        return False
    return True


class _Arrays(Mapping[str, NDArray[Any]]):
    """Tensors of a subnet as arrays, made on first use."""

    def __init__(self, pieces: SubnetPieces) -> None:
        self._tensors = pieces.tensors

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._tensors[name].detach().cpu().numpy()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _equal(one: Any, other: Any) -> bool:
    if not isinstance(one, np.ndarray):
        return bool(one == other)
    if one.shape != other.shape or one.dtype.kind != "f":
        return np.array_equal(one, other)
    return np.allclose(one, other, rtol=RELATIVE_TOLERANCE, atol=0, equal_nan=True)


def _shown(value: Any) -> str:
    return str(value.tolist() if isinstance(value, np.ndarray) and value.size < 9 else getattr(value, "shape", value))
