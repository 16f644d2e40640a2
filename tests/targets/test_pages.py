"""What holds for every page: mistakes of a page are errors, and its opsets add nothing that the page left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from narrowcast import targets
from narrowcast.targets.onnxruntime import ONNXRUNTIME, at_opset
from narrowcast.targets.rules import Target


@pytest.mark.parametrize("name", targets.NAMES)
def test_a_page_goes_by_its_name(name):
    found = targets.find(name)
    assert found.name == name
    assert found.title
    assert found.kernels
    assert "float32" in found.storage


def test_what_no_group_fuses_is_no_fusion():
    with pytest.raises(ValueError, match="HardSwish"):
        Target("odd", fuses={"Conv": frozenset({"Relu", "HardSwish"})})


@pytest.mark.parametrize("opset", [17, 23])
def test_an_opset_adds_nothing_to_a_page(opset):
    without = {name: kernel for name, kernel in ONNXRUNTIME.kernels.items() if name != "Softmax"}
    assert "Softmax" not in at_opset(replace(ONNXRUNTIME, kernels=without), opset).kernels
