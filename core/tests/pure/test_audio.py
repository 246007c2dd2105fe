"""PCM16 that is cut, converted and put together again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalk.audio import AudioFrame, Framer, Resampler, float_to_pcm, pcm_to_float, resample
from xtalk.testing.fakes import hum

RATES = [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]


def cut(pcm: bytes, cuts: list[int]) -> list[bytes]:
    """The sound in pieces, cut at these bytes, in the middle of a sample as well."""
    edges = [0, *sorted(each % (len(pcm) + 1) for each in cuts), len(pcm)]
    return [pcm[start:end] for start, end in pairwise(edges)]


@given(
    st.sampled_from(RATES),
    st.sampled_from(RATES),
    st.lists(st.integers(min_value=0, max_value=100_000), max_size=12),
)
def test_a_resampled_sound_does_not_depend_on_how_it_was_cut(
    from_rate: int, to_rate: int, cuts: list[int]
) -> None:
    pcm = hum(0.2, hertz=311, rate=from_rate)
    resampler = Resampler(from_rate, to_rate)
    pieces = [resampler.push(piece) for piece in cut(pcm, cuts)]
    assert (
        b"".join([*pieces, resampler.flush()]) == resample(AudioFrame(pcm, from_rate), to_rate).pcm
    )


@pytest.mark.parametrize("rate", RATES)
def test_silence_stays_silence_at_another_rate(rate: int) -> None:
    heard = resample(AudioFrame(bytes(2 * rate), rate), 48_000).pcm
    assert len(heard) == pytest.approx(2 * 48_000, abs=16)
    assert not any(heard)


def test_a_sound_that_is_too_loud_at_another_rate_is_clipped_and_not_wrapped() -> None:
    """Between the samples of a full square wave lie values that PCM16 does not have."""
    square = np.repeat(np.tile(np.array([32_767, -32_768], dtype="<i2"), 200), 20)
    heard = pcm_to_float(resample(AudioFrame(square.tobytes(), 16_000), 48_000).pcm)
    expected = np.repeat(pcm_to_float(square.tobytes()), 3)
    assert heard.max() > 0.999 and heard.min() == -1.0
    assert np.mean(np.sign(heard) == np.sign(expected[: len(heard)])) > 0.9


@given(st.lists(st.integers(min_value=-32_768, max_value=32_767)))
def test_floats_hold_every_sample(samples: list[int]) -> None:
    pcm = np.array(samples, dtype="<i2").tobytes()
    assert float_to_pcm(pcm_to_float(pcm)) == pcm


@given(st.binary(max_size=400), st.lists(st.integers(min_value=0, max_value=400), max_size=8))
def test_frames_are_whole_and_lose_nothing(pcm: bytes, cuts: list[int]) -> None:
    framer = Framer(16)
    frames = [frame for piece in cut(pcm, cuts) for frame in framer.push(piece)]
    assert b"".join(frames) == pcm[: len(pcm) // 32 * 32]
    assert {len(frame) for frame in frames} <= {32}
