"""The options and outputs that scripts rely on, word by word."""

import json
import shlex
from dataclasses import replace
from types import SimpleNamespace

import pytest

from narrowcast import errors, targets
from narrowcast.cli.app import COMMANDS
from tests.report import samples

DATA = {
    "preprocess": "tf",
    "mean": (1.0, 2.0, 3.0),
    "std": (4.0,),
    "scale": 0.5,
    "channel_order": "bgr",
    "normalize": "(x - 127.5) / 127.5",
    "resize": 96,
    "crop": 0.875,
}
DATA_WORDS = (
    *("--preprocess", "tf", "--mean", "1,2,3", "--std", "4", "--scale", "0.5", "--channel-order", "bgr"),
    *("--normalize", "(x - 127.5) / 127.5", "--resize", "96", "--crop", "0.875"),
)
SAMPLING = {"label_offset": 1, "sample_rate": 16000, "seed": 7}
SAMPLING_WORDS = ("--label-offset", "1", "--sample-rate", "16000", "--seed", "7")
VERIFYING_WORDS = ("--no-verify", "--reference", "canonical")
ABSENT = dict.fromkeys(DATA)
UNSAMPLED = {"label_offset": 0, "sample_rate": None, "seed": 0}


SIZES = {"shapes": ((128,), (320, 480))}
NO_CHANGES = {"edits": None, "cut_inputs": (), "cut_outputs": (), "substitute": {}}
NO_BARS = {"min_sqnr": None, "max_drop": None}


def test_convert_takes_every_option(run, calls):
    words = (
        "--to tflite --opset 19 --scheme float16 --io-layout source --from onnx --batch 4 --input a:1,2 "
        "--input b:1x3x8x8 --signature key --freeze sr=16000 --shapes 128,320x480 --edits e.json --keep-custom "
        "--cut-inputs a,b --cut-outputs c --substitute prelu=minmax --substitute swish=hard_swish"
    )
    result = run("convert", "m.onnx", "-o", "m.tflite", *words.split(), *VERIFYING_WORDS)
    assert result.exit_code == 0, result.output
    (path,), options = calls["load"]
    assert path.name == "m.onnx"
    shapes = {"a": (1, 2), "b": (1, 3, 8, 8)}
    assert options.pop("edits").name == "e.json"
    changes = {"cut_inputs": ("a", "b"), "cut_outputs": ("c",)}
    changes["substitute"] = {"prelu": "minmax", "swish": "hard_swish"}
    reading = {"source_format": "onnx", "batch": 4, "input_shapes": shapes, "freeze": {"sr": 16000.0}, **SIZES}
    reading["signature"] = "key"
    assert options == {**reading, **changes, "keep_custom": True}
    assert calls["quantize"][0][1] == "float16"
    assert calls["quantize"][1] == {"fmt": "tflite", "opset": 19}
    (_model, target), options = calls["save"]
    assert target.name == "m.tflite"
    written = {"fmt": "tflite", "opset": 19, "io_layout": "source", "inline_limit": None}
    assert options == {**written, "verify": False, "reference": "canonical", **NO_BARS}


def test_convert_dequantizes_first(run, calls):
    assert run("convert", "m.tflite", "-o", "f.tflite", "--dequantize", "--scheme", "float16").exit_code == 0
    assert [name for name in calls if name != "answer"] == ["load", "dequantize", "quantize", "save"]
    assert calls["quantize"][0][1] == "float16"


@pytest.mark.parametrize(
    ("stored", "scheme", "quantizes"),
    [("int8", "", False), ("int8", "float32", True), ("float16", "float16", False), ("float32", "float32", False)],
)
def test_convert_heeds_a_scheme_that_the_source_has_not(run, calls, stored, scheme, quantizes):
    calls["answer"]("load", SimpleNamespace(scheme=stored))
    words = ("--scheme", scheme) if scheme else ()
    assert run("convert", "m.tflite", "-o", "f.tflite", *words).exit_code == 0
    assert ("quantize" in calls) == quantizes


def test_convert_defaults(run, calls):
    assert run("convert", "m.onnx", "-o", "m.tflite").exit_code == 0
    reading = {"source_format": None, "batch": 1, "input_shapes": {}, "freeze": {}, "shapes": (), "signature": ""}
    assert calls["load"][1] == {**reading, **NO_CHANGES, "keep_custom": False}
    assert "quantize" not in calls
    written = {"fmt": "tflite", "opset": None, "io_layout": "target", "inline_limit": None}
    assert calls["save"][1] == {**written, "verify": True, "reference": "auto", **NO_BARS}


def test_json_of_a_file_is_a_transcription(run, calls, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"x")
    words = ("--from", "onnx", "--inline-limit", 64, "--no-verify")
    assert run("convert", tmp_path / "m.onnx", "-o", tmp_path / "m.json", *words).exit_code == 0
    assert calls["transcribe"][1] == {"fmt": "onnx-json", "source_format": "onnx", "inline_limit": 64}
    assert "load" not in calls
    assert run("convert", tmp_path / "m.onnx", "-o", tmp_path / "m.json", "--batch", 2).exit_code == 0
    assert calls["save"][1]["fmt"] == "onnx-json"


def test_a_dynamic_batch(run, calls):
    assert run("convert", "m.onnx", "-o", "m.tflite", "--batch", "dynamic").exit_code == 0
    assert calls["load"][1]["batch"] == "dynamic"


def test_finetune_takes_every_option(run, calls):
    words = "--scheme int8 --data d/ --samples 64 --weights per-tensor --repair equalize --io-type uint8 --to tflite"
    words += (
        " --epochs 3 --piece-epochs 7 --learning-rate 0.05 --batch-size 4 --device cuda --learned-steps --on-labels"
    )
    result = run(
        *("finetune", "m.keras", "-o", "q.tflite", "--checkpoint", "state"),
        *words.split(),
        *DATA_WORDS,
        *SAMPLING_WORDS,
    )
    assert result.exit_code == 0, result.output
    (_model, scheme, data, labels, epochs), options = calls["finetune"]
    assert (scheme, str(data), labels, epochs) == ("int8", "d", "data", 3)
    assert str(options.pop("checkpoint")) == "state"
    training = {"piece_epochs": 7, "learning_rate": 0.05, "batch_size": 4, "device": "cuda", "learned_steps": True}
    wanted = {**training, "samples": 64, "weights": "per-tensor", "repairs": ("equalize",), "io_type": "uint8"}
    assert wanted.items() <= options.items()
    assert (options["fmt"], options["seed"]) == ("tflite", 7)
    assert str(calls["save"][1]["data"]) == "d"


def test_finetune_has_the_defaults_of_the_recipe(run, calls):
    from narrowcast.training import Recipe

    assert run("finetune", "m.keras", "-o", "q.tflite", "--scheme", "int8", "--data", "d").exit_code == 0
    (*_, labels, epochs), options = calls["finetune"]
    assert (labels, epochs) == (None, Recipe().epochs)
    for name in ("piece_epochs", "learning_rate", "batch_size", "seed", "device", "learned_steps"):
        assert options[name] == getattr(Recipe(), name), name


def test_quantize_takes_every_option(run, calls):
    words = "--scheme int8 --data d/ --samples 64 --weights per-tensor --observer entropy --io-type uint8"
    words += " --repair bias --global-scale 8 --weight-bits 4 --block-size 32"
    words += " --override head/*=float32 --override a=b=int16x8"
    more = "--io-layout source --labels l.txt --batch 2 --input a:1,2 --to tflite --min-sqnr 20.5 --max-drop 0.01"
    result = run("quantize", "m.keras", "-o", "q.tflite", *words.split(), *more.split(), *DATA_WORDS, *SAMPLING_WORDS)
    assert result.exit_code == 0, result.output
    (_model, scheme), options = calls["quantize"]
    assert scheme == "int8"
    assert str(options.pop("data")) == "d"
    quantizer = {
        "samples": 64,
        "weights": "per-tensor",
        "observer": "entropy",
        "io_type": "uint8",
        "repairs": ("bias",),
        "global_scale": 8.0,
        "weight_bits": 4,
        "block_size": 32,
    }
    quantizer["overrides"] = {"head/*": "float32", "a=b": "int16x8"}
    assert options == {"fmt": "tflite", "opset": None, **quantizer, **DATA, **SAMPLING}
    options = calls["save"][1]
    assert str(options.pop("data")) == "d"
    written = {"fmt": "tflite", "opset": None, "io_layout": "source", "inline_limit": None}
    bars = {"min_sqnr": 20.5, "max_drop": 0.01}
    assert options == {**written, "verify": True, "reference": "auto", **bars, **DATA, **SAMPLING}
    assert calls["load"][1]["labels"].name == "l.txt"


def test_quantize_defaults(run, calls):
    assert run("quantize", "m.keras", "-o", "q.tflite", "--scheme", "full_int8", "--data", "d").exit_code == 0
    options = calls["quantize"][1]
    del options["data"]
    defaults = {"samples": 128, "weights": "per-channel", "observer": "auto", "io_type": None}
    defaults |= {"overrides": {}, "repairs": (), "global_scale": None, "weight_bits": None, "block_size": None}
    assert options == {"fmt": "tflite", "opset": None, **defaults, **ABSENT, **UNSAMPLED}


def test_compare_takes_every_option(run, calls, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    words = "--data d --calibrate c --schemes int8,float32 --threads 2,1 --max-drop 0.02 --prefer size --samples 9"
    words += " --metric own.py:score --min-metric 3.5"
    more = "--weights per-tensor --observer mse --io-type int8 --io-layout source --from keras --batch 2 --input a:1"
    formats = ("--to", "tflite,onnx", "--opset", "19")
    options = (*words.split(), *more.split(), *formats, "--freeze", "sr=16000", *VERIFYING_WORDS)
    result = run("compare", "m.keras", "-o", out, *options, *DATA_WORDS, *SAMPLING_WORDS)
    assert result.exit_code == 0, result.output
    (source, data), options = calls["compare"]
    assert (source.name, data.name) == ("m.keras", "d")
    assert options.pop("out") == out
    assert options.pop("calibrate").name == "c"
    assert options == {
        "to": ("tflite", "onnx"),
        "opset": 19,
        "inline_limit": None,
        "schemes": ("int8", "float32"),
        "threads": (1, 2),
        "max_drop": 0.02,
        "metric": "own.py:score",
        "min_metric": 3.5,
        "prefer": "size",
        "samples": 9,
        "weights": "per-tensor",
        "observer": "mse",
        "repairs": (),
        "overrides": {},
        "global_scale": None,
        "weight_bits": None,
        "block_size": None,
        "io_type": "int8",
        "io_layout": "source",
        "source_format": "keras",
        "batch": 2,
        "input_shapes": {"a": (1,)},
        "freeze": {"sr": 16000},
        "signature": "",
        "labels": None,
        **NO_CHANGES,
        "verify": False,
        "reference": "canonical",
        **DATA,
        **SAMPLING,
    }
    assert {path.name for path in out.iterdir()} == {"report.json", "report.csv", "report.html"}


def test_compare_defaults(run, calls, tmp_path):
    assert run("compare", "m.keras", "--data", "d", "-o", tmp_path).exit_code == 0
    options = calls["compare"][1]
    assert options["schemes"] is None
    assert options["to"] == ("tflite",)
    assert options["threads"] == (1, 2)
    assert options["max_drop"] == 0.01
    assert options["metric"] is options["min_metric"] is None
    assert options["calibrate"] is None


def test_a_comparison_with_an_unverified_file_exits_with_3(run, calls, tmp_path):
    result = samples.comparison()
    failed = replace(result.rows[1], written=samples.written("float32", sqnr_db=9.0), failure="it differs")
    calls["answer"]("compare", replace(result, rows=(result.rows[0], failed, *result.rows[2:])))
    ended = run("compare", "m.keras", "--data", "d", "-o", tmp_path)
    assert ended.exit_code == 3
    assert "float32 failed: it differs" in ended.stdout
    assert (tmp_path / "report.html").exists()


def test_a_comparison_with_a_failed_scheme_is_done(run, calls, tmp_path):
    assert run("compare", "m.keras", "--data", "d", "-o", tmp_path).exit_code == 0


def test_inspect_bench_and_run(run, calls):
    assert run("inspect", "m.tflite", "--from", "tflite", "--why", "--scheme", "int8").exit_code == 0
    assert calls["inspect"][1] == {
        "source_format": "tflite",
        "why": True,
        "scheme": "int8",
        "to": "tflite",
        "target": None,
        "operators": False,
        "canonical": False,
        "histograms": False,
        "batch": 1,
        "input_shapes": {},
        "signature": "",
        **NO_CHANGES,
    }
    words = "--operators table --attributes --canonical --batch 2 --input a:1,?"
    assert run("inspect", "m.onnx", *words.split()).exit_code == 0
    options = calls["inspect"][1]
    asked = {name: options[name] for name in ("operators", "canonical", "batch", "input_shapes")}
    assert asked == {"operators": True, "canonical": True, "batch": 2, "input_shapes": {"a": (1, None)}}
    assert run("inspect", "a.onnx", "b.onnx", "--canonical", "--batch", "2").exit_code == 0
    assert [path.name for path in calls["compare_networks"][0]] == ["a.onnx", "b.onnx"]
    same = {"source_format": None, "canonical": True, "histograms": False, "batch": 2, "input_shapes": {}}
    assert calls["compare_networks"][1] == {**same, "signature": ""}
    assert run("inspect", "a.onnx", "b.onnx", "--exit-code").exit_code == 1
    assert run("inspect", "m.onnx", "--for", "tensorrt").exit_code == 0
    assert calls["inspect"][1]["target"] == "tensorrt"
    assert run("bench", "a.tflite", "b.tflite", "--threads", "1,4", "--signature", "key").exit_code == 0
    assert [path.name for path in calls["bench"][0][0]] == ["a.tflite", "b.tflite"]
    assert calls["bench"][1] == {"threads": (1, 4), "signature": "key"}
    assert (
        run("run", "m.tflite", "cat.jpg", "--from", "tflite", "--labels", "l.txt", "--top", "3", *DATA_WORDS).exit_code
        == 0
    )
    assert [path.name for path in calls["run"][0]] == ["m.tflite", "cat.jpg"]
    options = calls["run"][1]
    assert options.pop("labels").name == "l.txt"
    assert options == {"source_format": "tflite", "signature": "", "top": 3, **DATA}


@pytest.mark.parametrize(
    ("words", "needed"),
    [("--exit-code", "OTHER"), ("--attributes", "--operators"), ("--scheme int8", "--why")],
)
def test_inspect_refuses_options_that_say_nothing(run, calls, words, needed):
    result = run("inspect", "m.onnx", *words.split())
    assert (result.exit_code, f"{words.split()[0]} says something with {needed} only" in result.output) == (2, True)
    assert "inspect" not in calls


def test_a_member_of_a_bundle(run, calls):
    """`--member` is a part of the model's path, on every command."""
    assert run("inspect", "b.task", "--member", "a/m.tflite").exit_code == 0
    assert calls["inspect"][0][0].as_posix() == "b.task/a/m.tflite"
    assert run("bench", "a.task", "b.task", "--member", "m").exit_code == 0
    assert [path.as_posix() for path in calls["bench"][0][0]] == ["a.task/m", "b.task/m"]
    assert run("run", "b.task", "cat.jpg", "--member", "m").exit_code == 0
    assert [path.as_posix() for path in calls["run"][0]] == ["b.task/m", "cat.jpg"]
    assert run("convert", "b.task", "-o", "m.onnx", "--member", "m").exit_code == 0
    assert calls["load"][0][0].as_posix() == "b.task/m"


def test_reduce_takes_every_option(run, calls):
    words = "--fails check -o p.onnx --random-weights --max-runs 7 --time-limit 1.5 --seed 3 --opset 17 --from onnx"
    assert run("reduce", "m.onnx", *words.split(), "--batch", "2", "--cut-outputs", "a").exit_code == 0
    (source, fails, out), options = calls["reduce_model"]
    assert (source.name, fails, out.name) == ("m.onnx", "check", "p.onnx")
    own = {"random_weights": True, "most_runs": 7, "seconds": 1.5, "seed": 3, "opset": 17, "source_format": "onnx"}
    reading = {"batch": 2, "input_shapes": {}, "freeze": {}, "shapes": (), **NO_CHANGES, "cut_outputs": ("a",)}
    reading["signature"] = ""
    assert options == {**own, **reading}
    assert run("reduce", "dir/m.keras", "--fails", "check").exit_code == 0
    assert str(calls["reduce_model"][0][2]) == "m_reduced.onnx"


def test_diff_takes_two_files_or_a_scheme(run, calls):
    assert run("diff", "m.onnx", "m.tflite", "--data", "d", "--compared", "8").exit_code == 0
    (first, second), options = calls["diff"]
    assert (first.name, second.name, options["data"].name) == ("m.onnx", "m.tflite", "d")
    assert (options["scheme"], options["fmt"], options["calibrate"], options["compared"]) == (None, None, None, 8)
    assert (options["sensitivity"], options["seconds"]) == (False, 60.0)
    words = "--scheme int8 --to onnx --data d --calibrate c --weights per-tensor --override h=float32 --observer mse"
    assert run("diff", "m.onnx", *words.split()).exit_code == 0
    (_, second), options = calls["diff"]
    assert second is None
    assert (options["scheme"], options["fmt"], options["calibrate"].name) == ("int8", "onnx", "c")
    assert (options["weights"], options["overrides"], options["observer"]) == ("per-tensor", {"h": "float32"}, "mse")


COMMAND_LINES = {
    "convert": ("convert", "m.onnx", "-o", "m.tflite"),
    "quantize": ("quantize", "m.onnx", "-o", "m.tflite", "--scheme", "int8", "--data", "d"),
    "inspect": ("inspect", "m.onnx"),
    "diff": ("diff", "m.onnx", "m.tflite", "--data", "d"),
    "bench": ("bench", "m.tflite"),
    "run": ("run", "m.tflite", "cat.jpg"),
    "reduce": ("reduce", "m.onnx", "--fails", "false"),
    "params extract": ("params", "extract", "m.onnx", "-o", "w"),
    "params replace": ("params", "replace", "m.onnx", "w", "-o", "m.tflite"),
}
NESTED = [name for name in COMMAND_LINES if " " in name]
SCHEMA = {
    "convert": "narrowcast/written-file/1",
    "quantize": "narrowcast/written-file/1",
    "inspect": "narrowcast/inspection/1",
    "diff": "narrowcast/diagnosis/1",
    "bench": "narrowcast/benchmark/1",
    "run": "narrowcast/prediction/1",
    "reduce": "narrowcast/reduction/1",
    "params extract": "narrowcast/extraction/1",
    "params replace": "narrowcast/written-file/1",
    "compare": "narrowcast/comparison/1",
}


@pytest.fixture(params=SCHEMA)
def command_line(request, tmp_path):
    lines = {**COMMAND_LINES, "compare": ("compare", "m.keras", "--data", "d", "-o", str(tmp_path))}
    return request.param, lines[request.param]


def test_json_is_one_object_on_stdout(run, calls, command_line):
    name, words = command_line
    result = run(*words, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["schema"] == SCHEMA[name]
    assert result.stderr == ""


def test_quiet_prints_nothing(run, calls, command_line):
    result = run(*command_line[1], "--quiet")
    assert result.exit_code == 0
    assert result.output == ""


def test_the_report_is_plain_text_without_a_terminal(run, calls, command_line):
    result = run(*command_line[1])
    assert result.stdout.strip()
    assert "\x1b" not in result.output
    assert result.stderr == ""


ERRORS = [
    (errors.UsageError, 2),
    (errors.VerificationError, 3),
    (errors.UnsupportedError, 4),
    (errors.UnsupportedOpError, 4),
    (errors.MissingExtraError, 4),
    (errors.BadInputError, 5),
    (errors.ModelFileError, 5),
    (errors.DataError, 5),
    (errors.OutputError, 5),
]


def test_every_error_class_is_listed():
    def descendants(kind):
        return {kind}.union(*map(descendants, kind.__subclasses__()))

    ours = {kind for kind in descendants(errors.NarrowcastError) if kind.__module__ == "narrowcast.errors"}
    assert {kind for kind, _ in ERRORS} == ours - {errors.NarrowcastError}


@pytest.mark.parametrize(("kind", "code"), ERRORS)
def test_an_error_is_one_paragraph_with_its_exit_code(run, calls, kind, code):
    calls["answer"]("load", kind("it is\nwrong.", where="m.onnx", hint="mend it"))
    result = run("convert", "m.onnx", "-o", "m.tflite")
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr == "error: m.onnx: it is wrong. Hint: mend it\n"


@pytest.mark.parametrize(("kind", "code"), ERRORS)
def test_an_error_is_json_for_scripts(run, calls, kind, code):
    calls["answer"]("load", kind("it is wrong", where="m.onnx"))
    result = run("convert", "m.onnx", "-o", "m.tflite", "--json")
    assert result.exit_code == code
    data = json.loads(result.stdout)
    assert (data["schema"], data["error"], data["exit_code"]) == ("narrowcast/failure/1", kind.__name__, code)


def test_a_failed_verification_carries_its_figures(run, calls):
    kept = samples.written("float32", sqnr_db=31.0)
    calls["answer"]("save", errors.VerificationError("31 dB", where="m.tflite", written=kept))
    data = json.loads(run("convert", "m.onnx", "-o", "m.tflite", "--json").stdout)
    assert data["written"]["parity"]["sqnr_db"] == 31.0
    assert data["written"]["parity"]["passed"] is False


def test_an_unforeseen_error_asks_to_be_reported(run, calls):
    calls["answer"]("load", ZeroDivisionError("division by zero"))
    result = run("convert", "m.onnx", "-o", "m.tflite")
    assert result.exit_code == 1
    assert "unforeseen ZeroDivisionError: division by zero" in result.stderr
    assert "report" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("options", [{"args": ["--traceback"]}, {"env": {"NARROWCAST_DEBUG": "1"}}])
def test_a_traceback_on_request(run, calls, options):
    calls["answer"]("load", errors.ModelFileError("it is wrong"))
    result = run("convert", "m.onnx", "-o", "m.tflite", *options.get("args", ()), env=options.get("env"))
    assert "Traceback" in result.stderr
    assert result.exit_code == 5


def test_an_interrupt_exits_with_130(run, calls):
    calls["answer"]("load", KeyboardInterrupt())
    result = run("convert", "m.onnx", "-o", "m.tflite")
    assert result.exit_code == 130
    assert result.stderr == "error: interrupted; nothing was written\n"


def test_memory_that_runs_out_is_told(run, calls):
    calls["answer"]("load", MemoryError())
    result = run("convert", "m.onnx", "-o", "m.tflite")
    assert (result.exit_code, result.stderr) == (1, "error: not enough memory\n")


def test_hostile_names_cannot_drive_the_terminal(run, calls):
    calls["answer"]("load", errors.ModelFileError("bad node '\x1b[2J\u202e'", where="\x1b]0;x\x07.onnx"))
    assert not any(char in run("convert", "m.onnx", "-o", "m.tflite").stderr for char in "\x1b\x07\u202e")


WRONG_USAGE = pytest.mark.parametrize(
    "words",
    [
        ("frobnicate",),
        ("convert",),
        ("convert", "m.onnx"),
        ("convert", "m.onnx", "-o", "x", "--scheme", "int8"),
        ("convert", "m.onnx", "-o", "x", "--batch", "0"),
        ("convert", "m.onnx", "-o", "x", "--batch", "many"),
        ("convert", "m.onnx", "-o", "x", "--input", "image"),
        ("convert", "m.onnx", "-o", "x", "--input", "image:"),
        ("convert", "m.onnx", "-o", "x", "--input", ":1,2"),
        ("convert", "m.onnx", "-o", "x", "--input", "image:1,-2"),
        ("convert", "m.onnx", "-o", "x", "--io-layout", "NHWC"),
        ("quantize", "m.onnx", "-o", "x"),
        ("quantize", "m.onnx", "-o", "x", "--scheme", "int8", "--data", "d", "--observer", "guess"),
        ("quantize", "m.onnx", "-o", "x", "--scheme", "int8", "--data", "d", "--samples", "0"),
        ("quantize", "m.onnx", "-o", "x", "--scheme", "int8", "--data", "d", "--mean", "a,b"),
        ("quantize", "m.onnx", "-o", "x", "--scheme", "int8", "--data", "d", "--crop", "1.5"),
        ("quantize", "m.onnx", "-o", "x", "--scheme", "int8", "--data", "d", "--crop", "0"),
        ("compare", "m.onnx", "-o", "x"),
        ("compare", "m.onnx", "-o", "x", "--data", "d", "--threads", "0"),
        ("compare", "m.onnx", "-o", "x", "--data", "d", "--threads", "1,,2"),
        ("compare", "m.onnx", "-o", "x", "--data", "d", "--schemes", ","),
        ("compare", "m.onnx", "-o", "x", "--data", "d", "--max-drop", "2"),
        ("bench",),
        ("run", "m.tflite"),
        ("completion", "powershell"),
        ("reduce", "m.onnx"),
        ("reduce", "m.onnx", "--fails", "x", "--max-runs", "0"),
        ("reduce", "m.onnx", "--fails", "x", "--time-limit", "0"),
        ("params",),
        ("params", "list"),
        ("params", "extract", "m.onnx"),
        ("convert", "", "-o", "x.tflite"),
        ("convert", "m.onnx", "-o", ""),
    ],
)


@WRONG_USAGE
def test_wrong_usage_is_json_for_scripts(run, calls, words):
    result = run(*words, "--json")
    assert result.exit_code == 2
    data = json.loads(result.stdout)
    assert (data["schema"], data["error"], data["exit_code"]) == ("narrowcast/failure/1", "UsageError", 2)
    assert data["what"] in result.stderr
    assert data["hint"].endswith(" --help")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("convrt", "m.onnx"), "convert"),
        (("Quantize", "m.onnx"), "quantize"),
        (("convert", "m.onnx", "--ouput", "x"), "--output"),
        (("quantize", "m.onnx", "-o", "x", "--obsrever", "mse"), "--observer"),
        (("params", "extrct", "m.onnx"), "extract"),
    ],
)
def test_a_mistyped_word_is_guessed(run, words, meant):
    message = run(*words).stderr.replace("'", "")
    assert "id you mean" in message
    assert meant in message.rpartition("id you mean")[2]


@WRONG_USAGE
def test_wrong_usage_exits_with_2_before_anything_runs(run, calls, words):
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert "Usage:" in result.stderr
    assert not {"load", "compare", "bench", "run"} & set(calls)


def test_input_names_may_hold_colons(run, calls):
    assert run("convert", "m.onnx", "-o", "x.tflite", "--input", "serving:0:1,8").exit_code == 0
    assert calls["load"][1]["input_shapes"] == {"serving:0": (1, 8)}


@pytest.mark.parametrize("name", [*COMMANDS, *NESTED])
def test_every_help_has_examples(run, name):
    result = run(*name.split(), "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert f"narrowcast {name}" in result.stdout.partition("Examples:")[2]


@pytest.mark.parametrize("name", [name for name in (*COMMANDS, *NESTED) if name not in ("completion", "params")])
def test_every_command_has_the_common_options(run, name):
    shown = run(*name.split(), "--help").stdout
    for option in ("--json", "--quiet", "--traceback"):
        assert option in shown


def test_examples_of_the_help_are_valid(run, calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"x")
    (tmp_path / "model.tflite.recipe.yaml").write_text("scheme: int8\n")
    for name in COMMAND_LINES.keys() | {"compare", "tune"}:
        examples = run(*name.split(), "--help").stdout.partition("Examples:")[2]
        for line in filter(None, map(str.strip, examples.splitlines())):
            result = run(*shlex.split(line)[1:])
            assert result.exit_code == 0, f"{line}\n{result.output}"


def test_the_group_lists_commands_and_exit_codes(run):
    shown = run("--help").stdout
    assert [line.split()[0] for line in shown.partition("Commands:")[2].splitlines()[1 : len(COMMANDS) + 1]] == list(
        COMMANDS
    )
    assert "Exit codes:" in shown
    assert "..." not in shown.partition("Commands:")[2].partition("Examples:")[0]


def test_version(run):
    import narrowcast

    assert run("--version").stdout == f"narrowcast {narrowcast.__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(run, shell):
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_NARROWCAST_COMPLETE" in result.stdout


def test_inspect_names_every_target(run):
    shown = run("inspect", "--help").output
    assert all(name in shown for name in targets.NAMES)
