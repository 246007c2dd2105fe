"""The end of a turn, judged by the last words and by the energy of what follows them."""

from __future__ import annotations

import pytest

from xtalk.testing.fakes import tone
from xtalk.turn_detector import TextTurnDetector, Voice


def judge(text: str, silence_ms: float = 0) -> tuple[str, int | None]:
    verdict = TextTurnDetector().judge(text, silence_ms=silence_ms, agent_speaking=False)
    return verdict.kind, verdict.wait_ms


@pytest.mark.parametrize(
    "text",
    ["I would like to book a table for", "turn left and", "well, um", "it is 0 4 1",
     "call oh four one five", "我想去北京，因为", "帮我查一下那个", "the price of", "so, then,"],
)  # fmt: skip
def test_what_cannot_be_all_is_waited_for(text: str) -> None:
    assert judge(text) == ("incomplete", 1200)
    assert judge(text, silence_ms=1000) == ("incomplete", 200)
    assert judge(text, silence_ms=1200)[0] == "complete"


@pytest.mark.parametrize(
    "text", ["Stop!", "yes", "what time is it?", "thanks", "几点了", "好吗？", "谢谢"]
)
def test_what_is_surely_all_is_answered_soon(text: str) -> None:
    assert judge(text) == ("complete", 200)


@pytest.mark.parametrize("text", ["what time is it", "two plus three", "turn left", "今天天气", ""])
def test_the_rest_takes_the_default_silence(text: str) -> None:
    assert judge(text) == ("complete", None)


def heard(*levels: int) -> float:
    """The silence in ms behind frames of 20 ms with these amplitudes."""
    voice = Voice()
    for number, level in enumerate(levels, 1):
        voice.hear(tone(0.02, rate=16_000, level=level), number * 0.02)
    return round(voice.silence_ms(len(levels) * 0.02), 3)


@pytest.mark.parametrize("loudness", [200, 2000, 20_000])
def test_silence_is_what_is_20_db_below_the_voice_however_loud_that_is(loudness: int) -> None:
    room, softly = loudness // 20, loudness // 5
    assert heard(room, loudness, loudness) == 0
    assert heard(loudness, room, room, room) == 60
    assert heard(loudness, room, softly, room) == 20
    assert heard(room, room, loudness, 0, 0) == 40


@pytest.mark.parametrize("levels", [(), (0, 0, 0), (3000, 1000, 900)])
def test_without_a_voice_or_in_noise_no_silence_is_found(levels: tuple[int, ...]) -> None:
    assert heard(*levels) == 0


def test_half_a_sample_and_no_sample_break_nothing() -> None:
    voice = Voice()
    voice.hear(tone(0.02, rate=16_000) + b"\1", 0.02)
    voice.hear(b"", 0.04)
    assert voice.silence_ms(0.04) == pytest.approx(20)


def test_another_segment_has_a_loudness_of_its_own() -> None:
    voice = Voice()
    voice.hear(tone(0.02, rate=16_000, level=20_000), 0.02)
    voice.begin()
    assert voice.silence_ms(1.0) == 0
    voice.hear(tone(0.02, rate=16_000, level=200), 1.0)
    assert voice.silence_ms(1.1) == pytest.approx(100)
