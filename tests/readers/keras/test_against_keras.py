"""Every layer, network and application, against the Keras that saved it."""

from __future__ import annotations

import numpy as np
import pytest

from .applications import APPLICATIONS
from .cases import LAYERS
from .functions import FUNCTIONS
from .networks import NETWORKS
from .running import load, run

FILES = [
    pytest.param(generation, case.name, suffix, id=f"keras{generation}-{case.name}-{suffix}")
    for case in [*LAYERS, *NETWORKS, *FUNCTIONS, *APPLICATIONS]
    for generation in case.generations
    for suffix in case.formats
]


@pytest.mark.parametrize(("generation", "name", "suffix"), FILES)
def test_computes_what_keras_computes(producers, generation: int, name: str, suffix: str) -> None:
    folder = producers.wait(generation)
    path = folder / f"{name}.{suffix}"
    assert path.exists(), (folder / "failed.txt").read_text()
    arrays = np.load(path.with_suffix(".npz"))
    feeds = [arrays[f"in{index}"] for index in range(sum(key.startswith("in") for key in arrays))]
    wanted = [arrays[f"out{index}"] for index in range(sum(key.startswith("out") for key in arrays))]
    deep = name.startswith("application")
    for batch in (len(feeds[0]),) if deep else (len(feeds[0]), "dynamic"):
        model = load(path, batch=batch)
        made = run(model, feeds)
        assert len(made) == len(wanted)
        for ours, theirs, spec in zip(made, wanted, model.outputs, strict=True):
            scale = float(np.abs(theirs).max()) if deep else 1.0
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * scale)
            assert spec.shape == (ours.shape if batch != "dynamic" else (None, *ours.shape[1:]))


def test_every_case_could_be_saved(producers) -> None:
    for generation in (2, 3):
        assert (producers.wait(generation) / "failed.txt").read_text() == ""
