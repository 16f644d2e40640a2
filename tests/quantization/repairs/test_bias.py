"""Bias correction: the mean error of a layer's output is taken back, in every scheme, with and without a bias."""

from __future__ import annotations

import json

import numpy as np
import pytest

import narrowcast
from narrowcast import quantization, targets
from narrowcast.errors import UsageError
from narrowcast.evaluation import trials
from narrowcast.evaluation.judge import Judge
from narrowcast.model import ir
from narrowcast.passes.prepare import adapt
from narrowcast.quantization.repairs import REPAIRS, Evidence, repaired
from narrowcast.quantization.repairs.layers import layers_of
from tests.quantization.repairs.networks import LAYERS, network

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("scheme", ["int8", "dynamic_range"])
@pytest.mark.parametrize("layer", LAYERS)
def test_the_mean_error_of_a_layer_is_gone(layer, scheme, tmp_path):
    floats, feeds = network(tmp_path, layer, RANDOM)
    target = targets.find("litert")
    adapt(floats, target)
    made = quantization.quantize(floats, scheme, target, feeds=feeds[:16])
    layers = layers_of(made, floats, target)
    assert layers or (layer == "ConvTranspose" and scheme == "dynamic_range")  # which has no such kernel
    for found in layers:  # two steps down throughout: weights with a mean error
        stored = found.weights.inputs[0]
        stored.const_value = ir.Tensor(np.clip(stored.const_value.numpy().astype(int) - 2, -127, 127).astype(np.int8))
    judge = Judge(floats, feeds[16:])
    better = repaired(made, "bias", Evidence(floats, target, lambda count: feeds[:count]))
    gained = judge.of(better).mean - judge.of(made).mean
    assert gained > 3 if layers else gained >= 0


def test_repaired_files_pass_their_proof(tmp_path):
    floats, feeds = network(tmp_path, "Conv", RANDOM)
    plain = narrowcast.quantize(floats, "int8", data=feeds)
    made = narrowcast.quantize(floats, "int8", data=feeds, repairs=["bias"])
    assert narrowcast.save(made, tmp_path / "m.tflite", data=feeds).parity.sqnr_db > 30
    assert made.provenance.options["repairs"] == ["bias"]
    assert "repairs" not in plain.provenance.options


def test_the_table_of_names_is_the_table_of_repairs():
    assert tuple(REPAIRS) == trials.REPAIRS


def test_an_unknown_repair_is_named(tmp_path):
    floats, feeds = network(tmp_path, "Gemm", RANDOM)
    with pytest.raises(UsageError, match="unknown repair 'bais'") as caught:
        narrowcast.quantize(floats, "int8", data=feeds, repairs=["bais"])
    assert "bias" in caught.value.hint


@pytest.mark.parametrize("name", [name for name, row in REPAIRS.items() if row.stage == "integers"])
def test_what_changes_nothing_says_so(name, tmp_path):
    floats, feeds = network(tmp_path, "Conv", np.random.default_rng(0))
    for scheme in ("float32", "float16", "int8"):
        made = narrowcast.quantize(floats, scheme, data=feeds, repairs=[name])
        said = f"the repair {name} found nothing to change" in json.loads(made.ir.metadata_props[quantization.NOTES])
        assert said == (scheme != "int8")


@pytest.mark.parametrize("repairs", [[], ["gptq", "bias"]])
def test_progress_is_told_by_place_and_not_by_name(repairs, tmp_path):
    floats, feeds = network(tmp_path, "Conv", np.random.default_rng(0))
    told = []
    narrowcast.quantize(floats, "int8", data=feeds, repairs=repairs, progress=lambda *words: told.append(words))
    assert all(len(words) == 3 for words in told)
    assert {words[0] for words in told} >= ({f"repairing by {name}" for name in repairs} or {"correcting biases"})


def test_a_repaired_graph_holds_no_constants_that_it_has_no_more(tmp_path):
    floats, feeds = network(tmp_path, "Conv", np.random.default_rng(0))
    made = [narrowcast.quantize(floats, "int8", data=feeds, repairs=names) for names in ([], ["bias"], ["gptq"])]
    sizes = [sum(value.const_value.nbytes for value in model.graph.initializers.values()) for model in made]
    assert len(set(sizes)) == 1
