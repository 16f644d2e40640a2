"""Sound .tflite files, changed a little: bytes at random, or one number of one table, by the schema's bindings.

`python -m tests.readers.tflite.mutate FOLDER` hands each file of a folder to LiteRT in a process of its own, and prints
the names of those that end it.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from narrowcast.readers.tflite.check import check
from narrowcast.readers.tflite.file import DTYPES, parse

NUMBERS = (-(2**31), -2, -1, 0, 1, 2, 3, 4, 5, 7, 8, 16, 127, 255, 256, 1000, 2**16, 2**20, 2**30, 2**31 - 1)
SCALES = (0.0, 1e-30, 1e-9, 0.5, 1e30)
SECONDS = 10


def read(content: bytes) -> None:
    """All that is checked of a file, and all its constants."""
    file = parse(content)
    check(file)
    for graph in file.subgraphs:
        for tensor in graph.tensors:
            if tensor.content is not None and tensor.type in DTYPES:
                _ = tensor.array


def of_bytes(content: bytes, draw: random.Random) -> bytes:
    """Cut short, or with up to three bytes changed, most of them where tables lie: at either end."""
    changed, size = bytearray(content), len(content)
    if draw.random() < 0.2:
        return bytes(changed[: draw.randrange(size)])
    for _ in range(draw.randrange(1, 4)):
        near = draw.random()
        place = draw.randrange(min(size, 4096)) if near < 0.4 else size - 1 - draw.randrange(min(size, 30_000))
        place = draw.randrange(size) if near > 0.9 else place
        changed[place] = draw.choice((changed[place] ^ 1 << draw.randrange(8), 0, 1, 2, 4, 127, 128, 255))
    return bytes(changed)


def of_tables(content: bytes, draw: random.Random) -> bytes | None:
    """One or two numbers of the tables changed; None where what was drawn has none, or cannot be written."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    try:
        for _ in range(draw.choice((1, 1, 2))):
            draw.choice(_CHANGES)(model, draw.choice(model.subgraphs), draw)
        build = flatbuffers.Builder(1024)
        build.Finish(model.Pack(build), b"TFL3")
    except (IndexError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    return bytes(build.Output())


def _size(model, graph, draw):
    tensor = draw.choice(graph.tensors)
    tensor.shape, tensor.shapeSignature = list(tensor.shape), None
    tensor.shape[draw.randrange(len(tensor.shape))] = draw.choice(NUMBERS[3:])


def _rank(model, graph, draw):
    tensor = draw.choice(graph.tensors)
    tensor.shape, tensor.shapeSignature = list(tensor.shape), None
    if draw.random() < 0.5:
        tensor.shape.pop(draw.randrange(len(tensor.shape)))
    else:
        tensor.shape.insert(draw.randrange(len(tensor.shape) + 1), draw.choice((0, 1, 2)))


def _type(model, graph, draw):
    draw.choice(graph.tensors).type = draw.randrange(23)


def _buffer(model, graph, draw):
    draw.choice(graph.tensors).buffer = draw.randrange(len(model.buffers) + 1)


def _input(model, graph, draw):
    operator = draw.choice(graph.operators)
    operator.inputs = list(operator.inputs)
    operator.inputs[draw.randrange(len(operator.inputs))] = draw.randrange(-1, len(graph.tensors))


def _output(model, graph, draw):
    operator = draw.choice(graph.operators)
    operator.outputs = list(operator.outputs)
    operator.outputs[draw.randrange(len(operator.outputs))] = draw.randrange(len(graph.tensors))


def _arity(model, graph, draw):
    operator = draw.choice(graph.operators)
    operator.inputs = list(operator.inputs)
    if draw.random() < 0.6:
        operator.inputs.pop(draw.randrange(len(operator.inputs)))
    else:
        operator.inputs.append(draw.randrange(-1, len(graph.tensors)))


def _code(model, graph, draw):
    draw.choice(graph.operators).opcodeIndex = draw.randrange(len(model.operatorCodes) + 1)


def _builtin(model, graph, draw):
    code, number = draw.choice(model.operatorCodes), draw.randrange(210)
    code.deprecatedBuiltinCode, code.builtinCode = min(number, 127), number


def _option(model, graph, draw):
    options = draw.choice(graph.operators).builtinOptions
    name = draw.choice(list(vars(options)))
    found = getattr(options, name)
    if isinstance(found, bool):
        setattr(options, name, not found)
    elif isinstance(found, float):
        setattr(options, name, draw.choice((0.0, -1.0, 1e30, float("nan"))))
    else:
        setattr(
            options, name, draw.choice(NUMBERS) if isinstance(found, int) else [draw.choice(NUMBERS) for _ in found]
        )


def _scale(model, graph, draw):
    quantization = draw.choice([tensor.quantization for tensor in graph.tensors if tensor.quantization is not None])
    how = draw.randrange(4)
    if how == 0:
        quantization.scale = [draw.choice(SCALES) for _ in quantization.scale]
    elif how == 1:
        quantization.zeroPoint = [draw.choice((0, 127, -128, 255, 1000)) for _ in quantization.zeroPoint]
    elif how == 2:
        quantization.quantizedDimension = draw.randrange(5)
    else:
        quantization.scale = quantization.zeroPoint = None


def _constant(model, graph, draw):
    small = [
        model.buffers[tensor.buffer]
        for tensor in graph.tensors
        if tensor.type == schema.TensorType.INT32
        and model.buffers[tensor.buffer].data is not None
        and 4 <= len(model.buffers[tensor.buffer].data) <= 64
    ]
    buffer = draw.choice(small)
    numbers = np.frombuffer(np.asarray(buffer.data, np.uint8).tobytes(), np.int32).copy()
    numbers[draw.randrange(numbers.size)] = draw.choice(NUMBERS)
    buffer.data = numbers.view(np.uint8)


_CHANGES = (
    *(_size, _rank, _type, _buffer, _input, _output, _arity, _code, _builtin, _option, _scale, _constant),
    *(_option, _arity, _input, _scale),
)


def survives(path: Path, own_kernels: bool = False) -> bool:
    """Whether LiteRT opens, prepares and runs a file, or refuses it; not where it ends its process."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if own_kernels else OpResolverType.AUTO
            runner = Interpreter(model_path=str(path), num_threads=1, experimental_op_resolver_type=kernels)
            runner.allocate_tensors()
            signal.alarm(SECONDS)  # what computes for long is sound
            for port in runner.get_input_details():
                runner.set_tensor(port["index"], np.zeros(port["shape"], port["dtype"]))
            runner.invoke()
            for port in runner.get_output_details():
                runner.get_tensor(port["index"])
        except Exception:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return not os.WIFSIGNALED(status) or os.WTERMSIG(status) == signal.SIGALRM


if __name__ == "__main__":
    for file in sorted(Path(sys.argv[1]).iterdir()):
        if not survives(file) or not survives(file, own_kernels=True):
            print(file.name, flush=True)
