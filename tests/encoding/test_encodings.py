"""Every encoding of the folder: decode undoes encode, and what is inactive is told from the first option."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsmith import method
from archsmith.encoding.base import InvertibleEncoding
from archsmith.space import Choice, ChoiceSpace, Subset
from archsmith.testing.random_spaces import choice_spaces

INVERTIBLE = [
    name for name in method.names("encoding") if issubclass(method.load("encoding", name), InvertibleEncoding)
]


@pytest.mark.parametrize("name", INVERTIBLE)
class TestEveryInvertibleEncoding:
    @given(space=choice_spaces(), seed=st.integers(0, 9))
    def test_decode_undoes_encode(self, name, space, seed):
        encoding = method.make("encoding", name, space)
        rows = space.sample_rows(20, np.random.default_rng(seed))
        vectors = encoding.encode(rows)
        assert vectors.dtype == np.float32
        assert vectors.shape == (20, len(encoding.names))
        np.testing.assert_array_equal(encoding.decode(vectors), rows)
        np.testing.assert_array_equal(encoding.decode(vectors + 0.05), rows)

    @given(space=choice_spaces())
    def test_different_rows_have_different_vectors(self, name, space):
        rows = space.enumerate_rows()
        vectors = method.make("encoding", name, space).encode(rows)
        assert len(np.unique(vectors, axis=0)) == len(rows)

    def test_no_rows(self, name):
        encoding = method.make("encoding", name, ChoiceSpace([Choice("a", (1, 2))]))
        assert encoding.encode(np.zeros((0, 1), dtype=np.int16)).shape == (0, len(encoding.names))


SPACE = ChoiceSpace(
    [
        Choice("depth", (1, 2, 3)),
        Choice("kernel", (3, 5), when=("depth", (2, 3))),
        Subset("heads", ("a", "b", "c"), 2),
    ]
)
ROWS = np.array([[0, 0, 0], [1, 0, 2], [2, 1, 1]], dtype=np.int16)


def test_one_hot_is_zero_where_inactive_and_k_hot_for_subsets():
    encoding = method.make("encoding", "one_hot", SPACE)
    assert encoding.names == [
        "depth=1", "depth=2", "depth=3", "kernel=3", "kernel=5", "heads=a", "heads=b", "heads=c",
    ]  # fmt: skip
    np.testing.assert_array_equal(
        encoding.encode(ROWS),
        [[1, 0, 0, 0, 0, 1, 1, 0], [0, 1, 0, 1, 0, 0, 1, 1], [0, 0, 1, 0, 1, 1, 0, 1]],
    )


def test_ordinal_runs_from_0_to_1_and_is_minus_1_where_inactive():
    encoding = method.make("encoding", "ordinal", SPACE)
    np.testing.assert_array_equal(encoding.encode(ROWS), [[0, -1, 0], [0.5, 0, 1], [1, 1, 0.5]])
