"""Files that real Kerases saved, made once per test run."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DEADLINE = 280


class Producers:
    """One process per generation of Keras; both run while the first is waited for, and only once for all workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[int, subprocess.Popen[str]] = {}

    def start(self) -> None:
        for generation in (3, 2):
            folder = self.folder / str(generation)
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            command = [sys.executable, "-m", "tests.readers.keras.produce", str(generation), str(folder)]
            self.processes[generation] = subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )

    def wait(self, generation: int) -> Path:
        """The folder of one generation, once it is complete."""
        folder = self.folder / str(generation)
        process = self.processes.pop(generation, None)
        if process is not None:
            _, errors = process.communicate(timeout=DEADLINE)
            assert process.returncode == 0, errors[-4000:]
        end = time.monotonic() + DEADLINE
        while not (folder / "failed.txt").exists():
            assert time.monotonic() < end, "the other worker's Keras did not finish"
            time.sleep(0.2)
        return folder

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def producers(tmp_path_factory: pytest.TempPathFactory):
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    made = Producers(shared / "keras-files")
    made.start()
    yield made
    made.stop()
