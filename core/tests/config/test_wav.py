"""Any PCM WAV file becomes 16-bit mono."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from xtalk.audio import AudioFrame
from xtalk.errors import AudioError
from xtalk.wav import read_wav, write_wav

SAMPLES = np.array([0, 0.5, -0.5, 0.25, -1.0])
EXPECTED = [0, 16384, -16384, 8192, -32768]


def riff(tag: int, channels: int, bits: int, data: bytes, *, extended: bool = False) -> bytes:
    """A WAV file at 8000 Hz, with an odd chunk of no interest in the middle."""
    size = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, 8000, 8000 * size, size, bits)
    if extended:
        form = b"\xfe\xff" + form[2:] + struct.pack("<HHIH", 22, bits, 0, tag) + bytes(14)
    chunks = b"".join(
        name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
        for name, body in ((b"fmt ", form), (b"LIST", b"odd"), (b"data", data))
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def three_bytes(samples: np.ndarray) -> bytes:  # type: ignore[type-arg]
    return b"".join(int(x * 2**23).to_bytes(3, "little", signed=True) for x in samples)


FORMS = {
    "8 bits": (1, 8, ((SAMPLES * 128) + 128).astype("u1").tobytes()),
    "16 bits": (1, 16, (SAMPLES * 2**15).astype("<i2").tobytes()),
    "24 bits": (1, 24, three_bytes(SAMPLES)),
    "32 bits": (1, 32, (SAMPLES * (2**31 - 1)).astype("<i4").tobytes()),
    "floats": (3, 32, SAMPLES.astype("<f4").tobytes()),
    "long floats": (3, 64, SAMPLES.astype("<f8").tobytes()),
}


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_every_width(tmp_path: Path, form: str, extended: bool) -> None:
    tag, bits, data = FORMS[form]
    file = tmp_path / "a.wav"
    file.write_bytes(riff(tag, 1, bits, data, extended=extended))
    frame = read_wav(file)
    assert frame.rate == 8000
    assert np.frombuffer(frame.pcm, "<i2").tolist() == EXPECTED


def test_channels_are_mixed(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(riff(1, 2, 16, struct.pack("<4h", 100, 300, -50, 50)))
    assert read_wav(file).pcm == struct.pack("<2h", 200, 0)


def test_another_rate(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    write_wav(file, AudioFrame(struct.pack("<h", 8000) * 8000, 8000))
    frame = read_wav(file, 16_000)
    assert (frame.rate, frame.samples) == (16_000, 16_000)
    assert np.abs(np.frombuffer(frame.pcm, "<i2")[2000:-2000] - 8000).max() <= 2


def test_what_was_written_is_read_by_others(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    write_wav(file, AudioFrame(b"\1\2\3\4", 22_050))
    with wave.open(str(file)) as reader:
        assert reader.getparams()[:4] == (1, 2, 22_050, 2)
        assert reader.readframes(2) == b"\1\2\3\4"


def test_a_file_cut_short_ends_where_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(riff(1, 1, 16, bytes(100))[:-51])
    assert read_wav(file).samples == 24


@pytest.mark.parametrize(
    "content, answer",
    [
        (b"", "is not a WAV file"),
        (b"RIFF....AVI ", "is not a WAV file"),
        (b"RIFF....WAVE", "without a format or without samples"),
        (riff(2, 1, 4, b"abcd"), "holds format 2 with 4 bits"),
        (riff(1, 0, 16, b"abcd"), "0 channels at 8000 Hz cannot be"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, content: bytes, answer: str) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(content)
    with pytest.raises(AudioError, match=f"a.wav: .*{answer}"):
        read_wav(file)
