"""The contract of an operator family: how its operators relate the dimensions of their inputs and outputs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from archsmith.discovery.dimensions import Algebra, Dim
from archsmith.method import Method

Dims = list[Dim]


class Call:
    """One operator call of a traced run.

    Attributes:
        name: of the operator without overload, such as ``"convolution"``.
        arguments: by the names of the operator's schema, defaults included.
        outputs: the tensors that came out, in order.
        algebra: in which dimensions are equated.
        dims: gives the dimensions of an input tensor.
    """

    def __init__(
        self,
        name: str,
        arguments: Mapping[str, Any],
        outputs: Sequence[Tensor],
        algebra: Algebra,
        dims_of: Callable[[Tensor], Dims],
    ) -> None:
        self.name, self.arguments, self.outputs = name, arguments, outputs
        self.algebra, self.dims = algebra, dims_of

    def __getitem__(self, argument: str) -> Any:
        return self.arguments[argument]

    @property
    def tensors(self) -> list[Tensor]:
        """All input tensors, those in lists too."""
        found: list[Tensor] = []
        for value in self.arguments.values():
            found.extend(t for t in (value if isinstance(value, list | tuple) else [value]) if isinstance(t, Tensor))
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return tuple(self.outputs[0].shape)

    def freeze(self, dims: Sequence[Dim], reason: str) -> None:
        """Forbid ``dims`` to vary."""
        for dim in dims:
            self.algebra.freeze(dim, reason)

    def fixed(self, shape: Sequence[int], reason: str) -> Dims:
        """Dimensions of ``shape`` that cannot vary."""
        return self.algebra.dims(shape, reason)

    def broadcast(self, *operands: Sequence[Dim]) -> Dims:
        """Dimensions aligned from the right and equated, as elementwise operators do."""
        found: Dims = []
        for i in range(1, max((len(o) for o in operands), default=0) + 1):
            here = [o[-i] for o in operands if len(o) >= i]
            wide = [d for d in here if self.algebra.size(d) != 1]
            for other in wide[1:]:
                self.algebra.unify(wide[0], other)
            found.insert(0, wide[0] if wide else here[0])
        return found


class Operators(Method):
    """Knows one family of operators, by their names without overloads."""

    names: ClassVar[frozenset[str]]

    @abstractmethod
    def apply(self, call: Call) -> Sequence[Dims]:
        """The dimensions of every output tensor, after equating those of the inputs.

        The tracer freezes an output that is missing here or has wrong sizes, together with all inputs.
        """


def axis(dim: int, rank: int) -> int:
    """A dimension counted from 0."""
    return dim % rank if rank else 0
