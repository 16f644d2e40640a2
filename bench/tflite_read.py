"""Reading a .tflite file of a gigabyte: seconds, and memory beyond the mapped file.

`python bench/tflite_read.py` writes one of 64 dense layers, and reads it in processes of their own: the checked tables
alone (`parse`), and the whole network as a model (`read`). Memory that is the process's own is told apart from pages
of the file, which the system may drop at any time.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

LAYERS, WIDTH = 64, 2048
MB = 10**6


def write(path: Path) -> None:
    """Dense layers one behind the other, of [WIDTH, WIDTH] float32 each."""
    from narrowcast.schemas.builder import Blob, build
    from narrowcast.schemas.tflite import TFLITE

    random = np.random.default_rng(0)
    blobs = [Blob(memoryview(random.random((WIDTH, WIDTH), np.float32) - 0.5).cast("B")) for _ in range(LAYERS)]
    tensors = [{"shape": [1, WIDTH], "name": f"x{place}"} for place in range(LAYERS + 1)]
    tensors += [{"shape": [WIDTH, WIDTH], "name": f"w{place}", "buffer": place + 1} for place in range(LAYERS)]
    options = {"builtin_options_type": "FullyConnectedOptions", "builtin_options": {}}
    operators = [
        {"inputs": [place, LAYERS + 1 + place, -1], "outputs": [place + 1], **options} for place in range(LAYERS)
    ]
    document = {
        "version": 3,
        "operator_codes": [{"deprecated_builtin_code": 9, "builtin_code": "FULLY_CONNECTED"}],
        "subgraphs": [{"tensors": tensors, "inputs": [0], "outputs": [LAYERS], "operators": operators}],
        "buffers": [{}, *({"data": blob} for blob in blobs)],
    }
    with path.open("wb") as file:
        build(TFLITE, document).write(file)


def own_memory(what: str = "RssAnon") -> int:
    """Resident bytes of this process that are no file's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise OSError("no /proc/self/status")


def measure(what: str, path: Path) -> str:
    """Seconds and memory of one step."""
    from narrowcast._files import map_file
    from narrowcast.readers import formats
    from narrowcast.readers.tflite import network
    from narrowcast.readers.tflite.check import check
    from narrowcast.readers.tflite.file import parse

    assert network, "imports are not measured"
    before, start = own_memory(), perf_counter()
    if what == "parse":
        kept = parse(map_file(path))
        check(kept)
    else:
        kept = formats.read(path)
    seconds, grown = perf_counter() - start, own_memory() - before
    return f"{what}: {seconds:.3f} s, {grown / MB:.0f} MB of its own, {own_memory('RssFile') / MB:.0f} MB of files"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(measure(sys.argv[1], Path(sys.argv[2])))
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "large.tflite"
            write(path)
            print(f"{path.stat().st_size / 1e9:.2f} GB")
            for what in 3 * ("parse",) + 3 * ("read",):
                command = [sys.executable, __file__, what, str(path)]
                print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="")
