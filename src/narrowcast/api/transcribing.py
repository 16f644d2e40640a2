"""`transcribe`: a file to the JSON that spells it, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from narrowcast._files import atomic_path, map_file, size_of
from narrowcast.api.models import format_of, spare
from narrowcast.api.options import TranscribeOptions, refuse_unknown
from narrowcast.errors import ModelFileError, UnsupportedError, UsageError, at, foreign_as
from narrowcast.evaluation.results import WrittenFile
from narrowcast.readers import formats as sources
from narrowcast.schemas.transcripts import TRANSCRIPTS, Transcript, as_binary, family

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["transcribe", "transcribes"]


def _check_onnx(path: Path) -> None:
    from narrowcast.readers.onnx import check_file

    check_file(path)


def _check_tflite(path: Path) -> None:
    from narrowcast.readers.tflite.check import check
    from narrowcast.readers.tflite.file import parse

    check(parse(map_file(path)))


CHECKS: Mapping[str, Callable[[Path], None]] = {"onnx": _check_onnx, "tflite": _check_tflite}
"""By format, what finds a contradiction in a file; a conversion asks this module and needs none of them."""


def transcribes(
    source: str | Path, destination: str | Path, *, fmt: str | None = None, source_format: str | None = None
) -> bool:
    """Whether one file is to be the JSON of the other, or the same model in other JSON."""
    with suppress(ModelFileError, UsageError):  # which those tell who read the file
        origin = sources.find(Path(source), source_format).name
        target = format_of(destination, fmt, source, source_format)
        return family(origin) == family(target) and not TRANSCRIPTS.keys().isdisjoint((origin, target))
    return False


def transcribe(
    source: str | Path,
    destination: str | Path,
    *,
    fmt: str | None = None,
    **options: Unpack[TranscribeOptions],
) -> WrittenFile:
    """Writes a file as JSON, or JSON as the file that it spells: all of it, as it is, with nothing run or proven.

    Args:
        source: an ONNX or TFLite file, or JSON of one.
        destination: the same model in the other form.
        fmt: the destination's format, where its suffix does not tell.
        options: see `TranscribeOptions`.

    Raises:
        ModelFileError: the source is missing or damaged, or a value of the JSON is not what its field takes; the
            error names its place.
        UsageError: source and destination are not the same format in two forms.
        OutputError: the destination cannot be written.
    """
    refuse_unknown(TranscribeOptions, options)
    source, destination = Path(source), Path(destination)
    source_format, inline_limit = options.get("source_format"), options.get("inline_limit")
    origin = sources.find(source, source_format).name
    target = format_of(destination, fmt, source, source_format)
    if not transcribes(source, destination, fmt=fmt, source_format=source_format):
        raise UsageError(f"{target} is no transcript of {origin}", hint="load and save convert one into the other")
    if target not in TRANSCRIPTS and inline_limit is not None:
        raise UsageError(f"{target} files have no inline limit", hint="leave --inline-limit out")
    spare(source, destination)
    notes: list[str] = []
    sound = foreign_as(ModelFileError, f"not a sound {origin} file")
    with atomic_path(destination) as temporary, at(str(source)), sound:
        if target in TRANSCRIPTS:
            with as_binary(source, origin, notes) as binary:
                notes += TRANSCRIPTS[target].transcriber.from_binary(binary, temporary, inline_limit)
        else:
            notes += TRANSCRIPTS[origin].transcriber.to_binary(source, temporary)
            notes += _checked(temporary, TRANSCRIPTS[origin])
        size = size_of(temporary.parent)
    return WrittenFile(destination, size, target, "as it is", unverified_because="a transcription", notes=tuple(notes))


def _checked(path: Path, row: Transcript) -> tuple[str, ...]:
    """Refuses a file that contradicts itself, by the place in its JSON; notes what could not be checked.

    Raises:
        ModelFileError: the file contradicts itself.
    """
    try:
        CHECKS[row.binary](path)
    except (ModelFileError, UnsupportedError) as error:
        row.transcriber.retell(path, error)
        if isinstance(error, ModelFileError):
            raise
        return (f"not all of it could be checked: {error}",)
    return ()
