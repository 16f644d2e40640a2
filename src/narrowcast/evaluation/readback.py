"""A written file, read again: where a format has a reader, that proves its translation without the format's runtime."""

from __future__ import annotations

from pathlib import Path

from narrowcast.errors import ModelFileError, UnsupportedError, UsageError
from narrowcast.evaluation.source import THREADS
from narrowcast.model import Array, Feed
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.readers import formats as sources
from narrowcast.reference import Reference
from narrowcast.writers.formats import Written

__all__ = ["ReadBack", "has_reader"]


def has_reader(path: Path) -> bool:
    """Whether a written file is of a format that is read, too."""
    try:
        return bool(sources.find(path).module)
    except (UsageError, ModelFileError):  # nothing gives the format away, or nothing is there
        return False


class ReadBack:
    """A file as its format's reader understands it, on ONNX Runtime without optimisations.

    Attributes:
        name: what it runs on.
    """

    def __init__(self, path: Path, written: Written) -> None:
        """Reads a file.

        Args:
            path: the file.
            written: what its writer said of it.

        Raises:
            UnsupportedError: its format has no reader, or that cannot express something in it.
            ModelFileError: the reader finds that the file contradicts itself.
        """
        import onnxruntime

        assert written.prepared is not None
        is_open = any(None in spec.shape for spec in written.prepared.model.inputs)
        if any(None in spec.shape[1:] for spec in written.prepared.model.inputs):
            raise UnsupportedError("an open dimension is told from others only where it is the batch")
        model = sources.read(path, sources.ReadOptions(batch="dynamic" if is_open else 1))
        canonicalize(model)
        self._reference = Reference(model, threads=THREADS, optimize=False)
        self._written, self._inputs, self._outputs = written, model.inputs, model.outputs
        self.name = f"ONNX Runtime {onnxruntime.__version__}, file read back"

    @classmethod
    def open(cls, path: Path, written: Written) -> ReadBack | None:
        """Reads a file; None where its format has no reader, or that cannot express something in it."""
        try:
            return cls(path, written) if has_reader(path) else None
        except UnsupportedError:
            return None

    def run(self, feed: Feed) -> dict[str, Array]:
        """Stored outputs by name, as a runtime gives them; ports go by their order, as a format may rename them."""
        inputs = {spec.name: feed[port.name] for port, spec in zip(self._written.inputs, self._inputs, strict=True)}
        found = self._reference.run(inputs)
        return {port.name: found[spec.name] for port, spec in zip(self._written.outputs, self._outputs, strict=True)}

    def close(self) -> None:
        """Nothing is left open."""
