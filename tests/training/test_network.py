"""A network in torch is the graph's on ONNX Runtime, and its file's on LiteRT; there and back again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import narrowcast
from narrowcast import runtimes
from narrowcast.errors import DataError
from narrowcast.evaluation.layers import Layers
from narrowcast.evaluation.ports import feed_for
from narrowcast.evaluation.samples import random_feeds
from narrowcast.model import ir
from narrowcast.reference import Reference
from narrowcast.training import from_torch, to_torch
from narrowcast.writers import formats
from tests.training.graphs import convolutional, images

ZOO = Path(os.environ.get("NARROWCAST_ZOO", "/nowhere")) / "models"
SCHEMES = {"int8": {}, "per-tensor": {"weights": "per-tensor"}, "full_int8": {}, "int16x8": {}, "dynamic_range": {}}


def quantized(name):
    model = convolutional()
    scheme = "int8" if name == "per-tensor" else name
    return narrowcast.quantize(model, scheme, data=images(16), **SCHEMES[name])


def decibels(wanted, found):
    noise = np.square(wanted.astype("d") - found).sum()
    return 10 * np.log10(np.square(wanted.astype("d")).sum() / max(noise, 1e-300))


def in_zoo(name):
    found = next(iter(ZOO.rglob(name)), None) if ZOO.exists() else None
    return found or pytest.skip("the zoo is not here")


def torch_run(model, feed):
    network = to_torch(model)
    with torch.no_grad():
        made = network.run(
            {name: torch.from_numpy(np.array(x)) for name, x in feed.items()}, [s.name for s in model.outputs]
        )
    return {name: value.numpy() for name, value in made.items()}


def same_constants(one, other):
    arrays = [{n: v.const_value.numpy() for n, v in model.graph.initializers.items()} for model in (one, other)]
    return arrays[0].keys() == arrays[1].keys() and all(
        np.array_equal(array, arrays[1][name]) and array.dtype == arrays[1][name].dtype
        for name, array in arrays[0].items()
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_was_not_trained_comes_back_as_it_was(scheme):
    model = quantized(scheme)
    assert same_constants(model, from_torch(to_torch(model)))


def test_four_bits_in_blocks_come_back_as_they_were():
    from narrowcast.dialect.build import Builder
    from narrowcast.model import Model

    build = Builder.new("blocks")
    x = build.input("x", (2, 6))
    integers = ir.Tensor(
        np.arange(-7, 17).reshape(6, 4).clip(-7, 7).astype(ir.DataType.INT4.numpy()), dtype=ir.DataType.INT4
    )
    scale = build.constant(np.linspace(0.1, 1, 12).reshape(3, 4).astype("f"), "s")
    w = build(
        "DequantizeLinear", build.initializer(integers, "w"), scale, axis=0, block_size=2, shape=(6, 4), dtype="f"
    )
    model = Model(build.finish([build("MatMul", x, w, name="y", shape=(2, 4))]))
    feed = {"x": np.random.default_rng(0).normal(size=(2, 6)).astype("f")}
    assert same_constants(model, from_torch(to_torch(model)))
    assert decibels(Reference(model).run(feed)["y"], torch_run(model, feed)["y"]) > 100


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_graph_on_onnx_runtime_says_the_same(scheme):
    model = quantized(scheme)
    for feed in random_feeds(model, 3):
        wanted = Reference(model, optimize=False).run(feed)
        found = torch_run(model, feed)
        for name, array in wanted.items():
            steps = np.abs(array.astype("d") - found[name]).max()
            assert steps <= 1 if array.dtype.kind in "iu" else decibels(array, found[name]) > 30


NETWORKS = ("tiny_vww_mobilenet_keras2.h5", "cifar10_resnet20.onnx", "mobilenet_v2.keras")


@pytest.mark.parametrize("name", ["small", *NETWORKS])
@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_each_layer_lies_within_a_step_of_the_file(name, scheme, tmp_path):
    """Computed from the integers that LiteRT's own kernels have before it, as the proof of a file does."""
    if scheme == "int16x8" and name == "mobilenet_v2.keras":
        return  # LiteRT takes half a minute for it
    model = convolutional() if name == "small" else narrowcast.load(in_zoo(name))
    feeds = list(random_feeds(model, 5))
    made = narrowcast.quantize(model, scheme, data=feeds[:4])
    written = formats.write(made, tmp_path / "m.tflite", fmt="tflite", io_layout="source")
    file = runtimes.open_layers(tmp_path / "m.tflite", written.runtime)
    layers = Layers(written.prepared.model, written.layers)
    file.run(feed_for(written, feeds[4]))
    fed = layers.feed(file, feeds[4])
    names = [port.name for _, port in layers.shown]
    with torch.no_grad():
        made = to_torch(layers.model).run({key: torch.from_numpy(np.array(x)) for key, x in fed.items()}, names)
    assert len(names) >= 3
    for port in names:
        file_has = fed[f"{port}/stored"] if f"{port}/stored" in fed else fed[port]
        apart = np.abs(made[port].numpy() - file_has.astype("f").reshape(made[port].shape))
        assert apart.max() <= (1 if scheme == "int8" else 4), port


def test_a_change_of_a_weight_is_in_the_file(tmp_path):
    model = quantized("int8")
    network = to_torch(model)
    with torch.no_grad():
        for constant in network.rounded:
            constant.latent.add_(3.0)
    changed = from_torch(network)
    assert not same_constants(model, changed)
    file = narrowcast.save(changed, tmp_path / "m.tflite", data=images(4))
    assert file.parity is not None  # every layer of it was proven to be what the changed graph says
    feed = images(1)[0]
    with torch.no_grad():
        found = network(torch.from_numpy(feed["x"]))
    step = 2 * np.abs(found.numpy()).max() / 255
    run = runtimes.open(tmp_path / "m.tflite", "litert").run({"x": feed["x"].transpose(0, 2, 3, 1)})
    assert np.abs(next(iter(run.values())) - found.numpy()).max() <= 1.01 * step


def test_a_batch_is_computed_sample_by_sample():
    model, feeds = quantized("int8"), images(5)
    network = to_torch(model)
    with torch.no_grad():
        both = network(torch.cat([torch.from_numpy(feed["x"]) for feed in feeds]))
        alone = torch.cat([network(torch.from_numpy(feed["x"])) for feed in feeds])
    torch.testing.assert_close(both, alone)


def test_gradients_reach_every_weight_and_bias():
    network = to_torch(quantized("int8"))
    network(torch.from_numpy(images(1)[0]["x"])).square().sum().backward()
    assert len(network.rounded) == 6
    assert all(constant.latent.grad.abs().sum() > 0 for constant in network.rounded)


def test_wrong_inputs_are_told():
    with pytest.raises(DataError, match="takes 1 inputs, not 2"):
        to_torch(convolutional())(torch.zeros(1), torch.zeros(1))


@pytest.mark.parametrize("name", [*NETWORKS[:2], "dtln_2.onnx", "kwt1_float.tflite", "ultraface_rfb320_raw.onnx"])
def test_networks_of_the_zoo_say_what_onnx_runtime_says(name):
    model = narrowcast.load(in_zoo(name))
    for feed in random_feeds(model, 2):
        found = torch_run(model, feed)
        for output, array in Reference(model, optimize=False).run(feed).items():
            assert decibels(array, found[output]) > 100
