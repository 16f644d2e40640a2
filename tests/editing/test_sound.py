"""Types and shapes behind an edit: worked out anew, and kept only where nothing before them has changed."""

import pytest

from narrowcast.dialect.build import Builder, dims
from narrowcast.errors import UsageError
from narrowcast.model import Model
from tests.editing import edited


@pytest.fixture
def model():
    """A Reshape by a shape that is fed, of which inference says nothing; the reader knew that it gives 4 x 2."""
    build = Builder.new("net")
    x, shape = build.input("x", (1, 8)), build.input("shape", (2,), "int64")
    y = build("Relu", x, name="before", shape=(1, 8))
    y = build("Reshape", y, shape, name="shaped", dtype="float32", shape=(4, 2))
    z = build("Neg", y, name="after", shape=(4, 2))
    return Model(build.finish([z]))


def shapes(model):
    return {value.name: dims(value) for node in model.graph for value in node.outputs}


def test_what_was_known_stays_where_nothing_before_has_changed(model):
    done = edited(
        model, {"do": "swap", "nodes": "before/Relu", "op": "Abs"}, {"do": "swap", "nodes": "after/Neg", "op": "Exp"}
    )
    assert shapes(done) == {"before": (1, 8), "shaped": (4, 2), "after": (4, 2)}


def test_what_was_known_goes_where_a_tensor_before_is_another(model):
    done = edited(model, {"do": "insert", "after": "before", "op": "Tile", "inputs": ["@", [1, 2]]})
    assert shapes(done) == {"before": (1, 8), "before/Tile": (1, 16), "shaped": None, "after": None}
    assert done.graph.outputs[0].dtype is not None


def test_what_follows_is_looked_at_where_a_type_is_another(model):
    step = {"do": "insert", "after": "before", "op": "Cast", "attributes": {"to": "bool"}}
    with pytest.raises(UsageError, match="Neg"):
        edited(model, step)
