"""Dense layers and matrix products."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.model import ir
from narrowcast.targets.spelling import dequantizer, is_asymmetric, is_weight, noted_operator
from narrowcast.writers.tflite.adjoint import TURNED
from narrowcast.writers.tflite.ops.conv import bias, weights
from narrowcast.writers.tflite.site import ACTIVATIONS, Site, lowers


def _fully_connected(site: Site, perm: tuple[int, ...] | None, bias_value: ir.Value | None, units: int) -> None:
    filters = weights(site, 1, perm)
    source = site.input(0)
    keep = len(site.shape()) > 2
    output = site.output()
    quantization = site.lowering.container.tensors[filters].quantization
    # LiteRT's own kernel passes over an activation behind blocks
    apart = bool(site.activation) and quantization is not None and quantization.blocks is not None
    product = site.scratch(site.output_shape(), output) if apart else output
    inputs = [source, filters]
    if bias_value is not None:
        inputs.append(_bias(site, bias_value))
    elif site.integer:
        inputs.append(bias(site, 99, units, filters, source))
    site.emit(
        "FULLY_CONNECTED",
        inputs,
        [product],
        "FullyConnectedOptions",
        fusedActivationFunction=0 if apart else site.activation,
        keepNumDims=keep,
        asymmetricQuantizeInputs=is_asymmetric(site.node),
    )
    if apart:
        site.emit(ACTIVATIONS[site.reached(site.group.activation)], [product], [output])


def _bias(site: Site, value: ir.Value) -> int:
    if site.integer:
        return site.lowering.quantized_weights(value, wide=site.wide)
    return site.lowering.floating(value)


@lowers("Gemm")
def gemm(site: Site) -> None:
    """FULLY_CONNECTED: weights [out, in] as they are."""
    site.allow("alpha", "beta", "transA", "transB")
    _fully_connected(site, None, site.value(2) if site.has(2) else None, site.shape(1)[0])


@lowers("MatMul")
def matmul(site: Site) -> None:
    """FULLY_CONNECTED over the last axis by constant weights [in, out]; BATCH_MATMUL otherwise."""
    if is_weight(site.value(1)) and len(site.shape(1)) == 2 and not is_weight(site.value(0)) and len(site.shape()) > 1:
        added = None
        if site.group.bias is not None:
            added = next(value for value in site.group.bias.inputs if value is not site.node.outputs[0])
        _fully_connected(site, (1, 0), added, site.shape(1)[1])
        return
    output = site.output()
    product = site.scratch(site.output_shape(), output) if site.activation else output
    turned = site.node.attributes.get_int(TURNED, 0) != 0
    asymmetric = {"asymmetricQuantizeInputs": True} if is_asymmetric(site.node) else {}
    site.emit(
        "BATCH_MATMUL",
        [_operand(site, 0), _operand(site, 1)],
        [product],
        "BatchMatMulOptions",
        adjY=turned,
        **asymmetric,
    )
    if site.activation:
        site.emit(ACTIVATIONS[site.reached(site.group.activation)], [product], [output])


def _operand(site: Site, index: int) -> int:
    value = site.value(index)
    if (
        index == 1
        and not site.integer
        and noted_operator(site.node)
        and dequantizer(value) is not None
        and is_weight(value)
    ):
        return site.lowering.quantized_weights(value)
    array = constant_of(value)
    if not site.integer and array is not None:
        return site.lowering.constant(np.ascontiguousarray(array), value.name or "matrix")
    return site.input(index)
