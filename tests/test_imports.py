"""What an import costs: measured in modules, in a fresh process."""

import subprocess
import sys

import pytest

HEAVY = ("numpy", "onnx", "onnx_ir", "onnxruntime", "ai_edge_litert", "h5py", "PIL", "rich", "flatbuffers", "sympy")


def imported_by(code):
    script = f"import sys\n{code}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}), file=sys.stderr)"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr.split()
    )


@pytest.mark.parametrize(
    "code",
    [
        "import narrowcast",
        "import narrowcast; narrowcast.NarrowcastError; dir(narrowcast)",
        "import narrowcast.__main__",
        "from narrowcast.cli import app",
        *(
            "from narrowcast.cli.app import cli\n"
            f"try: cli({words!r}, prog_name='narrowcast')\n"
            "except SystemExit as end: assert end.code == 0, end.code"
            for words in (["--help"], ["compare", "--help"], ["quantize", "--help"], ["completion", "fish"])
        ),
    ],
)
def test_nothing_heavy_is_imported(code):
    assert imported_by(code) & set(HEAVY) == set()


def test_the_package_alone_imports_none_of_its_modules():
    script = "import sys, narrowcast; print(*[name for name in sys.modules if name.startswith('narrowcast.')])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
