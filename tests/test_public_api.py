import importlib
import inspect

import pytest

import narrowcast


def test_all_is_sorted_and_complete():
    names = {name for names in narrowcast._HOMES.values() for name in names}
    assert narrowcast.__all__ == sorted(narrowcast.__all__)
    assert set(narrowcast.__all__) == names | {"__version__"}
    assert dir(narrowcast) == narrowcast.__all__


@pytest.mark.parametrize("name", narrowcast.__all__)
def test_every_name_resolves_and_is_documented(name):
    value = getattr(narrowcast, name)
    if name != "__version__":
        assert inspect.getdoc(value), f"{name} has no docstring"


@pytest.mark.parametrize(("module", "names"), narrowcast._HOMES.items())
def test_every_name_is_public_where_it_lives(module, names):
    assert set(names) <= set(importlib.import_module(module).__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'quantise'"):
        narrowcast.quantise  # noqa: B018


def test_every_error_of_the_tree_is_public():
    from narrowcast import errors

    ours = {name for name in errors.__all__ if name.endswith("Error")}
    assert ours <= set(narrowcast.__all__)


@pytest.mark.parametrize(
    "name",
    [
        "bench",
        "carry_out",
        "compare",
        "compare_networks",
        "diff",
        "inspect",
        "load",
        "quantize",
        "run",
        "save",
        "transcribe",
    ],
)
def test_verbs_document_what_they_raise(name):
    assert "Raises:" in inspect.getdoc(getattr(narrowcast, name))
