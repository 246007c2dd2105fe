"""Read any PCM WAV file as 16-bit mono, write one, and write one that grows."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

from xtalk.audio import AudioFrame, Resampler, float_to_pcm
from xtalk.errors import AudioError

__all__ = ["WavFile", "read_wav", "write_wav"]

_INTEGER, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


def read_wav(path: str | Path, rate: int | None = None) -> AudioFrame:
    """The recording, mixed to mono, at `rate` Hz or at its own.

    Takes integers of 8 to 32 bits and floats, any rate, any number of channels. Raises
    AudioError that names the file and what is wrong with it.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise AudioError(f"{path}: cannot be read: {error.strerror}") from error
    frame = _mono(path, *_chunks(path, content))
    if rate is None or rate == frame.rate:
        return frame
    resampler = Resampler(frame.rate, rate, quality="HQ")
    return AudioFrame(resampler.push(frame.pcm) + resampler.flush(), rate)


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


def _chunks(path: str | Path, content: bytes) -> tuple[bytes, bytes]:
    """The chunks `fmt ` and `data`. A file cut short ends where it ends."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise AudioError(f"{path}: is not a WAV file; convert it, for example with sox or ffmpeg")
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        chunks.setdefault(name, content[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    if len(chunks.get(b"fmt ", b"")) < 16 or b"data" not in chunks:
        raise AudioError(f"{path}: is a WAV file without a format or without samples")
    return chunks[b"fmt "], chunks[b"data"]


def _mono(path: str | Path, form: bytes, data: bytes) -> AudioFrame:
    import numpy as np

    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
    if tag == _EXTENSIBLE and len(form) >= 26:
        tag = struct.unpack_from("<H", form, 24)[0]
    if channels < 1 or rate < 1:
        raise AudioError(f"{path}: {channels} channels at {rate} Hz cannot be")
    width = bits // 8
    data = data[: len(data) - len(data) % max(1, width * channels)]
    if (tag, bits) == (_INTEGER, 16) and channels == 1:
        return AudioFrame(data, rate)
    if (tag, bits) == (_INTEGER, 8):
        samples = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    elif (tag, bits) == (_INTEGER, 16):
        samples = np.frombuffer(data, "<i2").astype(np.float32) / 2**15
    elif (tag, bits) == (_INTEGER, 24):
        # Each sample behind a zero byte is one of 32 bits.
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        samples = wide.reshape(-1).view("<i4").astype(np.float32) / 2**31
    elif (tag, bits) == (_INTEGER, 32):
        samples = np.frombuffer(data, "<i4").astype(np.float32) / 2**31
    elif tag == _FLOAT and bits in (32, 64):
        samples = np.frombuffer(data, f"<f{width}").astype(np.float32)
    else:
        raise AudioError(
            f"{path}: holds format {tag} with {bits} bits; expected PCM of 8 to 32 bits or floats"
        )
    return AudioFrame(float_to_pcm(samples.reshape(-1, channels).mean(axis=1)), rate)
