"""Large networks: seconds by stage as the nodes grow, memory as the weights grow beyond what a flatbuffer holds.

`scale.py nodes` or `scale.py bytes` measures one of the two. The latter needs 10 GB of disk.
"""

from __future__ import annotations

import gc
import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np
from measure import ROOT, publish, table
from networks import DATA, many_bytes, many_nodes

SIZES = (1_250, 2_500, 5_000, 10_000, 20_000)
ROUNDS = 3
STAGES = ("read", "canonicalise", "decompose", "lay out", "lower", "write")
SCHEMES = ("float32", "float16", "dynamic_range")
DISK = 10 * 10**9
MIB = 2**20
CHART = ROOT / "docs" / "images" / "scale.svg"


def main() -> None:
    """Measures and publishes."""
    chosen = sys.argv[1:] or ["nodes", "bytes"]
    if "nodes" in chosen:
        publish("Scale: nodes", nodes())
    if "bytes" in chosen:
        publish("Scale: bytes", weights())


def child(function: str, *arguments: object) -> dict[str, Any]:
    """Runs a function of this file in a process of its own, which prints its result as JSON."""
    command = [sys.executable, __file__, f"--{function}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def nodes() -> str:
    """The table and the chart of times by nodes."""
    from narrowcast.model import ir

    rows: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            path = Path(folder) / f"{size}.onnx"
            ir.save(many_nodes(size), path)
            runs = [child("stages", path) for _ in range(ROUNDS)]
            rows[size] = {name: median(run[name] for run in runs) for name in runs[0]}
            print(size, {name: round(value, 2) for name, value in rows[size].items()}, flush=True)
    totals = [sum(row[stage] for stage in STAGES) for row in rows.values()]
    slope = float(np.polyfit(np.log(SIZES), np.log(totals), 1)[0])
    CHART.write_text(chart(rows))
    body = [
        [f"{size:,}", *(f"{row[stage]:.2f}" for stage in STAGES), f"{total:.2f}", f"{100 * row['cut'] / total:.1f} %"]
        for (size, row), total in zip(rows.items(), totals, strict=True)
    ]
    return (
        "Networks of residual blocks, squeeze and excitation, splits, channel shuffles and dense layers over pixels, "
        f"to a float32 .tflite, not verified: processor seconds, median of {ROUNDS} processes, without imports. "
        f"Time grows as the nodes to the power of {slope:.2f}.\n\n"
        + table(["nodes", *STAGES, "all", "of which the minimum cut"], body)
        + f"\n\n![Processor time over nodes, by stage, on logarithmic axes](images/{CHART.name})"
    )


def stages(path: str) -> dict[str, float]:
    """Processor seconds of each stage of one conversion."""
    from narrowcast.cli.app import NEW_OBJECTS
    from narrowcast.model import Model
    from narrowcast.passes import layout
    from narrowcast.passes.canonicalize import canonicalize, rules
    from narrowcast.passes.decompose import decompose
    from narrowcast.readers.formats import ReadOptions, read
    from narrowcast.targets.litert import LITERT
    from narrowcast.writers.tflite import Lowering
    from narrowcast.writers.tflite.site import load_operators

    gc.set_threshold(NEW_OBJECTS)
    rules()
    load_operators()
    found = dict.fromkeys((*STAGES, "cut"), 0.0)

    def timed(stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timing(*arguments: Any) -> Any:
            start = process_time()
            result = work(*arguments)
            found[stage] += process_time() - start
            return result

        return timing

    layout.minimum_cut = timed("cut", layout.minimum_cut)
    model: Model = timed("read", read)(Path(path), ReadOptions())
    timed("canonicalise", canonicalize)(model)
    timed("decompose", decompose)(model, "litert")
    laid = timed("lay out", layout.lay_out)(model, LITERT)
    container = timed("lower", Lowering(laid.model.graph).run)()
    with Path(path).with_suffix(".tflite").open("wb") as file:
        timed("write", container.write)(file)
    return found


def weights() -> str:
    """The table of peak memory."""
    if shutil.disk_usage(tempfile.gettempdir()).free < DISK:
        sys.exit(f"{tempfile.gettempdir()} has less than {DISK / 1e9:.0f} GB free")
    with tempfile.TemporaryDirectory() as folder:
        path, largest = many_bytes(Path(folder))
        total = (Path(folder) / DATA).stat().st_size
        limit = (1.3 * largest + 600 * MIB) / MIB
        body = []
        for scheme in SCHEMES:
            target = path.with_name(f"{scheme}.tflite")
            found = child("convert", path, scheme, target)
            row = [f"{target.stat().st_size / MIB:,.0f}", f"{found['seconds']:.0f}", f"{found['resident']:.0f}"]
            body.append([scheme, *row, f"{found['anonymous']:.0f}", f"{child('decibels', path, target)['dB']:.1f}"])
            target.unlink()
    return (
        f"24 dense layers and convolutions, {total / MIB:,.0f} MB of weights in a file beside the .onnx, the largest "
        f"tensor {largest / MIB:.0f} MB: peaks of one process, its imports included. Resident memory counts the pages "
        "of the weights' file that are mapped at the moment; anonymous memory is the process' own. Aimed at: below 1.3 "
        f"times the largest tensor and 600 MB, {limit:.0f} MB. Each file was run in LiteRT beside the same layers in "
        "numpy.\n\n" + table(["", "file, MB", "seconds", "resident, MB", "anonymous, MB", "dB"], body)
    )


def convert(path: str, scheme: str, target: str) -> dict[str, float]:
    """Converts, and tells seconds and peaks of memory in MB."""
    peak = [0.0]

    def watch() -> None:
        while True:
            lines = Path("/proc/self/status").read_text().splitlines()
            peak[0] = max(peak[0], *(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")))
            sleep(0.005)

    threading.Thread(target=watch, daemon=True).start()
    start = perf_counter()
    import narrowcast

    model = narrowcast.load(path)
    if scheme != "float32":
        model = narrowcast.quantize(model, scheme)
    narrowcast.save(model, target, verify=False)
    seconds = perf_counter() - start
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "resident": resident, "anonymous": peak[0]}


def decibels(path: str, target: str) -> dict[str, float]:
    """The signal-to-noise ratio of a converted file beside the layers of `many_bytes` computed one by one."""
    import onnx
    from ai_edge_litert.interpreter import Interpreter

    graph = onnx.load(path, load_external_data=False).graph
    width = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    data = np.memmap(Path(path).with_name(DATA), np.float32, "r").reshape(-1, width, width)
    small = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer if not item.external_data}
    feed = np.random.default_rng(1).standard_normal((1, width)).astype(np.float32)
    value, layer = feed, iter(data)
    for node in graph.node:
        if node.op_type == "MatMul":
            value = value @ next(layer)
        elif node.op_type == "Gemm":
            value = value @ next(layer).T + small[node.input[2]]
        elif node.op_type == "Conv":
            value = value @ next(layer).T
        elif node.op_type == "BatchNormalization":
            value = value * small[node.input[1]] / np.sqrt(np.float32(1 + 1e-5)) + small[node.input[2]]
        elif node.op_type == "Relu":
            value = np.maximum(value, 0)
    runner = Interpreter(target, num_threads=2)
    runner.allocate_tensors()
    runner.set_tensor(runner.get_input_details()[0]["index"], feed)
    runner.invoke()
    found = runner.get_tensor(runner.get_output_details()[0]["index"])
    return {"dB": float(10 * np.log10(np.square(value).sum() / np.square(value - found).sum()))}


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 60, 130, 20, 50
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#333333")


def chart(rows: dict[int, dict[str, float]]) -> str:
    """Lines of seconds over nodes, one for each stage and one for all, both axes logarithmic; an SVG drawing."""
    from narrowcast.report.svg import element, logarithmic

    lines = {stage: [row[stage] for row in rows.values()] for stage in STAGES}
    lines["all"] = [sum(row[stage] for stage in STAGES) for row in rows.values()]
    low, high = (choose(value for values in lines.values() for value in values) for choose in (min, max))
    across = logarithmic(min(rows), max(rows), LEFT, WIDTH - RIGHT)
    up = logarithmic(low, high, HEIGHT - BOTTOM, TOP)
    text: dict[str, Any] = {"font_family": "sans-serif", "font_size": 12, "fill": "#333333"}
    parts = [element("rect", width=WIDTH, height=HEIGHT, fill="white")]
    for tick in up.ticks:
        y = up.position(tick)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, stroke="#dddddd"))
        parts.append(element("text", f"{tick:g}", x=LEFT - 8, y=y + 4, text_anchor="end", **text))
    for size in rows:
        x = across.position(size)
        parts.append(element("text", f"{size:,}", x=x, y=HEIGHT - BOTTOM + 18, text_anchor="middle", **text))
    parts.append(element("text", "nodes", x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 10, text_anchor="middle", **text))
    parts.append(element("text", "seconds", x=8, y=TOP - 6, **text))
    labels = sorted(lines, key=lambda name: lines[name][-1], reverse=True)
    beside = -math.inf
    for name in labels:
        colour, ends = COLOURS[list(lines).index(name)], [up.position(value) for value in lines[name]]
        points = " ".join(f"{across.position(size):.1f},{y:.1f}" for size, y in zip(rows, ends, strict=True))
        stroke = 3 if name == "all" else 1.5
        parts.append(element("polyline", points=points, fill="none", stroke=colour, stroke_width=stroke))
        beside = max(ends[-1] + 4, beside + 14)
        x = across.position(max(rows)) + 10
        parts.append(element("text", name, x=x, y=beside, **{**text, "fill": colour}))
    box = f"0 0 {WIDTH} {HEIGHT}"
    return element("svg", *parts, xmlns="http://www.w3.org/2000/svg", viewBox=box, width=WIDTH, height=HEIGHT) + "\n"


if __name__ == "__main__":
    inner = {"--stages": stages, "--convert": convert, "--decibels": decibels}
    if sys.argv[1:2] and sys.argv[1] in inner:
        print(json.dumps(inner[sys.argv[1]](*sys.argv[2:])))
    else:
        main()
