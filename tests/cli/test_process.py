"""The command line as a process of its own: exit codes, signals, and what is left on the disk."""

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from narrowcast.dialect.build import Builder
from narrowcast.model import ir

COMMAND = (sys.executable, "-m", "narrowcast")


def narrowcast(*arguments, **options):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False, **options
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A dense layer of 400 kB."""
    build = Builder.new("dense")
    x = build.input("x", (1, 200))
    weights = build.constant(np.random.default_rng(0).normal(size=(500, 200)).astype(np.float32), "weights")
    y = build("Gemm", x, weights, transB=1, name="y", shape=(1, 500))
    path = tmp_path_factory.mktemp("model") / "dense.onnx"
    ir.save(build.finish([y]), path)
    return path


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_convert_and_inspect(model, tmp_path):
    done = narrowcast("convert", model, "-o", tmp_path / "m.tflite", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    written = json.loads(done.stdout)
    assert written["bytes"] == (tmp_path / "m.tflite").stat().st_size
    assert written["parity"]["passed"] is True
    done = narrowcast("inspect", tmp_path / "m.tflite")
    assert done.returncode == 0
    assert "FULLY_CONNECTED" in done.stdout


def test_quantize_with_data(model, tmp_path):
    np.save(tmp_path / "data.npy", np.random.default_rng(1).normal(size=(9, 200)).astype(np.float32))
    done = narrowcast(
        *("quantize", model, "-o", tmp_path / "m.tflite", "--scheme", "int8"),
        *("--data", tmp_path / "data.npy", "--samples", "5", "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scheme"] == "int8"


HOSTILE = {
    "random.onnx": np.random.default_rng(0).bytes(5000),
    "empty.onnx": b"",
    "random.keras": np.random.default_rng(1).bytes(5000),
    "zip.keras": b"PK\x03\x04" + np.random.default_rng(2).bytes(500),
    "random.h5": b"\x89HDF\r\n\x1a\n" + np.random.default_rng(3).bytes(500),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_model_exits_with_5_and_leaves_nothing(name, tmp_path):
    (tmp_path / name).write_bytes(HOSTILE[name])
    done = narrowcast("convert", tmp_path / name, "-o", tmp_path / "m.tflite")
    assert done.returncode == 5, done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert left(tmp_path) == [name]


def test_a_truncated_model_exits_with_5(model, tmp_path):
    (tmp_path / "cut.onnx").write_bytes(model.read_bytes()[:200_000])
    done = narrowcast("convert", tmp_path / "cut.onnx", "-o", tmp_path / "m.tflite")
    assert done.returncode == 5, done.stderr
    assert left(tmp_path) == ["cut.onnx"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("convert", "missing.onnx", "-o", "m.tflite"), 5),
        (("convert", "MODEL", "-o", "missing/m.tflite"), 5),
        (("convert", "MODEL", "-o", "m.floppy"), 2),
        (("convert", "model.pickle", "-o", "m.tflite"), 5),
        (("convert", "MODEL", "-o", "m.tflite", "--from", "onxx"), 2),
        (("convert", "MODEL", "-o", "m.tflite", "--opset", "17"), 2),
        (("convert", "MODEL", "-o", "m.tflite", "--input", "nobody:1,2"), 2),
        (("quantize", "MODEL", "-o", "m.tflite", "--scheme", "int7", "--data", "."), 2),
        (("quantize", "MODEL", "-o", "m.tflite", "--scheme", "int8"), 2),
        (("quantize", "MODEL", "-o", "m.tflite", "--scheme", "int8", "--data", "nowhere"), 5),
        (("quantize", "MODEL", "-o", "m.tflite", "--scheme", "int8", "--data", "."), 5),
    ],
)
def test_exit_codes(words, code, model, tmp_path):
    words = [str(model) if word == "MODEL" else word for word in words]
    done = narrowcast(*words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert left(tmp_path) == []


BAD_SAMPLES = {
    "wrong shape": np.zeros((4, 199), np.float32),
    "NaN": np.full((4, 200), np.nan, np.float32),
    "no samples": np.zeros((0, 200), np.float32),
    "text": np.array([["a"] * 200]),
}


@pytest.mark.parametrize("case", BAD_SAMPLES)
def test_bad_data_exits_with_5_and_leaves_nothing(case, model, tmp_path):
    np.save(tmp_path / "data.npy", BAD_SAMPLES[case])
    target = tmp_path / "m.tflite"
    done = narrowcast("quantize", model, "-o", target, "--scheme", "int8", "--data", tmp_path / "data.npy")
    assert done.returncode == 5, done.stderr
    assert left(tmp_path) == ["data.npy"]


def test_a_disk_that_fills_exits_with_5_and_leaves_nothing(model, tmp_path):
    def no_more_than_100_kb():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = narrowcast("convert", model, "-o", tmp_path / "m.tflite", preexec_fn=no_more_than_100_kb)
    assert done.returncode == 5, done.stderr
    assert "File too large" in done.stderr
    assert left(tmp_path) == []


SLOWED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
from narrowcast.evaluation import parity
from narrowcast.__main__ import main
def verify(*args, **kwargs):
    print("verifying", flush=True)
    time.sleep(60)
parity.verify = verify
main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_leaves_nothing(number, code, model, tmp_path):
    words = ["convert", str(model), "-o", str(tmp_path / "m.tflite")]
    with subprocess.Popen(
        [sys.executable, "-c", SLOWED, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            first = process.stdout.readline()
            during = left(tmp_path)
            process.send_signal(number)
            _output, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert first == "verifying\n", errors
    assert during[0].startswith(".narrowcast-")
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert left(tmp_path) == []


TOLD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
from narrowcast.__main__ import main
from narrowcast.tuning.journal import Journal
remember = Journal.remember
def telling(*args):
    remember(*args)
    print("measured", flush=True)
    sys.stdin.readline()
Journal.remember = telling
main()
"""


def test_an_interrupted_search_writes_the_best_so_far(digits, tmp_path):
    words = ["tune", str(digits / "model.keras"), "-o", str(tmp_path / "m.tflite"), "--quiet"]
    with subprocess.Popen(
        [sys.executable, "-c", TOLD, *words, "--data", str(digits / "calibration.npz")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            first = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate("\n" * 100, timeout=120)
        finally:
            process.kill()
    assert first == "measured\n", errors
    assert process.returncode == 0, errors
    assert output.count("measured") <= 1
    assert (tmp_path / "m.tflite").exists()
    assert "as asked for" in (tmp_path / "m.tflite.tune.html").read_text()


STRUCK = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
target = sys.argv.pop(1)
class Strike:
    def find_spec(self, name, *_):
        if name == target:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
from narrowcast import __main__
sys.meta_path.insert(0, Strike())
__main__.main()
"""


@pytest.mark.parametrize(
    "module",
    [
        *("narrowcast.cli.app", "click", "click.core", "narrowcast.errors", "narrowcast.cli.convert"),
        *("narrowcast.api", "numpy", "numpy._core._multiarray_umath", "onnx_ir", "narrowcast.readers.onnx"),
        *("onnx", "onnxruntime", "narrowcast.evaluation.parity"),
    ],
)
def test_an_interrupt_during_any_import_exits_with_130(module, model, tmp_path):
    words = ["convert", str(model), "-o", str(tmp_path / "m.tflite"), "--json"]
    done = subprocess.run(
        [sys.executable, "-c", STRUCK, module, *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr == "error: interrupted; nothing was written\n"
    failure = json.loads(done.stdout)
    assert failure == {
        **dict.fromkeys(("where", "hint"), ""),
        "schema": "narrowcast/failure/1",
        "error": "NarrowcastError",
        "exit_code": 130,
        "what": "interrupted; nothing was written",
        "written": None,
    }
    assert left(tmp_path) == []


def test_an_interrupt_that_is_ignored_stays_so(model, tmp_path):
    words = ["convert", str(model), "-o", str(tmp_path / "m.tflite"), "--json"]
    ignored = STRUCK.replace("default_int_handler", "SIG_IGN")
    done = subprocess.run(
        [sys.executable, "-c", ignored, "click", *words], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_closed_pipe_is_no_accident(model):
    words = [*COMMAND, "inspect", str(model)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert "unforeseen" not in errors
    assert "Traceback" not in errors
