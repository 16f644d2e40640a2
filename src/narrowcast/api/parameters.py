"""`extract_parameters`, `replace_parameters`: a network's weights as arrays in a folder, and back into the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from narrowcast.api.models import load, save
from narrowcast.api.options import FileOptions, LoadOptions, Progress, SaveOptions, pick, refuse_unknown, silent
from narrowcast.editing import parameters
from narrowcast.editing.parameters import Extraction
from narrowcast.errors import UsageError
from narrowcast.evaluation.results import WrittenFile
from narrowcast.readers import formats as sources

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["extract_parameters", "replace_parameters"]


def extract_parameters(
    path: str | Path,
    out: str | Path,
    *,
    source_format: str | None = None,
    batch: int | Literal["dynamic"] = 1,
    input_shapes: Mapping[str, tuple[int | None, ...]] | None = None,
    signature: str = "",
) -> Extraction:
    """Writes every weight of a network as a .npy file, with an index.json that says what each is.

    Args:
        path: a model file or folder.
        out: the folder; one that `extract_parameters` has made is replaced.
        source_format: the format's name, where neither content nor suffix tells, or tell wrong.
        batch: size of a symbolic first dimension.
        input_shapes: full shapes by input name, of formats that leave none open.
        signature: the key of the graph that is meant, in files of several; empty for the first.

    Raises:
        ModelFileError: the file is missing, damaged or contradicts itself.
        UnsupportedError: it holds something that cannot be expressed.
        OutputError: the folder cannot be written.
    """
    options = sources.ReadOptions(batch, input_shapes or {}, leave_open=True, signature=signature)
    return parameters.extract(sources.read(Path(path), options, source_format), Path(out))


def replace_parameters(
    path: str | Path,
    folder: str | Path,
    out: str | Path,
    *,
    fmt: str | None = None,
    progress: Progress = silent,
    **options: Unpack[FileOptions],
) -> WrittenFile:
    """Writes a network with the weights that a folder holds, proven as `save` does; equal ones change nothing.

    Args:
        path: the model that the weights were extracted from, or one like it.
        folder: of `extract_parameters`, with other arrays of the same shapes and types.
        out: the file, of any format that is written.
        fmt: its format, where the suffix does not tell.
        progress: is told how far the work has come.
        options: of `load` and `save`.

    Raises:
        DataError: an array is missing, damaged, or of another shape or type than the weight; it names the file.
        UsageError: there are edits too.
        NarrowcastError: as `load` and `save` raise.
    """
    refuse_unknown(FileOptions, options)
    if options.get("edits") is not None:
        raise UsageError("edits and other weights are two steps", hint="edit the file that is written")
    path = Path(path)
    batch, shapes, signature = options.get("batch", 1), options.get("input_shapes") or {}, options.get("signature", "")
    how = sources.ReadOptions(batch, shapes, leave_open=True, signature=signature)
    arrays = parameters.changed(sources.read(path, how, options.get("source_format")), Path(folder))
    edits = [{"do": "set_constant", "tensors": {"name": name}, "value": array} for name, array in arrays.items()]
    reading = {**pick(LoadOptions, options), **({"edits": {"version": 1, "edits": edits}} if edits else {})}
    model = load(path, progress=progress, **pick(LoadOptions, reading))
    return save(model, out, fmt=fmt, progress=progress, **pick(SaveOptions, options))
