"""Transcripts out of the service's events, in whatever order they come."""

from __future__ import annotations

from typing import Any

import pytest
from xtalk_asr_qwen3.heard import COMPLETED, PARTIAL, Heard

from xtalk.remote import Unreadable


def partial(item: str, text: str, stash: str = "") -> dict[str, Any]:
    return {"type": PARTIAL, "item_id": item, "text": text, "stash": stash, "language": "zh"}


def completed(item: str, transcript: str) -> dict[str, Any]:
    return {"type": COMPLETED, "item_id": item, "transcript": transcript, "language": "zh"}


def after(*events: dict[str, Any]) -> Heard:
    heard = Heard()
    for event in events:
        heard.take(event)
    return heard


def test_trap_63_the_stable_prefix_is_kept_in_partials() -> None:
    transcript = after(partial("a", "今天天气", "真不")).transcript()
    assert (transcript.text, transcript.stable, transcript.final) == ("今天天气真不", 4, False)


def test_trap_63_every_part_is_kept() -> None:
    heard = after(completed("a", "今天天气真不错。"), completed("b", "我们出去吧。"))
    assert heard.transcript(final=True).text == "今天天气真不错。我们出去吧。"


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        ("你好。", "再见。", "你好。再见。"),
        ("Hello.", "Goodbye.", "Hello. Goodbye."),
        ("你好。", "Goodbye.", "你好。 Goodbye."),
        ("", "再见。", "再见。"),
        ("Hello.", "", "Hello."),
    ],
)
def test_parts_are_joined_as_the_language_wants(one: str, other: str, text: str) -> None:
    assert after(completed("a", one), completed("b", other)).transcript().text == text


def test_a_part_that_is_completed_late_keeps_its_place() -> None:
    heard = after(partial("a", "one", " tow"), partial("b", "", "three"))
    heard.take(completed("a", "one two"))
    assert heard.transcript().text == "one two three"
    assert heard.transcript().stable == len("one two ")
    heard.take(completed("b", "three four"))
    assert heard.transcript().stable == len("one two three four")


def test_nothing_behind_a_part_that_may_change_is_stable() -> None:
    heard = after(partial("a", "one", " two"), completed("b", "three"))
    assert heard.transcript().stable == len("one")


def test_a_completed_part_is_not_undone() -> None:
    heard = after(completed("a", "one two"))
    assert not heard.take(partial("a", "one", ""))
    assert heard.transcript().text == "one two"


def test_events_without_names_belong_to_the_part_that_is_open() -> None:
    events = [partial("a", "one", ""), completed("a", "one."), partial("b", "", "two")]
    heard = after(*({**event, "item_id": None} for event in events))
    assert heard.transcript().text == "one. two"


def test_what_says_the_same_again_is_no_news() -> None:
    heard = after(partial("a", "one", " two"))
    assert not heard.take(partial("a", "one", " two"))
    assert not heard.take({"type": "input_audio_buffer.speech_stopped", "item_id": "a"})


def test_the_language_is_told() -> None:
    assert after(partial("a", "今天", "")).transcript().lang == "zh"
    assert Heard().transcript().lang is None


@pytest.mark.parametrize("name", ["text", "stash", "language", "transcript"])
def test_what_should_be_a_text_and_is_not_is_no_answer(name: str) -> None:
    event = completed("a", "") if name == "transcript" else partial("a", "", "")
    with pytest.raises(Unreadable, match=name):
        after({**event, name: ["one"]})
    assert after({**event, name: None}).transcript().text == ""
