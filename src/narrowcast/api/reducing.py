"""`reduce_model`: the smallest part of a network on which a command still fails, as an .onnx file."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from narrowcast import targets
from narrowcast._commands import run_command
from narrowcast._files import atomic_path, size_of, temporary_at
from narrowcast.api.changes import Change
from narrowcast.api.models import format_of, spare
from narrowcast.api.options import EditOptions, Progress, ReduceOptions, pick, refuse_unknown, silent
from narrowcast.editing.reduction import Nodes, Reduction, anonymous, part, smallest
from narrowcast.editing.select import operator_of
from narrowcast.errors import OutputError, UnsupportedError, UsageError
from narrowcast.model import OPSET, Model
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.readers import formats as sources
from narrowcast.writers.onnx import store

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["MOST_RUNS", "SECONDS", "reduce_model"]

MOST_RUNS = 200
SECONDS = 60.0
TIMED_OUT = "time limit"
NOT_RUN = (126, 127)
"""Exit codes by which a shell says that it could not run a command."""


def reduce_model(
    path: str | Path,
    fails: str,
    out: str | Path,
    *,
    random_weights: bool = False,
    progress: Progress = silent,
    **options: Unpack[ReduceOptions],
) -> Reduction:
    """Looks for the smallest part of a network on which a command fails as it does on the whole.

    Args:
        path: a model file or folder.
        fails: run by the shell for each part, with the path of its .onnx file in the place of `{}`, or else behind it.
            It fails when its exit code is not 0, and a part counts when the code is that of the whole.
        out: the .onnx file to write.
        random_weights: also replace weights by random ones of the same range, and names by numbers.
        progress: is told how often the command was run.
        options: see `ReduceOptions`; of several `shapes` the first is meant.

    Raises:
        UsageError: the command does not fail on the whole, or cannot be run; with random weights, or at all.
        ModelFileError: the file is missing, damaged or contradicts itself.
        UnsupportedError: it cannot be read, or not be written in the opset.
        OutputError: the destination cannot be written.
    """
    refuse_unknown(ReduceOptions, options)
    path, out = Path(path), Path(out)
    most, seconds = options.get("most_runs", MOST_RUNS), options.get("seconds", SECONDS)
    opset = targets.find("onnxruntime", options.get("opset") or OPSET).opset
    if format_of(out) != "onnx":
        raise UsageError(f"the part is written as ONNX, not as {out.name!r}", hint="give a name.onnx")
    if most < 1 or seconds <= 0:
        raise UsageError("the command has to be run", hint="give runs and seconds above 0")
    if not fails.strip() or "\0" in fails:
        raise UsageError("there is no command", hint="give one that fails on the network")
    spare(path, out)
    progress("reading", 0, None)
    model = _read(path, options)
    with tempfile.TemporaryDirectory(prefix="narrowcast-") as folder, temporary_at(Path(folder)):
        trial = _Trial(fails, Path(folder) / "run" / "part.onnx", seconds, opset, most, progress)
        return _reduced(model, trial, out, random_weights=random_weights, seed=options.get("seed", 0))


def _read(path: Path, options: ReduceOptions) -> Model:
    """The network as its reader gives it, edited; in canonical form where operators are substituted."""
    change, sizes = Change.of(pick(EditOptions, options)), options.get("shapes", ())
    shapes, freeze = options.get("input_shapes") or {}, options.get("freeze") or {}
    opened = tuple(sizes[0]) if sizes else ()
    reading = sources.ReadOptions(
        options.get("batch", 1), shapes, freeze, opened, signature=options.get("signature", "")
    )
    model = change.edited(sources.read(path, reading, options.get("source_format")))
    if change.substitutions:
        canonicalize(model)
    return change.substituted(model)


def _reduced(model: Model, trial: _Trial, out: Path, *, random_weights: bool, seed: int) -> Reduction:
    outcome = trial.outcome(model)
    if not outcome:
        raise UsageError(
            "the command does not fail on the whole network",
            hint="it fails by an exit code that is not 0; the network is handed to it as .onnx",
        )
    if random_weights:
        model = anonymous(model, seed)
        if trial.outcome(model) != outcome:
            raise UsageError("with random weights the command does not fail so", hint="leave --random-weights out")

    def fails(nodes: Nodes) -> bool:
        candidate = part(model, nodes)
        return candidate is not None and trial.outcome(candidate, f", {len(nodes)} nodes") == outcome

    count = len(model.graph)
    nodes, is_minimal = smallest(count, fails, trial.most)
    found = (part(model, nodes) if len(nodes) < count else None) or model.clone()
    found.ir.metadata_props.clear()
    found.ir.doc_string = f"{len(nodes)} of {count} nodes of a network, on which a command still fails ({outcome})"
    with atomic_path(out) as temporary:
        store(found.ir, temporary, trial.opset)
        size = size_of(temporary.parent)
    return Reduction(
        path=out,
        bytes=size,
        command=trial.command,
        outcome=outcome,
        nodes=len(nodes),
        source_nodes=count,
        operators=tuple(Counter(map(operator_of, found.graph)).most_common()),
        inputs=tuple((spec.name, spec.shape) for spec in found.inputs),
        outputs=tuple((spec.name, spec.shape) for spec in found.outputs),
        runs=trial.runs,
        is_minimal=is_minimal,
        random_weights=random_weights,
    )


@dataclass(slots=True)
class _Trial:
    """A command that is run on one network after the other.

    Attributes:
        command: of the user.
        place: where each network lies.
        seconds: that a run may take.
        opset: of the networks.
        most: runs that were asked for.
        progress: is told of each run.
        runs: so far.
    """

    command: str
    place: Path
    seconds: float
    opset: int
    most: int
    progress: Progress
    runs: int = 0

    def outcome(self, model: Model, note: str = "") -> str:
        """How the command fails on a network; empty where it does not, or the opset cannot hold the network.

        Raises:
            UsageError: the shell cannot run it.
        """
        self.progress(f"running the command{note}", min(self.runs, self.most), self.most)
        try:
            store(model.clone().ir, self._cleared(), self.opset)
        except UnsupportedError:
            if self.runs == 0:
                raise
            return ""
        except OSError as error:
            raise OutputError(f"cannot write here: {error.strerror or error}", where=str(self.place)) from error
        self.runs += 1
        code = run_command(_line(self.command, self.place), self.seconds)
        if code in NOT_RUN:
            raise UsageError(f"the shell cannot run {self.command!r}", hint=f"it ends with {code}")
        if code is None:
            return TIMED_OUT
        return f"signal {-code}" if code < 0 else f"exit code {code}" if code else ""

    def _cleared(self) -> Path:
        """The place, with nothing of earlier runs beside it, whatever the command did there."""
        shutil.rmtree(self.place.parent, ignore_errors=True)
        self.place.parent.mkdir(parents=True, exist_ok=True)
        return self.place


def _line(command: str, place: Path) -> str:
    quoted = shlex.quote(str(place))
    return command.replace("{}", quoted) if "{}" in command else f"{command} {quoted}"
