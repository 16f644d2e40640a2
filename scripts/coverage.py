"""Writes the pages of coverage and docs/formats.md; --check says whether what comes from the registries is current."""

from __future__ import annotations

import re
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from narrowcast.dialect.ops import KINDS
from narrowcast.passes import decompose, fuse
from narrowcast.passes.decompose import dtypes
from narrowcast.passes.rewrite import rules_in
from narrowcast.readers import formats as readers
from narrowcast.readers.tflite import registry as tflite_registry
from narrowcast.readers.tflite.unread import UNREAD
from narrowcast.schemas.custom import KEPT
from narrowcast.schemas.tflite import TFLITE
from narrowcast.targets.litert import LITERT
from narrowcast.targets.rules import fits_all
from narrowcast.writers import formats as writers

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT))

from tests.onnx_suite.collect import collect  # noqa: E402
from tests.onnx_suite.outcome import WAYS, outcomes  # noqa: E402


def coverage() -> str:
    """One row for each ONNX operator that some part of the tool knows."""
    replaced = {
        name
        for name, rules in rules_in(decompose).by_operator.items()
        if any(rule.__module__ != dtypes.__name__ for rule in rules)
    }
    rewritten = set(rules_in(fuse).by_operator)
    rows = []
    for name in sorted({name for domain, name in KINDS if not domain} | replaced | rewritten):
        kernel = LITERT.kernels.get(name)
        how = "direct" if kernel else "replaced by others" if name in replaced | rewritten else "not yet"
        limits = "" if kernel is None or kernel.fits is fits_all else (kernel.fits.__doc__ or "")
        rule = LITERT.integers.get(name)
        integers = " ".join(
            text for text, there in (("int8", rule and rule.int8), ("16x8", rule and rule.int16)) if there
        )
        rows.append(f"| {name} | {how} | {limits} | {integers or ('float' if kernel else '')} |")
    known = sum("not yet" not in row for row in rows)
    return (
        "# Operator coverage\n\n"
        f"Generated from the registries by `scripts/coverage.py`. "
        f"{known} of {len(rows)} ONNX operators that the dialect knows "
        "reach TFLite; a graph with another is refused, with all such operators named at once.\n\n"
        "*direct*: one kernel runs the forms that are named, or all; other forms are replaced. *replaced by others*: "
        "an exact equivalent. The last column says what it computes in when the network is quantised; "
        "*float* operators become islands between DEQUANTIZE and QUANTIZE, and are named.\n\n"
        "| ONNX operator | TFLite | directly | quantised |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def tflite() -> str:
    """One row for each operator of TFLite's schema, and one for each custom operator."""
    tflite_registry.load_operators()
    kept = {row.name for row in KEPT.values()}
    rows, read = [], 0
    for name in TFLITE.enums["BuiltinOperator"].numbers:
        function = tflite_registry.READERS.get(name)
        read += function is not None
        said = "by its own name: below" if name == "CUSTOM" else UNREAD.get(name, "not yet")
        rows.append(f"| {name} | {'read' if function else ''} | {_first_line(function) if function else said} |")
    customs = [
        f"| {name} | {'read, kept on request' if name in kept else 'read'} | {_first_line(function)} |"
        for name, function in sorted(tflite_registry.CUSTOM.items())
        if not name.startswith("Flex")
    ]
    return (
        "# TFLite operators that are read\n\n"
        f"Generated from the reader's registry by `scripts/coverage.py`: {read} of the schema's {len(rows)} operators, "
        "in float and quantised, and why the others are not. What becomes of them in a file that is written: "
        "[operators](op-coverage.md).\n\n"
        "| operator | | what it does, or why it is not read |\n|---|---|---|\n" + "\n".join(rows) + "\n\n"
        "## Custom operators\n\n"
        "Those of TensorFlow are read under their own names and behind `Flex`. Those that are kept on request "
        "(`--keep-custom`) stay what they are in a TFLite file. `edgetpu-custom-op` is machine code: give the file "
        "that was compiled.\n\n"
        "| operator | | what it does |\n|---|---|---|\n" + "\n".join(customs) + "\n"
    )


def _first_line(function: object) -> str:
    return (function.__doc__ or "").strip().splitlines()[0]


def node_tests() -> str:
    """What becomes of each of ONNX's own node tests: without verification, with it, and on ONNX Runtime."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = collect(folder)
        found = {way: list(outcomes(folder, names, way)) for way in WAYS}
    right = {way: {case for case, status, _ in rows if status == "right"} for way, rows in found.items()}
    reasons: dict[str, list[str]] = {}
    for case, status, reason in found["saved"]:
        if status != "right":
            beside = "" if case in right["original"] else " °"
            reasons.setdefault(f"{status}: {_short(reason)}", []).append(case.removeprefix("test_") + beside)
    listed = sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))
    rows = [f"| {reason.replace('|', '/')} | {len(cases)} | {', '.join(sorted(cases))} |" for reason, cases in listed]
    counts = {way: len(cases) for way, cases in right.items()}
    return (
        "\n## ONNX's own node tests\n\n"
        f"Of the {len(names)} node tests of onnx {version('onnx')} that take part (`tests/onnx_suite/collect.py` says "
        "which and why), so many come out right on the test's own inputs, to a relative error of 1e-3 and exactly "
        "where they are integers:\n\n"
        "| | right |\n|---|---|\n"
        f"| converted to TFLite, run on LiteRT | {counts['written']} |\n"
        f"| the same, saved with verification on random samples | {counts['saved']} |\n"
        f"| the source on ONNX Runtime {version('onnxruntime')} | {counts['original']} |\n\n"
        f"{len(right['saved'] - right['original'])} of those saved are not right on ONNX Runtime, and "
        f"{len(right['original'] - right['saved'])} the other way round. Those that are not saved, and why (° marks "
        "those that ONNX Runtime does not get right either):\n\n"
        "| reason | tests | which |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def _short(reason: str) -> str:
    """A reason without what differs from run to run or machine to machine."""
    return re.sub(r"-?(\d+\.\d|inf) dB", "too few dB", re.sub(r"/\S+", "...", reason))[:160]


def formats() -> str:
    """One row for each format that is recognised or written."""
    written = {row.name: row for row in writers.FORMATS}
    known = {row.name: row for row in readers.FORMATS}
    rows = []
    for name in sorted({*known, *written}):
        row, made = known.get(name), written.get(name)
        suffixes = dict.fromkeys((*(row.suffixes if row else ()), *(made.suffixes if made else ())))
        kind = "folder" if (row and row.folder) or (made and made.folder) else "file"
        runtime = (made and made.runtime) or (row and row.runtime) or ""
        uses = ["read" if row and row.module else "recognised" if row else "", "written" if made else ""]
        cells = (name, kind, " ".join(suffixes), ", ".join(filter(None, uses)), runtime)
        rows.append(f"| {' | '.join(cells)} |")
    return (
        "# Formats\n\nGenerated from the registries by `scripts/coverage.py`. What a file is, its content says first "
        "and its suffix second; `--from` and `--to` override both. The last column is what runs such files here: what "
        "is written and cannot be run is said to be unverified.\n\n"
        "| format | | suffixes | | run by |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def main() -> int:
    """Writes both pages, or checks them: what comes from the registries, as measured counts have tests of their own."""
    pages = {
        DOCS / "op-coverage.md": coverage(),
        DOCS / "tflite-coverage.md": tflite(),
        DOCS / "formats.md": formats(),
    }
    if "--check" in sys.argv:
        stale = [path for path, text in pages.items() if not path.exists() or not path.read_text().startswith(text)]
        print("\n".join(f"out of date: {path}" for path in stale))
        return len(stale)
    pages[DOCS / "op-coverage.md"] += node_tests()
    for path, text in pages.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
