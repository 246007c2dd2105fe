"""The end of a turn, judged by the last words."""

from __future__ import annotations

import pytest

from xtalk.turn_detector import TextTurnDetector


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
