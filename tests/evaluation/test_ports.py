import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from narrowcast.errors import ModelFileError
from narrowcast.evaluation.ports import feed_for, outputs_as_source
from narrowcast.writers.formats import Port, Written

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, max_side=5)


@given(data=st.data(), shape=SHAPES)
def test_what_goes_in_permuted_comes_back(data, shape):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    port = Port("x", tuple(data.draw(st.permutations(range(len(shape))))))
    stored = feed_for(Written((port,), ()), {"x": array, "unused": array})
    assert list(stored) == ["x"]
    assert stored["x"].flags.c_contiguous
    np.testing.assert_array_equal(stored["x"], array.transpose(port.permutation))
    np.testing.assert_array_equal(outputs_as_source((port,), stored)["x"], array)


@given(
    array=hnp.arrays(np.float32, 12, elements=st.floats(-3, 3, width=32)),
    kind=st.sampled_from(["int8", "uint8", "int16"]),
    scale=st.floats(1 / 32, 2),
    zero=st.integers(0, 127),
)
def test_real_values_come_back_within_half_a_step_or_at_the_end_of_the_range(array, kind, scale, zero):
    port = Port("x", None, scale, zero, kind)
    stored = feed_for(Written((port,), ()), {"x": array})["x"]
    assert stored.dtype == kind
    info = np.iinfo(kind)
    reachable = np.clip(array, (info.min - zero) * scale, (info.max - zero) * scale)
    found = outputs_as_source((port,), {"x": stored})["x"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reachable, atol=scale * 0.5 + 1e-4)


def test_halves_round_to_even():
    port = Port("x", None, 1.0, 0, "int8")
    assert feed_for(Written((port,), ()), {"x": np.array([0.5, 1.5, -0.5])})["x"].tolist() == [0, 2, 0]


def test_integers_that_are_no_quantised_reals_stay():
    ids = np.array([[3, 9]])
    assert feed_for(Written((Port("ids", dtype="int32"),), ()), {"ids": ids})["ids"] is ids
    classes = np.array([4], np.int32)
    assert outputs_as_source((Port("class", dtype="int32"),), {"class": classes})["class"] is classes


def test_scalars_stay_scalars():
    assert feed_for(Written((Port("rate"),), ()), {"rate": np.float32(3)})["rate"].shape == ()


def test_a_missing_output_is_named():
    with pytest.raises(ModelFileError, match=r"no output 'y' \(it has 'z'\)"):
        outputs_as_source((Port("y"),), {"z": np.zeros(1)})
