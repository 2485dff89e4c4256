"""What every architecture encoding must do.

Subclass the suite with the name of yours::

class TestMine(EncodingConformance):
    name = "mypackage.mine:Mine"
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from archsmith import method
from archsmith.encoding.base import Encoding
from archsmith.space import Choice, ChoiceSpace, Node, Wiring, from_json


def wired_space() -> ChoiceSpace:
    """A space of 480 architectures whose graphs have conditions, links, missing operators and identities."""
    operators = ("none", "hand on", "conv", "pool")
    return ChoiceSpace(
        [
            Choice("stem", operators, "categorical"),
            Choice("left", operators, "categorical"),
            Choice("right", ("hand on", "conv", "pool"), "categorical"),
            Choice("reads", ("stem", "left"), "categorical"),
            Choice("depth", (1, 2)),
            Choice("tail.kernel", (3, 5), when=("depth", (2,))),
            Choice("tail.width", (1, 2), when=("depth", (2,))),
        ],
        name="wired",
        wiring=Wiring(
            (
                Node("stem", ("stem",), none=("none",), identity=("hand on",)),
                Node("left", ("left",), none=("none",), identity=("hand on",)),
                Node("right", ("right",), ("stem", "left"), link="reads", identity=("hand on",)),
                Node("tail", ("tail.kernel", "tail.width"), ("stem", "right")),
            ),
            ("left", "tail"),
        ),
    )


def deep_space(blocks: int = 12) -> ChoiceSpace:
    """A chain of elastic depth, too large to be enumerated."""
    conditions = [None, *(("depth", tuple(range(i, blocks + 1))) for i in range(2, blocks + 1))]
    kernels = [Choice(f"kernel{i}", (3, 5, 7, 9), when=when) for i, when in enumerate(conditions)]
    chain = ["input", *(f"block{i}" for i in range(blocks))]
    return ChoiceSpace(
        [Choice("depth", tuple(range(1, blocks + 1))), *kernels],
        name="deep",
        wiring=Wiring(tuple(Node(chain[i + 1], (f"kernel{i}",), (chain[i],)) for i in range(blocks))),
    )


class EncodingConformance:
    """The tests; pytest runs those of each subclass.

    Attributes:
        name: of the encoding, or ``module:Class``.
    """

    __test__ = False
    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """Have pytest collect subclasses, and not this class where it is imported."""
        super().__init_subclass__()
        cls.__test__ = True

    def options(self, space: ChoiceSpace) -> dict[str, Any]:
        """Of the encoding, for ``space``; override it where there are some without a default."""
        del space
        return {}

    def encoding(self, space: ChoiceSpace) -> Encoding:
        """A new encoding of ``space``."""
        made: Encoding = method.make("encoding", self.name, space, **self.options(space))
        return made

    def rows(self, space: ChoiceSpace, n: int = 50) -> NDArray[np.int16]:
        """Random rows, the same every time."""
        return space.sample_rows(n, np.random.default_rng(0))

    def test_one_named_column_each(self) -> None:
        """Names differ, values are float32, and nothing is infinite."""
        for space in (wired_space(), deep_space()):
            encoding = self.encoding(space)
            vectors = encoding.encode(self.rows(space))
            assert vectors.dtype == np.float32
            assert vectors.shape == (50, len(encoding.names))
            assert len(set(encoding.names)) == len(encoding.names)
            assert not np.isinf(vectors).any()

    def test_no_rows(self) -> None:
        space = wired_space()
        encoding = self.encoding(space)
        assert encoding.encode(self.rows(space)[:0]).shape == (0, len(encoding.names))

    def test_a_vector_depends_on_its_own_row_only(self) -> None:
        """In company, in any order, in any whole type of numbers."""
        space = wired_space()
        encoding, rows = self.encoding(space), self.rows(space)
        vectors = encoding.encode(rows)
        np.testing.assert_array_equal(encoding.encode(rows[::-1].astype(np.int64))[::-1], vectors)
        np.testing.assert_array_equal(np.concatenate([encoding.encode(rows[i : i + 1]) for i in range(5)]), vectors[:5])

    def test_built_again_it_is_the_same(self) -> None:
        """Also from a space that was written down and read back."""
        space = wired_space()
        again = from_json(space.to_json())
        assert isinstance(again, ChoiceSpace)
        first, second = self.encoding(space), self.encoding(again)
        assert first.names == second.names
        np.testing.assert_array_equal(first.encode(self.rows(space)), second.encode(self.rows(space)))

    def test_leaves_its_rows_alone_and_gives_vectors_of_ones_own(self) -> None:
        space = wired_space()
        encoding, rows = self.encoding(space), self.rows(space)
        vectors = encoding.encode(rows)
        kept = vectors.copy()
        vectors[:] = -1
        np.testing.assert_array_equal(rows, self.rows(space))
        np.testing.assert_array_equal(encoding.encode(rows), kept)

    def test_names_are_ones_own(self) -> None:
        encoding = self.encoding(wired_space())
        encoding.names.clear()
        assert encoding.names
