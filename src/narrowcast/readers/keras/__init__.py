"""Reads Keras models: `.keras`, and the whole-model HDF5 of Keras 3 and Keras 2, without Keras.

`container` opens the file, `parse` turns its JSON into a graph of layers (`config`), `weights` finds their arrays,
`network` walks the graph, and one function per layer in `layers` emits ONNX nodes through `emit`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from narrowcast.errors import ModelFileError, at
from narrowcast.model import Model, Provenance
from narrowcast.readers.formats import ReadOptions
from narrowcast.readers.keras.container import FOREIGN, open_archive
from narrowcast.readers.keras.network import build_graph, check_supported
from narrowcast.readers.keras.parse import parse_model
from narrowcast.readers.keras.weights import load_weights

__all__ = ["read"]


@contextmanager
def _mapped() -> Iterator[None]:
    """Turns whatever a damaged or malformed file makes libraries raise into a `ModelFileError`."""
    try:
        yield
    except RecursionError as error:
        raise ModelFileError("the model is nested too deeply") from error
    except FOREIGN as error:
        raise ModelFileError(
            f"damaged, truncated or malformed: {error or type(error).__name__}",
            hint="try whether Keras itself loads the file",
        ) from error


def read(path: Path, options: ReadOptions) -> Model:
    """Reads a Keras file.

    Inputs and outputs keep Keras's layout (channels last, unless a layer says otherwise) and names.

    Raises:
        ModelFileError: the file is damaged, or its configuration and weights contradict each other.
        UnsupportedError: it holds something that cannot be expressed.
        UsageError: the options contradict the model's inputs.
    """
    with at(str(path)), _mapped(), open_archive(path) as archive:
        producer = f"Keras {archive.version}".strip()
        model = parse_model(archive.config, archive.generation)
        check_supported(model)
        graph = build_graph(model, load_weights(archive, model), options, producer=producer)
    return Model(graph, provenance=Provenance(path, "keras", producer))
