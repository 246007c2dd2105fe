"""Each event is published at its moment: one long conversation, and the order of what happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from event_table import EVENTS

from xtalk import DefaultPipeline, DefaultService, events
from xtalk.agent import ToolCall
from xtalk.events import BaseEvent
from xtalk.testing import virtual_time
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS, tone
from xtalk.wire import messages as m

LONG = ("The first sentence is here. ", "The second sentence follows it. ", "And a third one ends.")


class Versatile(ScriptedTTS):
    def clone(self) -> Versatile:
        return Versatile()

    def set_emotion(self, emotion: Any) -> None:
        pass

    def set_speed(self, speed: float) -> None:
        pass


@dataclass
class Story:
    """All events of the conversation in order, and where each chapter began."""

    seen: list[BaseEvent]
    chapters: dict[str, int]

    def chapter(self, name: str) -> list[str]:
        names = list(self.chapters)
        begin = self.chapters[name]
        following = names[names.index(name) + 1 :]
        end = self.chapters[following[0]] if following else len(self.seen)
        return [type(event).__name__ for event in self.seen[begin:end]]


@pytest.fixture(scope="module")
def story(dial: Any) -> Story:
    return virtual_time.run(_tell(dial))


async def _tell(dial: Any) -> Story:
    texts = ["sing me a song", "sing me another one", "", "stop it right now please", ""]
    agent = ScriptedAgent(
        lambda i: (
            (ToolCall("set_voice", {"name": "high"}), "La la.") if "song" in i["content"] else LONG
        )
    )
    pipeline = DefaultPipeline(
        asr=ScriptedASR(texts), llm_agent=agent, tts=Versatile(), vad=LoudnessVAD()
    )
    seen: list[BaseEvent] = []
    chapters: dict[str, int] = {}
    built = DefaultService(pipeline=pipeline)

    async with dial(built, pauses_itself=False) as call:
        kinds = {cls for cls in vars(events).values() if _is_event(cls)}
        for cls in sorted(kinds, key=lambda cls: cls.TYPE):
            call.session.subscribe(cls, seen.append, 1000)
        client = call.client

        def chapter(name: str) -> int:
            chapters[name] = len(seen)
            return len(client.timeline)

        async def say(seconds: float = 1.0) -> None:
            await client.say(tone(seconds, rate=16_000, level=8000))

        chapter("a turn")
        await say()
        await client.wait_until_heard()
        await anyio.sleep(2)

        chapter("a reply begins")
        await say()
        await client.wait_for(m.StartTts, after=len(client.timeline))
        await anyio.sleep(0.5)

        before = chapter("a cough")
        await say(0.4)
        await client.wait_for(m.ResumeTts, after=before)

        before = chapter("an interruption")
        await say()
        await client.wait_for(m.FinishAsr, after=before)
        await client.wait_until_heard(after=before)
        await anyio.sleep(2)

        before = chapter("a misfire")
        client.mark_start()
        await client.wait_for(m.InvalidAsrResult, after=before)
        client.mark_end()
        await anyio.sleep(1)

        chapter("wishes")
        client.send(m.ChangeVoice(voice_name="nobody"))
        client.send(m.ChangeVoice(voice_name="low"))
        client.send(m.ChangeEmotion(emotion_name="happy"))
        client.send(m.ChangeTtsSpeed(speed=1.2))
        client.send(m.ChangeTtsModel(model_type="other"))
        client.send(m.ChangeLlmModel(model_name="other"))
        await anyio.sleep(16)  # the client's ping and its clock_sync

        chapter("the end")
        client.send(m.ConversationEnd())
        await anyio.sleep(0.1)
    return Story(seen, chapters)


def _is_event(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, BaseEvent) and cls is not BaseEvent


ORDER: dict[str, list[list[str]]] = {
    "a turn": [
        # what is said
        ["AudioFrameReceived", "EnhancedAudioFrameReceived", "VADSpeechStart"],
        ["VADSpeechStart", "TurnLLMAgentPauseRequested", "TurnASRStartRequested"],
        ["TurnASRStartRequested", "ASRResultPartial", "VADSpeechEnd", "TurnASREndRequested"],
        ["TurnASREndRequested", "VerificationResult", "TurnLLMAgentStopRequested"],
        ["TurnLLMAgentStopRequested", "ASRResultFinal", "TurnLLMAgentStartRequested"],
        # what is answered
        ["TurnLLMAgentStartRequested", "LLMFirstChunk", "ToolCallOccurred"],
        ["ToolCallOccurred", "TTSVoiceChange", "TTSVoiceChanged"],
        ["LLMFirstChunk", "LLMAgentResponseUpdate", "LLMAgentResponseFinish"],
        ["LLMAgentResponseUpdate", "TurnTTSStartRequested", "TurnTTSTextAppendRequested"],
        ["TurnTTSTextAppendRequested", "LLMFirstSentence", "TTSStarted", "TTSChunkGenerated"],
        ["LLMAgentResponseFinish", "TurnTTSFlushRequested", "TTSFinished"],
        ["TTSChunkGenerated", "LatencyMetricsUpdated", "TTSFinished"],
        # what is heard
        ["TTSChunkGenerated", "TTSChunkPlayedConfirm", "TTSPlaybackFinished"],
        ["WebSocketMessageReceived", "TTSPlaybackFinished"],
        ["TTSFinished", "ReplyOver"],
    ],
    "a cough": [
        ["VADSpeechStart", "TurnTTSPauseRequested", "TTSPaused", "VADSpeechEnd"],
        ["VADSpeechEnd", "VerificationResult", "TurnTTSResumeRequested", "TTSResumed"],
        ["VerificationResult", "TurnLLMAgentResumeRequested"],
    ],
    "an interruption": [
        ["VADSpeechStart", "TTSPaused", "TurnTTSStopRequested", "TTSStopped", "ASRResultFinal"],
        ["TurnLLMAgentStopRequested", "TurnTTSStopRequested", "ReplyOver"],
    ],
    "a misfire": [["VADSpeechStart", "TurnASRResetRequested", "VerificationResult"]],
    "wishes": [
        ["TTSVoiceChange", "ErrorOccurred", "TTSVoiceChanged"],
        ["TTSEmotionChange", "TTSEmotionChanged"],
        ["TTSSpeedChange", "TTSSpeedChanged"],
        ["TTSModelSwitchRequested", "LLMModelSwitchRequested", "ClockSyncReceived"],
    ],
    "the end": [["ConversationEnded", "TurnLLMAgentStopRequested", "TurnTTSStopRequested"]],
}


@pytest.mark.parametrize(
    ("chapter", "order"),
    [(chapter, order) for chapter, orders in ORDER.items() for order in orders],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_events_come_at_their_moments(story: Story, chapter: str, order: list[str]) -> None:
    """Each follows the one before it, somewhere later in its chapter."""
    happened = story.chapter(chapter)
    place = 0
    for name in order:
        assert name in happened[place:], f"{name} did not come after its predecessor"
        place = happened.index(name, place) + 1


# What no part of this engine makes in such a conversation, and where it comes from.
ELSEWHERE = {
    "ASRStableSegmentReady": "simultaneous mode",
    "TranscriptionRefined": "simultaneous mode",
    "TurnASRFlushRequested": "simultaneous mode",
    "CaptionUpdated": "a captioner",
    "ThoughtUpdated": "a thought rewriter",
    "SpeakerRecognized": "a speaker encoder",
    "TextForEmbeddingReady": "an upload",
    "RetrievalUpdated": "a tool that searches: test_recipes.py",
}


def test_every_event_of_the_original_was_published(story: Story) -> None:
    happened = {type(event).__name__ for event in story.seen}
    assert set(EVENTS) - happened == set(ELSEWHERE)


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("ASRResultFinal", lambda e: e.text == "sing me a song" and e.turn_id == 1),
        ("LLMAgentResponseFinish", lambda e: e.text == "La la." and e.turn_id == 1),
        ("ToolCallOccurred", lambda e: (e.name, e.args) == ("set_voice", {"name": "high"})),
        ("TTSChunkGenerated", lambda e: e.chunk_index == 1 and len(e.audio_chunk) % 960 == 0),
        ("TTSChunkPlayedConfirm", lambda e: e.chunk_index == 1),
        ("VerificationResult", lambda e: e.is_valid and e.text_length == len("sing me a song")),
        ("AudioFrameReceived", lambda e: e.sample_rate == 16_000 and len(e.audio_data) == 1024),
        ("WebSocketMessageReceived", lambda e: "action" in e.message),
        ("LatencyMetricsUpdated", lambda e: e.llm_first_token_ms == 100),
    ],
)
def test_an_event_carries_what_it_should(
    story: Story, name: str, check: Callable[[Any], bool]
) -> None:
    first = next(event for event in story.seen if type(event).__name__ == name)
    assert check(first)
    assert first.session_id and first.at > 0
