"""Windows of .wav files: RIFF WAVE of PCM or of floats, of which no more is read than a window has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from narrowcast.errors import DataError
from narrowcast.model import Array

__all__ = ["Recording", "open_recording"]

PCM, FLOATS, EXTENSIBLE = 1, 3, 0xFFFE
"""Format tags (Microsoft, Multimedia Programming Interface and Data Specifications 1.0, and WAVEFORMATEXTENSIBLE)."""

MOST_CHUNKS = 1024
MOST_CHANNELS = 64
LARGEST_RATE = 10_000_000

_STREAMED = (0, 0xFFFFFFFF)
"""What a program writes as the size of the samples when it cannot go back to tell it."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A .wav file whose header was read.

    Attributes:
        path: the file.
        rate: samples per second.
        channels: how many.
        bits: of a sample; 8 to 64.
        floats: whether samples are floats; integers of 8 bits have no sign, others do.
        start: where the samples begin, in bytes.
        length: how many samples each channel has.
    """

    path: Path
    rate: int
    channels: int
    bits: int
    floats: bool
    start: int
    length: int

    def window(self, start: int, count: int) -> Array:
        """Samples from `start` on, the mean of all channels: float32 [count] in -1..1, zeros after the end.

        Raises:
            DataError: the file cannot be read any more, or holds what is no number in float32.
        """
        frame = self.channels * self.bits // 8
        wanted = min(count, max(self.length - start, 0))
        try:
            with self.path.open("rb") as file:
                file.seek(self.start + start * frame)
                content = file.read(wanted * frame)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}", where=str(self.path)) from error
        if len(content) != wanted * frame:
            raise DataError("the file has become shorter", where=str(self.path))
        samples = np.zeros(count, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            samples[:wanted] = self._real(content).reshape(wanted, self.channels).mean(1)
        if not np.isfinite(samples).all():
            raise DataError("it holds NaN or infinite samples", where=str(self.path))
        return samples

    def _real(self, content: bytes) -> Array:
        if self.floats:
            return np.frombuffer(content, f"<f{self.bits // 8}")
        if self.bits == 8:
            return np.frombuffer(content, np.uint8) / 128.0 - 1.0
        if self.bits == 24:  # no type of numpy's: as the upper three bytes of four
            wide = np.zeros((len(content) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
            return wide.reshape(-1).view("<i4") / 2.0**31
        return np.frombuffer(content, f"<i{self.bits // 8}") / 2.0 ** (self.bits - 1)


def open_recording(path: Path) -> Recording:
    """Reads the header of a .wav file.

    Raises:
        DataError: it is none, is damaged, or holds samples of another kind than PCM of 8, 16, 24 or 32 bits and floats.
    """
    try:
        with path.open("rb") as file:
            return _header(file, path, path.stat().st_size)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(path)) from error


def _header(file: IO[bytes], path: Path, size: int) -> Recording:
    riff = file.read(12)
    if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        raise DataError("not a RIFF WAVE file", where=str(path))
    form: bytes | None = None
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        kind, claimed, start = head[:4], int.from_bytes(head[4:], "little"), file.tell()
        if kind == b"data":
            there = size - start
            if claimed > there and claimed not in _STREAMED:
                raise DataError(f"it claims {claimed} bytes of samples, {there} are there", where=str(path))
            return _recording(path, form, start, there if claimed in _STREAMED else claimed)
        if kind == b"fmt ":
            form = file.read(min(claimed, 40))
        file.seek(start + claimed + claimed % 2)
    raise DataError("it holds no samples", where=str(path))


def _recording(path: Path, form: bytes | None, start: int, size: int) -> Recording:
    if form is None or len(form) < 16:
        raise DataError("it does not say what its samples are", where=str(path))
    tag, channels, rate = (int.from_bytes(form[a:b], "little") for a, b in ((0, 2), (2, 4), (4, 8)))
    bits = int.from_bytes(form[14:16], "little")
    if tag == EXTENSIBLE and len(form) >= 26:
        tag = int.from_bytes(form[24:26], "little")
    if (tag, bits) not in [*((PCM, bits) for bits in (8, 16, 24, 32)), (FLOATS, 32), (FLOATS, 64)]:
        raise DataError(
            f"its samples are of format {tag} with {bits} bits",
            where=str(path),
            hint="PCM of 8, 16, 24 or 32 bits, and floats, are read",
        )
    if not 1 <= channels <= MOST_CHANNELS or not 1 <= rate <= LARGEST_RATE:
        raise DataError(f"it claims {channels} channels at {rate} samples a second", where=str(path))
    if (length := size // (channels * bits // 8)) < 1:
        raise DataError("it holds no samples", where=str(path))
    return Recording(path, rate, channels, bits, tag == FLOATS, start, length)
