"""Read any PCM WAV as 16-bit mono, also while it still arrives; write one, also one that grows."""

from __future__ import annotations

import errno
import os
import struct
import sys
from pathlib import Path
from typing import Any, NamedTuple

from xtalk.audio import AudioFrame, Resampler, float_to_pcm
from xtalk.errors import AudioError

__all__ = ["WavFile", "WavStream", "read_wav", "write_wav"]

_INTEGER, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_LONGEST_FORM = 4096  # bytes; real ones have 16 to 40
_KNOWN = 0x7F000000  # who does not know a size writes 0, or something near 2 or 4 GiB


def read_wav(path: str | Path, rate: int | None = None) -> AudioFrame:
    """The recording, mixed to mono, at `rate` Hz or at its own.

    Takes integers of 8 to 32 bits and floats, any rate, any number of channels. Raises
    AudioError that names the file and what is wrong with it.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise AudioError(f"{path}: cannot be read: {error.strerror}") from error
    stream = WavStream(path)
    frames = stream.push(content)
    stream.end()
    frame = frames[0] if frames else AudioFrame(b"", stream.rate)
    if rate is None or rate == frame.rate:
        return frame
    resampler = Resampler(frame.rate, rate, quality="HQ")
    return AudioFrame(resampler.push(frame.pcm) + resampler.flush(), rate)


class WavStream:
    """A WAV file that arrives in pieces of any size, as 16-bit mono while it arrives.

    Comes at `rate` Hz (through a Resampler, which holds back no samples to speak of) or at its
    own. A size of 0 or of more than will ever come is one that its writer did not know: then all
    that follows is samples, unless the file's own size says that other chunks do. `name` begins
    the sentence of an AudioError.
    """

    def __init__(self, name: str | Path, rate: int | None = None) -> None:
        self.rate = rate or 0  # the file's own once its header is there
        self._name = name
        self._resampler: Resampler | None = None
        self._form: _Form | None = None
        self._rest = b""
        self._passed = 0  # bytes of the file before those
        self._end = 0  # of the file, as its header says
        self._begun = False
        self._skip = 0  # bytes to come that are of no interest
        self._left: int | None = None  # bytes of samples to come; None before the first

    def push(self, piece: bytes) -> list[AudioFrame]:
        """What is ready: at most one frame. AudioError when it is no WAV that can be read."""
        self._rest += piece
        if self._left is None:
            self._read_header()
        return self._frames(self._samples())

    def end(self) -> list[AudioFrame]:
        """The rest, when no more will come. AudioError when there never was a whole header.

        A file that was cut short ends where it ends.
        """
        if not self._begun:
            raise self._no_wav()
        if self._left is None:
            raise AudioError(f"{self._name}: is a WAV file without a format or without samples")
        return self._frames(self._resampler.flush() if self._resampler else b"")

    def _no_wav(self) -> AudioError:
        return AudioError(
            f"{self._name}: is not a WAV file; convert it, for example with sox or ffmpeg"
        )

    def _frames(self, pcm: bytes) -> list[AudioFrame]:
        return [AudioFrame(pcm, self.rate)] if pcm else []

    def _samples(self) -> bytes:
        if self._left is None or self._form is None or self._resampler is None:
            return b""
        size = min(len(self._rest), self._left)
        size -= size % self._form.step
        data, self._rest = self._rest[:size], self._rest[size:]
        self._left -= size
        if self._left < self._form.step:
            self._rest = b""  # chunks behind the samples
        return self._resampler.push(_mono(self._form, data)) if data else b""

    def _read_header(self) -> None:
        if not self._begun and not self._begin():
            return
        while self._left is None:
            passed = min(self._skip, len(self._rest))
            self._rest, self._skip = self._rest[passed:], self._skip - passed
            self._passed += passed
            if len(self._rest) < 8 or not self._read_chunk():
                return

    def _begin(self) -> bool:
        """Whether the first twelve bytes are there."""
        if len(self._rest) < 12:
            return False
        if self._rest[:4] != b"RIFF" or self._rest[8:12] != b"WAVE":
            raise self._no_wav()
        self._end = 8 + int.from_bytes(self._rest[4:8], "little")
        self._rest, self._passed = self._rest[12:], 12
        self._begun = True
        return True

    def _read_chunk(self) -> bool:
        """Read the next chunk, or its head if it holds samples. False when it is not whole."""
        name, size = struct.unpack_from("<4sI", self._rest)
        if name == b"fmt " and self._form is None:
            if len(self._rest) < 8 + min(size, _LONGEST_FORM):
                return False
            self._form = _form(self._name, self._rest[8 : 8 + size])
            self.rate = self.rate or self._form.rate
            self._resampler = Resampler(self._form.rate, self.rate)
        if name == b"data":
            if self._form is None:
                raise AudioError(f"{self._name}: is a WAV file without a format before its samples")
            chunks_follow = self._passed + 16 <= self._end < _KNOWN  # two heads of 8 bytes
            self._left = size if size or chunks_follow else sys.maxsize
            self._rest = self._rest[8:]
        else:
            self._skip = 8 + size + size % 2
        return True


def write_wav(path: str | Path, frame: AudioFrame) -> None:
    """A 16-bit mono WAV file. Raises AudioError when it cannot be written."""
    try:
        Path(path).write_bytes(_header(frame.rate, 1, len(frame.pcm)) + frame.pcm)
    except OSError as error:
        raise AudioError(f"{path}: cannot be written: {error.strerror}") from error


class WavFile:
    """A new 16-bit WAV file that grows, readable by its owner alone.

    Its sizes are right after every `write`, so that a process that dies leaves a whole file.
    All methods block and raise OSError; a file of that name must not exist.
    """

    MOST = 0xFFFFFFFF - 36  # what the header can say

    def __init__(self, path: str | Path, rate: int, channels: int = 1) -> None:
        self._size = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
        self._head = (rate, channels)
        os.write(self._file, _header(rate, channels, 0))

    def write(self, pcm: bytes) -> None:
        """Whole samples of every channel. EFBIG once the file has its 4 GiB."""
        if self._size + len(pcm) > self.MOST:
            raise OSError(errno.EFBIG, "a WAV file cannot be longer")
        os.lseek(self._file, 0, os.SEEK_END)
        rest = memoryview(pcm)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self._size += len(pcm)
        # Last, so that the sizes never promise more than is there.
        os.lseek(self._file, 0, os.SEEK_SET)
        os.write(self._file, _header(*self._head, self._size))

    def close(self) -> None:
        os.close(self._file)


_BINARY: int = getattr(os, "O_BINARY", 0)


def _header(rate: int, channels: int, size: int) -> bytes:
    step = 2 * channels
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, _INTEGER, channels, rate, step * rate, step, 16)
    riff = struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE")
    return riff + form + struct.pack("<4sI", b"data", size)


class _Form(NamedTuple):
    """What a chunk `fmt ` says of the samples."""

    tag: int
    channels: int
    rate: int
    bits: int

    @property
    def step(self) -> int:
        """Bytes of one sample of every channel."""
        return max(1, self.bits // 8 * self.channels)


def _form(name: object, chunk: bytes) -> _Form:
    if len(chunk) < 16:
        raise AudioError(f"{name}: is a WAV file without a format or without samples")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        tag = struct.unpack_from("<H", chunk, 24)[0]
    if channels < 1 or rate < 1:
        raise AudioError(f"{name}: {channels} channels at {rate} Hz cannot be")
    if (tag, bits) not in [(_INTEGER, 8 * n) for n in (1, 2, 3, 4)] + [(_FLOAT, 32), (_FLOAT, 64)]:
        raise AudioError(
            f"{name}: holds format {tag} with {bits} bits; expected PCM of 8 to 32 bits or floats"
        )
    return _Form(tag, channels, rate, bits)


def _mono(form: _Form, data: bytes) -> bytes:
    """PCM16 of whole samples, the channels mixed."""
    import numpy as np

    if (form.tag, form.bits, form.channels) == (_INTEGER, 16, 1):
        return data
    samples: Any
    if form.tag == _FLOAT:
        samples = np.frombuffer(data, f"<f{form.bits // 8}").astype(np.float32)
    elif form.bits == 8:
        samples = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    elif form.bits == 24:
        # Each sample behind a zero byte is one of 32 bits.
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        samples = wide.reshape(-1).view("<i4").astype(np.float32) / 2**31
    else:
        whole = np.frombuffer(data, f"<i{form.bits // 8}")
        samples = whole.astype(np.float32) / 2 ** (form.bits - 1)
    return float_to_pcm(samples.reshape(-1, form.channels).mean(axis=1))
