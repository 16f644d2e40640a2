"""Files as they are read, and files in which one number is wrong: each has its error, and none gets further."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from narrowcast._files import map_file
from narrowcast.errors import ModelFileError, UnsupportedError
from narrowcast.readers.tflite.check import check
from narrowcast.readers.tflite.file import parse
from tests.readers.tflite.craft import TYPES, Craft, branches, convolution, sparse


def read(craft):
    made = parse(craft.content)
    check(made)
    for graph in made.subgraphs:
        assert all(tensor.array is not None for tensor in graph.tensors if tensor.content is not None)
    return made


def test_what_a_file_holds(tmp_path):
    craft = convolution()
    craft.note("origin", b"a test")
    (tmp_path / "m.tflite").write_bytes(craft.content)
    made = parse(map_file(tmp_path / "m.tflite"))
    (graph,) = made.subgraphs
    x, weights, bias, _, _ = graph.tensors
    convolve, add = graph.operators
    assert (x.name, x.type, x.shape, x.content, x.variable) == ("x", "INT8", (1, 4, 4, 2), None, False)
    assert (x.quantization.scale, x.quantization.zero_point) == (np.float32(0.1), -3)
    assert weights.array.dtype == np.int8
    assert weights.array.tobytes() == bytes(craft.model.buffers[1].data)
    assert not weights.array.flags.owndata
    np.testing.assert_array_equal(bias.quantization.scale, np.array([0.01, 0.02, 0.03], np.float32))
    assert (convolve.name, convolve.inputs, convolve.options["stride_w"]) == ("CONV_2D", (0, 1, 2), 1)
    assert (add.name, add.outputs, add.version) == ("ADD", (4,), 2)
    assert (made.description, made.metadata["origin"].tobytes()) == ("crafted", b"a test")
    assert (made.signatures[0].key, made.signatures[0].inputs) == ("serving_default", {"image": 0})


def test_packed_types():
    for kind, elements, data in (
        ("INT4", [1, -2, 7, -8, 3], [0xE1, 0x87, 0x03]),
        ("UINT4", [1, 14, 7, 8, 3], [0xE1, 0x87, 0x03]),
        ("INT2", [1, -2, -1, 0, 1], [0b00_11_10_01, 0b01]),
    ):
        craft = Craft()
        place = craft.tensor((5,), kind)
        craft.last.tensors[place].buffer = craft.buffer(bytes(data))
        assert read(craft).subgraphs[0].tensors[place].array.tolist() == elements


def test_sparse_weights_are_dense_again():
    craft, dense = sparse()
    np.testing.assert_array_equal(read(craft).subgraphs[0].tensors[0].array, dense)


def strings(*words):
    ends = np.cumsum([4 * (len(words) + 2), *map(len, words)]).astype(np.int32)
    return np.int32(len(words)).tobytes() + ends.tobytes() + b"".join(words)


def test_elements_behind_the_flatbuffer():
    craft = convolution()
    buffer, code = craft.model.buffers[1], craft.operator("Mine", (4,), (0,))
    craft.last.operators.pop()
    code.opcodeIndex, code.outputs = 2, [craft.tensor((1,))]
    craft.last.operators.append(code)
    data, options = bytes(buffer.data), b"options"
    buffer.data, buffer.offset, buffer.size = None, 1 << 20, len(data)
    code.largeCustomOptionsOffset, code.largeCustomOptionsSize = (1 << 20) + 64, len(options)
    content = craft.content.ljust(1 << 20, b"\0") + data.ljust(64, b"\0") + options
    graph = parse(content).subgraphs[0]
    assert graph.tensors[1].array.tobytes() == data
    assert graph.operators[2].custom_options.tobytes() == options
    with pytest.raises(ModelFileError, match="ends at byte"):
        parse(content[:-1])
    with pytest.raises(ModelFileError, match="buffer 1 ends at byte"):
        parse(content[: 1 << 20])


def tensor(place, **fields):
    """Spoils a tensor of the convolution."""

    def spoil(craft):
        for name, value in fields.items():
            setattr(craft.last.tensors[place], name, value)

    return spoil


def scales(place, **fields):
    def spoil(craft):
        for name, value in fields.items():
            setattr(craft.last.tensors[place].quantization, name, value)

    return spoil


def operator(place, **fields):
    def spoil(craft):
        for name, value in fields.items():
            setattr(craft.last.operators[place], name, value)

    return spoil


def options(place, **fields):
    def spoil(craft):
        for name, value in fields.items():
            setattr(craft.last.operators[place].builtinOptions, name, value)

    return spoil


def graph(**fields):
    def spoil(craft):
        for name, value in fields.items():
            setattr(craft.last, name, value)

    return spoil


def model(**fields):
    def spoil(craft):
        for name, value in fields.items():
            setattr(craft.model, name, value)

    return spoil


def text(craft):
    craft.last.tensors[craft.tensor((2,), "STRING")].buffer = craft.buffer(strings(b"one", b"two")[:-1])


def details(craft):
    craft.last.tensors[1].quantization.detailsType = 2
    craft.last.tensors[1].quantization.details = schema.BlockwiseQuantizationT()


def signature(**fields):
    def spoil(craft):
        for name, value in fields.items():
            setattr(craft.model.signatureDefs[0], name, value)

    return spoil


def twice(craft):
    craft.signature("serving_default", {}, {})


def another_port(craft):
    craft.model.signatureDefs[0].inputs[0].tensorIndex = 1


def metadata(craft):
    craft.note("lost", b"")
    craft.model.metadata[0].buffer = 99


def wrong_options(craft):
    craft.last.operators[0].builtinOptionsType = 11
    craft.last.operators[0].builtinOptions = schema.AddOptionsT()


DAMAGES = {
    "version": (model(version=2), "version 2 of TFLite's schema"),
    "no subgraph": (model(subgraphs=[]), "holds no subgraph"),
    "operator code": (operator(0, opcodeIndex=2), "operator 0: .*refers to operator code 2, and there are 2"),
    "buffer": (tensor(1, buffer=99), "tensor 1 't1': .*refers to buffer 99, and there are 3"),
    "external buffer": (tensor(1, externalBuffer=1), "lie in another file"),
    "negative size": (tensor(0, shape=[1, -4, 4, 2]), r"shape \[1, -4, 4, 2\]"),
    "huge size": (tensor(0, shape=[2**31 - 1] * 4), "it has the shape"),
    "axes": (tensor(0, shape=[1] * 33), "it has 33 axes"),
    "open shape": (tensor(0, shapeSignature=[1, 5, 4, 2]), "contradicts its signature"),
    "open rank": (tensor(0, shapeSignature=[1, 4, 4]), "contradicts its signature"),
    "size of a constant": (tensor(1, shape=[3, 1, 1, 3]), "takes 9 bytes, and it has 6"),
    "type of a constant": (tensor(1, type=TYPES["FLOAT32"]), "takes 24 bytes, and it has 6"),
    "strings": (text, "strings lie outside"),
    "scales": (scales(1, scale=[0.1, 0.2]), "2 scales and 3 zero points"),
    "zero points": (scales(1, zeroPoint=[0, 0]), "3 scales and 2 zero points"),
    "axis": (scales(1, quantizedDimension=3), "3 scales along axis 3"),
    "axis beyond": (scales(1, quantizedDimension=4), "3 scales along axis 4"),
    "scale": (scales(1, scale=[0.1, np.nan, 0.2]), "scale is no positive number"),
    "infinite scale": (scales(0, scale=[np.inf]), "scale is no positive number"),
    "zero point": (scales(0, zeroPoint=[128]), "zero point lies outside of INT8"),
    "details": (details, "blocks of another kind than weights of a dense layer"),
    "scale of nothing": (scales(0, scale=[0.0]), "the scale of 'x' is 0"),
    "input of an operator": (operator(0, inputs=[5, 1, 2]), "inputs refer to tensors beyond the 5"),
    "negative input": (operator(0, inputs=[-2, 1, 2]), "inputs refer to tensors beyond"),
    "output of an operator": (operator(0, outputs=[-1]), "outputs refer to tensors beyond"),
    "input of the graph": (graph(inputs=[5]), "inputs refer to tensors beyond"),
    "input twice": (graph(inputs=[0, 0]), "two of its inputs are one tensor"),
    "input that is constant": (graph(inputs=[0, 1]), "input 't1' is a constant"),
    "output of nothing": (graph(operators=[]), "nothing computes its output 'z'"),
    "options of another": (wrong_options, "CONV_2D has AddOptions"),
    "no options": (operator(0, builtinOptionsType=0, builtinOptions=None), "CONV_2D 0: .*has no options"),
    "stride": (options(0, strideW=0), "CONV_2D 0: .*stride_w is 0"),
    "arity": (operator(1, inputs=[3]), "ADD 1: .*has 1 inputs"),
    "outputs": (operator(1, outputs=[4, 0]), "ADD 1: .*has 2 outputs"),
    "left out": (operator(1, inputs=[3, -1]), "ADD 1: .*operand 1 is left out"),
    "order": (operator(0, inputs=[4, 1, 2]), "reads the tensor 'z', which nothing before it computes"),
    "written twice": (operator(1, outputs=[3]), "writes the tensor 'y', which is there already"),
    "constant written": (operator(1, outputs=[1]), "writes the tensor 't1', which is there already"),
    "no scale": (tensor(4, quantization=None), "operand 'z' is INT8 and has no scale"),
    "scales far apart": (scales(4, scale=[1e-9]), "too far apart"),
    "resource": (tensor(3, type=TYPES["RESOURCE"]), "a tensor that is a resource"),
    "signature of no graph": (signature(subgraphIndex=1), "refers to subgraph 1, and there are 1"),
    "port of a signature": (another_port, "inputs are not those of its graph"),
    "key": (twice, "two signatures have one key"),
    "metadata": (metadata, "metadata 'lost' refers to buffer 99"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damages(name):
    spoil, reason = DAMAGES[name]
    craft = convolution()
    read(craft)
    spoil(craft)
    with pytest.raises((ModelFileError, UnsupportedError), match=reason):
        read(craft)


def level(place, **fields):
    def spoil(parameters):
        for name, value in fields.items():
            setattr(parameters.dimMetadata[place], name, value)

    return spoil


def parameters(**fields):
    def spoil(made):
        for name, value in fields.items():
            setattr(made, name, value)

    return spoil


def vector(field, values):
    def spoil(made):
        getattr(made.dimMetadata[1], field).values = values

    return spoil


SPARSE = {
    "order": (parameters(traversalOrder=[0, 0]), "no order of their axes"),
    "too many axes": (parameters(traversalOrder=[0, 1, 2]), "no order of their axes"),
    "block": (parameters(blockMap=[2]), "no order of their axes"),
    "dense size": (level(0, denseSize=100), "more places than values"),
    "negative size": (level(0, denseSize=-1), "more places than values"),
    "segments": (vector("arraySegments", [0, 2, 3, 6]), "do not fit their indices"),
    "segments backwards": (vector("arraySegments", [0, 3, 2, 3, 6]), "go backwards"),
    "end of segments": (vector("arraySegments", [0, 2, 3, 3, 5]), "do not fit their indices"),
    "index": (vector("arrayIndices", [1, 8, 2, 0, 4, 5]), "reach 8 along axis 1"),
    "fewer": (level(0, denseSize=3), "do not fit their indices"),
    "no segments": (level(1, arraySegments=None, arraySegmentsType=0), "do not fit their indices"),
}


@pytest.mark.parametrize("name", SPARSE)
def test_sparse_damages(name):
    spoil, reason = SPARSE[name]
    craft, _ = sparse()
    spoil(craft.last.tensors[0].sparsity)
    with pytest.raises(ModelFileError, match=reason):
        read(craft)


def test_a_sparse_tensor_is_not_larger_than_its_values_allow():
    craft, _ = sparse()
    craft.last.tensors[0].shape = [2**15, 2**15]
    (graph,) = parse(craft.content).subgraphs
    with pytest.raises(ModelFileError, match="too few for the shape"):
        _ = graph.tensors[0].array


def gates(kind, *absent):
    """An operator of many operands, of which some are left out."""
    craft = Craft()
    operands = [-1 if place in absent else craft.tensor((1, 1)) for place in range({"LSTM": 20}.get(kind, 48))]
    craft.last.inputs = [index for index in operands if index >= 0]
    craft.last.outputs = [craft.tensor((1,))]
    craft.operator(kind, operands, craft.last.outputs)
    return craft


@pytest.mark.parametrize(
    ("craft", "reason"),
    [
        (gates("LSTM", 1, 5, 12), ""),
        (gates("LSTM", 1, 5), "only some operands of a gate"),
        (gates("LSTM", 2), "operand 2 is left out"),
        (gates("BIDIRECTIONAL_SEQUENCE_LSTM", 18, 22, 29, 39), ""),
        (gates("BIDIRECTIONAL_SEQUENCE_LSTM", 18), "only some operands of a gate"),
    ],
)
def test_operands_that_may_be_left_out(craft, reason):
    if not reason:
        read(craft)
        return
    with pytest.raises(ModelFileError, match=reason):
        read(craft)


@pytest.mark.parametrize(
    ("name", "shapes", "types", "options", "reason"),
    [
        ("SPLIT", ((1,), (4,)), ("INT32", "FLOAT32"), {"numSplits": 2}, "makes 2 parts, and has 1 outputs"),
        ("UNPACK", ((1, 4),), ("FLOAT32",), {"num": 0}, "makes 0 parts"),
        (
            "MAX_POOL_2D",
            ((1, 4, 4, 1),),
            ("FLOAT32",),
            {"strideW": 1, "strideH": 1, "filterWidth": 1},
            "filter_height is 0",
        ),
        ("RESHAPE", ((4,),), ("INT8",), {"newShape": [4]}, "makes FLOAT32 of INT8"),
        ("RESHAPE", ((4,), (9,)), ("FLOAT32", "INT32"), {}, "a shape of more than 8 axes"),
        ("DEQUANTIZE", ((5,),), ("FLOAT16",), {}, r"makes the shape \[4\] of \[5\]"),
        ("SOFTMAX", ((2, 4),), ("FLOAT32",), {}, r"makes the shape \[4\] of \[2, 4\]"),
        ("SOFTMAX", ((4,),), ("INT16",), {}, "computes with FLOAT32 and INT16"),
        ("TANH", ((4,),), ("INT8",), {}, "computes with FLOAT32 and INT8"),
        ("CAST", ((3,),), ("INT8",), {}, r"makes the shape \[4\] of \[3\]"),
        ("ADD", ((4,), (3,)), ("FLOAT32", "FLOAT32"), {}, r"makes the shape \[4\] of \[4\] and \[3\]"),
        ("ADD", ((2, 1), (1, 4)), ("FLOAT32", "FLOAT32"), {}, r"makes the shape \[4\] of \[2, 1\] and \[1, 4\]"),
        ("MUL", ((4,), (4,)), ("FLOAT32", "INT32"), {}, "computes with FLOAT32 and INT32"),
        ("QUANTIZE", ((0,),), ("FLOAT32",), {}, "a tensor without elements"),
    ],
)
def test_what_kernels_take_for_granted(name, shapes, types, options, reason):
    craft = Craft()
    craft.last.inputs = [craft.tensor(shape, kind) for shape, kind in zip(shapes, types, strict=True)]
    craft.last.outputs = [craft.tensor((4,))]
    craft.operator(name, craft.last.inputs, craft.last.outputs, **options)
    with pytest.raises(ModelFileError, match=reason):
        read(craft)


@pytest.mark.parametrize(
    ("graph", "name", "callee", "reason"),
    [
        (0, "thenSubgraphIndex", 3, "subgraph 0 calls subgraph 3, and there are 3"),
        (0, "thenSubgraphIndex", -1, "subgraph 0 calls subgraph -1"),
        (0, "elseSubgraphIndex", 0, "call one another in a circle"),
    ],
)
def test_calls(graph, name, callee, reason):
    craft = branches()
    read(craft)
    setattr(craft.model.subgraphs[graph].operators[0].builtinOptions, name, callee)
    with pytest.raises(ModelFileError, match=reason):
        read(craft)


def test_calls_that_go_deep():
    craft = Craft()
    for depth in range(1, 80):
        craft.operator("CALL_ONCE", (), (), initSubgraphIndex=depth)
        craft.graph(f"g{depth}")
    with pytest.raises(UnsupportedError, match="80 deep"):
        read(craft)


@pytest.mark.parametrize(
    ("name", "takes"), [("ADD", True), ("LESS", True), ("EQUAL", True), ("SUB", False), ("SQUARED_DIFFERENCE", False)]
)
def test_integers_of_16_bits_that_stand_for_nothing_else(name, takes):
    craft = Craft()
    craft.last.inputs = [craft.tensor((1, 4), "INT16") for _ in range(2)]
    craft.last.outputs = [craft.tensor((1, 4), "INT16" if name in ("ADD", "SUB", "SQUARED_DIFFERENCE") else "BOOL")]
    craft.operator(name, craft.last.inputs, craft.last.outputs)
    if takes:
        read(craft)
        return
    with pytest.raises(ModelFileError, match="is INT16 and has no scale"):
        read(craft)


@pytest.mark.parametrize("place", ["input", "output", "constant"])
def test_tensors_without_elements(place):
    """They are constants only where nobody feeds or computes them."""
    craft = Craft()
    source, result = craft.tensor((0, 4)), craft.tensor((0, 4))
    craft.last.inputs, craft.last.outputs = [] if place == "constant" else [source], [result]
    craft.operator("ABS", [source], [result])
    read(craft)


@pytest.mark.parametrize(
    ("name", "shapes", "signature", "result"),
    [
        ("ADD", ((2, 1), (1, 4)), None, (2, 4)),
        ("ADD", ((2, 4), ()), None, (2, 4)),
        ("ADD", ((1, 4), (1, 4)), (-1, 4), (7, 4)),
        ("SOFTMAX", ((2, 4),), None, ()),
        ("TANH", ((1, 4),), (-1, 4), (3, 4)),
    ],
)
def test_shapes_of_what_computes_element_by_element(name, shapes, signature, result):
    """Where a dimension or a whole shape is open, the others say nothing."""
    craft = Craft()
    craft.last.inputs = [craft.tensor(shape) for shape in shapes]
    craft.last.outputs = [craft.tensor(result)]
    if signature is not None:
        craft.last.tensors[0].shapeSignature = list(signature)
    craft.operator(name, craft.last.inputs, craft.last.outputs)
    read(craft)
