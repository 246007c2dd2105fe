"""Any PCM WAV file becomes 16-bit mono, also one that arrives in pieces."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from xtalk.audio import AudioFrame, float_to_pcm
from xtalk.errors import AudioError
from xtalk.wav import WavStream, read_wav, write_wav

SAMPLES = np.array([0, 0.5, -0.5, 0.25, -1.0])
EXPECTED = [0, 16384, -16384, 8192, -32768]


def riff(
    tag: int,
    channels: int,
    bits: int,
    data: bytes,
    *,
    extended: bool = False,
    data_first: bool = False,
) -> bytes:
    """A WAV file at 8000 Hz, with odd chunks of no interest in front, between and behind."""
    size = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, 8000, 8000 * size, size, bits)
    if extended:
        form = b"\xfe\xff" + form[2:] + struct.pack("<HHIH", 22, bits, 0, tag) + bytes(14)
    parts = [(b"junk", b"x"), (b"fmt ", form), (b"LIST", b"odd"), (b"data", data), (b"id3 ", b"y")]
    if data_first:
        parts.sort()  # "data" before "fmt "
    chunks = b"".join(
        name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for name, body in parts
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
    file.write_bytes(riff(1, 1, 16, bytes(100))[: -51 - 10])
    assert read_wav(file).samples == 24


@pytest.mark.parametrize(
    "content, answer",
    [
        (b"", "is not a WAV file"),
        (b"RIFF....AVI ", "is not a WAV file"),
        (b"RIFF....WAVE", "without a format or without samples"),
        (riff(2, 1, 4, b"abcd"), "holds format 2 with 4 bits"),
        (riff(1, 0, 16, b"abcd"), "0 channels at 8000 Hz cannot be"),
        (riff(1, 1, 16, b"abcd", data_first=True), "without a format before its samples"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, content: bytes, answer: str) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(content)
    with pytest.raises(AudioError, match=f"a.wav: .*{answer}"):
        read_wav(file)


# --- in pieces ------------------------------------------------------------------------------------


def in_pieces(content: bytes, size: int, rate: int | None = None) -> AudioFrame:
    """What a stream makes of pieces of that many bytes."""
    stream = WavStream("the answer", rate)
    frames = []
    for start in range(0, len(content), size):
        frames += stream.push(content[start : start + size])
    frames += stream.end()
    assert {frame.rate for frame in frames} <= {stream.rate}
    return AudioFrame(b"".join(frame.check().pcm for frame in frames), stream.rate)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 44, 100_000])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("form", FORMS)
def test_the_size_of_the_pieces_changes_nothing(
    tmp_path: Path, form: str, channels: int, size: int
) -> None:
    tag, bits, data = FORMS[form]
    file = tmp_path / "a.wav"
    file.write_bytes(riff(tag, channels, bits, data * channels))
    whole = read_wav(file)
    assert whole.samples == len(SAMPLES)
    assert in_pieces(file.read_bytes(), size) == whole


@pytest.mark.parametrize("whole", [None, 0, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("unknown", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_size_that_the_server_did_not_know(unknown: int, whole: int | None) -> None:
    """Nor that of the whole file, or it says that it ends with its header."""
    samples = struct.pack("<3h", 1, 2, 3)
    head = riff(1, 1, 16, b"").removesuffix(b"id3 \1\0\0\0y\0")[:-4]
    whole = len(head) + 4 - 8 if whole is None else whole
    content = head[:4] + struct.pack("<I", whole) + head[8:] + struct.pack("<I", unknown) + samples
    assert in_pieces(content, 5).pcm == samples


def test_samples_are_passed_on_as_they_come() -> None:
    content = riff(1, 1, 16, bytes(range(100)))
    start = content.index(bytes(range(100)))
    stream = WavStream("the answer")
    assert stream.push(content[:start]) == []
    assert stream.push(b"\0\1\2") == [AudioFrame(b"\0\1", 8000)]
    assert stream.push(b"\3") == [AudioFrame(b"\2\3", 8000)]


def test_a_stream_changes_the_rate_as_it_goes() -> None:
    data = struct.pack("<h", 8000) * 8000
    stream = WavStream("the answer", 24_000)
    (first,) = stream.push(riff(1, 1, 16, data)[:-8000])
    assert first.rate == 24_000 and first.seconds > 0.4
    assert in_pieces(riff(1, 1, 16, data), 999, 24_000).samples == pytest.approx(24_000, abs=3)


@pytest.mark.parametrize(
    "content, answer",
    [
        (b"", "is not a WAV file"),
        (b'{"error": "no"}', "is not a WAV file"),
        (riff(1, 1, 16, b"")[:30], "without a format or without samples"),
        (riff(2, 1, 4, b"abcd"), "holds format 2 with 4 bits"),
    ],
)
def test_a_stream_that_is_no_wav(content: bytes, answer: str) -> None:
    with pytest.raises(AudioError, match=f"^the answer: .*{answer}"):
        in_pieces(content, 3)


def test_a_file_without_samples_has_none_though_other_chunks_follow(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(riff(1, 1, 16, b""))
    assert read_wav(file).pcm == b""


def test_samples_that_are_no_numbers_are_silence() -> None:
    pcm = float_to_pcm([np.nan, np.inf, -np.inf, 0.5])
    assert np.frombuffer(pcm, "<i2").tolist() == [0, 32767, -32768, 16384]
