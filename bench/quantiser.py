"""The quantiser beside its peers: figures of the written LiteRT files on samples that nothing was chosen by.

    python bench/quantiser.py [ROW...] [--only VARIANT,...] [--again] [--latency] [--publish]

A row is a network and a way to quantise it, a variant what quantises it. Figures go into NARROWCAST_BENCH_CACHE
(results.json) as soon as each is known, and what is known is not measured again unless `--again` is given: a run that
is killed loses one. `--latency` only times the files that are there, `--publish` only writes the table of what is
there to docs/benchmarks.md. Peers run in their own processes on copies; bench/README.md lists their variables.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from measure import ROOT, publish, table
from quantiser_figures import THREADS, Lite, feeds_of, figures, integer_macs, outputs_by, reference, samples_of
from quantiser_networks import NETWORKS
from quantiser_trained import folder

PEERS = Path(__file__).with_name("peers")


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        network: a key of NETWORKS.
        options: of `narrowcast.quantize`, with the scheme.
        tune: of `narrowcast.tune`; None where it is not asked for.
        finetune: of `narrowcast.finetune`, likewise.
        peers: what is measured beside it; all if None.
        asked, asked_of_tune: what is wanted, in words.
    """

    network: str
    options: Mapping[str, Any] = field(default_factory=dict)
    tune: Mapping[str, Any] | None = field(default_factory=dict)
    finetune: Mapping[str, Any] | None = None
    peers: Sequence[str] | None = None
    asked: str = ""
    asked_of_tune: str = ""


RECURRENT = {"max_float": 0.5}
"""Half of the products may be floats where most of the loss is in few layers that have most of them."""

ROWS: dict[str, Row] = {
    "mobilenet_v2": Row("mobilenet_v2", tune={"max_drop": 0.003}, asked="98 agree", asked_of_tune="-0.3, 98.5 agree"),
    "mobilenet_v2.keras": Row("mobilenet_v2.keras", tune={"max_drop": 0.003}),
    "mobilenet_v2 per-tensor": Row(
        "mobilenet_v2",
        {"weights": "per-tensor"},
        {"weights": "per-tensor"},
        {"repairs": ["equalize", "gptq"]},
        (),
        asked_of_tune="-0.5",
    ),
    "mobilenet_v2 W4A8": Row(
        "mobilenet_v2", {"weight_bits": 4}, {"weight_bits": 4}, {"repairs": ["gptq"]}, (), asked_of_tune="-1.0"
    ),
    "squeezenet1.1": Row("squeezenet1.1", asked="95.5 agree", asked_of_tune="98.5 agree"),
    "yolox_nano": Row("yolox_nano", asked="50", asked_of_tune="92"),
    "fastestdet": Row("fastestdet", asked="83", asked_of_tune="93"),
    "ultraface_raw": Row("ultraface_raw", asked="91", asked_of_tune="96"),
    "ultraface_post": Row("ultraface_post", asked="91", asked_of_tune="96"),
    "dtln_1": Row("dtln_1", tune=RECURRENT, asked="24/46", asked_of_tune="60/57"),
    "dtln_2": Row("dtln_2", tune=RECURRENT, asked="24/46", asked_of_tune="35/50"),
    "silero_micro": Row("silero_micro", tune=RECURRENT, asked="98 agree, 27", asked_of_tune="99.5 agree, 30"),
    "silero_ifless": Row("silero_ifless", tune=RECURRENT, asked="26/25", asked_of_tune="38/36"),
    "g2p": Row("g2p", asked="never below today", asked_of_tune="-0.3"),
    "tiny_resnet8": Row("tiny_resnet8", asked="never below today", asked_of_tune="-0.3"),
    "tiny_vww": Row("tiny_vww", asked="never below today", asked_of_tune="-0.3"),
    "cifar10_resnet20": Row("cifar10_resnet20", asked="never below today", asked_of_tune="-0.3"),
    "mnist8": Row("mnist8", asked="never below today", asked_of_tune="-0.3"),
    "mnist_bn": Row("mnist_bn", asked="never below today", asked_of_tune="-0.3"),
    "face_landmark": Row("face_landmark", asked_of_tune="0.5 px"),
    "face_landmark float16": Row("face_landmark", {"scheme": "float16"}, None, None, ()),
    "kwt1": Row("kwt1", tune=RECURRENT, asked_of_tune="98 agree"),
    "vit_tiny": Row("vit_tiny", tune={"max_drop": 0.005}, asked_of_tune="-0.5"),
    "mobilenet_v3_small": Row("mobilenet_v3_small", tune={"max_drop": 0.005}, asked_of_tune="-0.5"),
    "mnist_lstm": Row("mnist_lstm", tune={"max_float": 1.0, "max_drop": 0.003}, asked_of_tune="-0.3"),
    "mnist_tutorial": Row("mnist_tutorial", asked="-0.1"),
    "mnist_tutorial float16": Row("mnist_tutorial", {"scheme": "float16"}, None, None, (), asked="-0.1"),
    "mnist_tutorial 4-bit": Row(
        "mnist_tutorial",
        {"weight_bits": 4},
        {"weight_bits": 4},
        {"labels": "data", "epochs": 2},
        (),
        asked_of_tune="-0.3",
    ),
}


# What quantises


@dataclass(frozen=True)
class Variant:
    """What quantises a network.

    Attributes:
        script: of bench/peers.
        variable: names the program that runs it; empty for this one.
        takes: "source", or what the network is given to it as: "onnx", "tflite", "keras".
        more: further arguments.
    """

    script: str
    variable: str = ""
    takes: str = "source"
    more: Sequence[str] = ()


VARIANTS: dict[str, Variant] = {
    "before": Variant("narrowcast_file.py", "NARROWCAST_BENCH_BEFORE"),
    "minmax": Variant("narrowcast_file.py"),
    "default": Variant("narrowcast_file.py"),
    "tune": Variant("narrowcast_file.py"),
    "finetune": Variant("narrowcast_file.py"),
    "ai-edge-quantizer": Variant("quantise_aeq.py", "NARROWCAST_BENCH_AEQ_PYTHON", "tflite"),
    "ONNX Runtime": Variant("quantise_ort.py", "NARROWCAST_BENCH_ORT_PYTHON", "onnx"),
    "NNCF": Variant("quantise_nncf.py", "NARROWCAST_BENCH_NNCF_PYTHON", "onnx"),
    "NNCF accuracy control": Variant("quantise_nncf.py", "NARROWCAST_BENCH_NNCF_PYTHON", "onnx", ("control",)),
    "TFLiteConverter": Variant("quantise_tflite.py", "NARROWCAST_BENCH_TF_PYTHON", "keras"),
}
OWN = ("before", "minmax", "default", "tune", "finetune")


def _options(row: Row, variant: str) -> str:
    """What narrowcast_file.py is asked for, as JSON."""
    given: dict[str, Any] = {"reading": dict(NETWORKS[row.network].reading), "options": dict(row.options)}
    if variant == "tune":
        metric = NETWORKS[row.network].metrics[0]
        named = metric if isinstance(metric, str) else f"{ROOT / 'bench/quantiser_networks.py'}:{metric.__name__}"
        seconds = float(os.environ.get("NARROWCAST_BENCH_TUNE_SECONDS") or 300)
        given["tune"] = {"scheme": "int8", "metric": named, "time_budget": seconds, **(row.tune or {})}
    elif variant == "finetune":
        given["finetune"] = dict(row.finetune or {})
    elif variant in ("before", "minmax") and row.options.get("scheme", "int8") != "float16":
        given["options"]["observer"] = "minmax"
    return json.dumps(given)


def _given(row: Row, takes: str, place: Path) -> Path:
    """A copy of the network in the form that a peer takes.

    ONNX files older than opset 13, with open dimensions, and files of other formats are given as our float32 files.
    """
    import narrowcast

    network = NETWORKS[row.network]
    source = network.file()
    if takes == "onnx" and source.suffix == ".onnx" and not network.reading:
        import onnx

        if next(held.version for held in onnx.load(source).opset_import if not held.domain) >= 13:
            return Path(shutil.copy(source, place))
    if takes in ("source", "keras"):
        return Path(shutil.copy(source, place))
    made = place / f"float.{takes}"
    narrowcast.save(narrowcast.load(source, **network.reading), made, io_layout="source", verify=False)
    return made


def _skipped(row: Row, variant: str) -> str:
    """Why a variant of a row is not measured; empty where it is."""
    how = VARIANTS[variant]
    asked = variant in OWN or row.peers is None or variant in row.peers
    if not asked or (variant in ("tune", "finetune") and getattr(row, variant) is None):
        return "not asked for"
    if how.variable and not os.environ.get(how.variable):
        return f"{how.variable} is not set"
    if how.takes == "keras" and NETWORKS[row.network].file().suffix not in (".keras", ".h5"):
        return "not a Keras file"
    return ""


def measure(name: str, variant: str) -> dict[str, Any]:
    """Quantises a row's network in a process of its own, and measures what came out; a failure is a figure, too."""
    row, how = ROWS[name], VARIANTS[variant]
    samples, wanted = samples_of(row.network), reference(row.network)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        given, out = _given(row, how.takes, place), place / "out.tflite"
        learning = NETWORKS[row.network].learning
        if variant == "finetune" and learning is not None:
            arrays, classes = learning()
        else:
            arrays, classes = samples.calibration, samples.calibration_labels
        np.savez(place / "calibration.npz", **arrays, **({} if classes is None else {"y": classes}))
        program, environment = sys.executable, {**os.environ, "OMP_NUM_THREADS": str(THREADS)}
        if variant in OWN:
            checkout = Path(os.environ["NARROWCAST_BENCH_BEFORE"]) if variant == "before" else ROOT
            environment["PYTHONPATH"] = str(checkout / "src")
            words = [given, place / "calibration.npz", out, _options(row, variant)]
        else:
            program = os.environ[how.variable]
            np.savez(place / "test.npz", **samples.test)
            words = [given, place / "calibration.npz", place / "test.npz", place, *how.more]
        command = [program, PEERS / how.script, *words]
        started = time.perf_counter()
        done = subprocess.run(
            [str(word) for word in command], env=environment, cwd=place, capture_output=True, text=True, check=False
        )
        result: dict[str, Any] = {"process_s": round(time.perf_counter() - started, 2)}
        if done.returncode:
            return {**result, "failed": (done.stderr.strip() or done.stdout.strip())[-600:]}
        result["seconds"] = float(done.stdout.rpartition("seconds ")[2].split()[0])
        if out.exists():
            run = Lite(out, wanted[0])
            answers = [run(feed) for feed in feeds_of(samples.test)]
            kept = _kept(name, variant)
            kept.parent.mkdir(exist_ok=True)
            shutil.copy(out, kept)
            result["bytes"], result["integer_macs"] = out.stat().st_size, integer_macs(out)
            recipe = out.with_name(f"{out.name}.recipe.yaml")
            if recipe.exists():
                result["recipe"] = recipe.read_text()
            return {**result, **figures(row.network, answers, run)}
        with np.load(place / "outputs.npz") as held:
            arrays = {key: held[key] for key in held.files}
        known = outputs_by(list(arrays), wanted[0], next(feeds_of(arrays)))
        answers = [{key: outputs[known[key]] for key in wanted[0]} for outputs in feeds_of(arrays)]
        return {**result, **figures(row.network, answers, None)}


# Results


def _results() -> dict[str, dict[str, Any]]:
    path = folder() / "results.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _keep(name: str, variant: str, found: dict[str, Any]) -> None:
    """Adds one figure to what is there now, whoever else adds some."""
    results = _results()
    results.setdefault(name, {})[variant] = found
    part = folder() / f"results.{os.getpid()}.part"
    part.write_text(json.dumps(results, indent=1))
    part.replace(folder() / "results.json")


def cell(row: Row, found: dict[str, Any] | None) -> str:
    """A figure in words: the first metric with half its interval, the agreement, SQNR of each output."""
    if found is None:
        return ""
    if "failed" in found:
        return "failed"
    words = []
    for number, given in enumerate(NETWORKS[row.network].metrics):
        key = str(given).rpartition(":")[2] if isinstance(given, str) else given.__name__
        score = found[key]
        change = score["change"]
        around = "" if change is None or number else f" ±{(change[1] - change[0]) * 50:.1f}"
        if key == "pixels":
            words.append(f"{-score['value']:.2f} px")
        elif key != "sqnr":
            words.append(f"{score['value'] * 100:.1f}{around}" if not number else f"({score['value'] * 100:.1f})")
    decibels = "/".join(f"{value:.0f}" for value in found["outputs"][:2])
    more = [f"fed back {found['fed_back'][0]:.0f}, {found['fed_back'][1]:.0f}"] if "fed_back" in found else []
    return ", ".join([*([" ".join(words)] if words else []), *([f"{decibels} dB"] if decibels else []), *more])


def latencies(name: str) -> dict[str, float]:
    """Median milliseconds of one inference on one thread of each of our files of a row, which take turns."""
    from narrowcast.evaluation.latency import File, measure

    paths = {variant: _kept(name, variant) for variant in OWN}
    paths = {variant: path for variant, path in paths.items() if path.exists()}
    times = measure([File(path, "tflite") for path in paths.values()], [THREADS])
    return {variant: row[0].median_s * 1e3 for variant, row in zip(paths, times, strict=True)}


def _kept(name: str, variant: str) -> Path:
    """Where a written file lies after its figures are known."""
    return folder() / "files" / f"{name}_{variant}.tflite".replace(" ", "_")


ABOUT = """All calibrate on the same 128 samples and are scored on others (`bench/quantiser_networks.py`). Cells: top-1,
or agreement with the float network where there are no labels, or F1 at an overlap of a half against the float network's
own boxes, ± half the 95 % interval of its change against the float network; in brackets the agreement; then the SQNR of
each float output in dB, and of networks whose states are fed back for 30 s that of the first and of the last 5 s.
Files of narrowcast, ai-edge-quantizer and TFLiteConverter run in LiteRT, graphs of ONNX Runtime (U8S8, per channel,
min/max) and NNCF in their own runtimes. ONNX files older than opset 13, and networks of other formats, are given to
these two as narrowcast's float32 files. "before" is the first release with min/max, "failed" what the tool refuses."""
ABOUT_SECONDS = (
    "Processor seconds, from the file to the quantised one; of `tune` those of a search that wall-clock time ends."
)


def report() -> str:
    """The table of what was measured."""
    results = _results()
    shown = [variant for variant in VARIANTS if any(variant in found for found in results.values())]
    header = ["network", "float", *shown, "asked by default", "asked of tune"]
    rows = []
    for name, row in ROWS.items():
        found = results.get(name, {})
        first = NETWORKS[row.network].metrics[0]
        key = str(first).rpartition(":")[2] if isinstance(first, str) else first.__name__
        floats = [held[key]["source"] for held in found.values() if key in held and key not in ("sqnr", "pixels")]
        before = f"{floats[0] * 100:.1f}" if floats else ""
        cells = [cell(row, found.get(variant)) for variant in shown]
        rows.append([name, before, *cells, row.asked, row.asked_of_tune])
    seconds = []
    for name in ROWS:
        found = results.get(name, {})
        known = [f"{found[variant]['seconds']:.1f}" if "seconds" in found.get(variant, {}) else "" for variant in shown]
        seconds.append([name, *known])
    times = table(["network", *shown], seconds)
    more = [
        f"{name}: "
        + ", ".join(f"{variant} {value:.2f}" for variant, value in found["latency"].items())
        + " ms; products in integers: "
        + ", ".join(
            f"{variant} {found[variant]['integer_macs']:.1%}" for variant in found["latency"] if variant in found
        )
        for name, found in results.items()
        if "latency" in found
    ]
    parts = [ABOUT, table(header, rows), ABOUT_SECONDS, times, *more]
    return "\n\n".join(parts)


def main() -> None:
    """Measures what is asked for and not known yet."""
    words = sys.argv[1:]
    only = next((words[index + 1].split(",") for index, word in enumerate(words) if word == "--only"), list(VARIANTS))
    if unknown := set(only) - set(VARIANTS):
        sys.exit(f"there is no {', '.join(unknown)}; known: {', '.join(VARIANTS)}")
    names = [word for word in words if word in ROWS] or list(ROWS)
    for variant in only if not {"--publish", "--latency"} & set(words) else ():
        for name in names:
            why = _skipped(ROWS[name], variant)
            if why or ("--again" not in words and variant in _results().get(name, {})):
                continue
            try:
                found = measure(name, variant)
            except Exception as error:  # one figure that cannot be had does not cost the others
                found = {"failed": f"{type(error).__name__}: {error}"[-600:]}
            _keep(name, variant, found)
            print(f"{name}, {variant}: {found.get('failed') or cell(ROWS[name], found)}", flush=True)
    if "--latency" in words:
        for name in names:
            _keep(name, "latency", latencies(name))
    if "--publish" in words:
        publish("Quantiser", report())
    else:
        print(report())


if __name__ == "__main__":
    main()
