"""Requests that a program of its own publishes on the bus are obeyed."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from xtalk import Manager, events
from xtalk.serving.module_types import LLMAgentManager, TurnTakingManager
from xtalk.testing.fakes import ScriptedAgent, ScriptedASR, ScriptedTTS, tone
from xtalk.wire import messages as m

LONG = ("The first sentence is here. ", "The second sentence follows it. ", "And a third one ends.")


def test_a_reply_that_a_manager_asks_for_is_spoken(dial: Any, run: Any, service: Any) -> None:
    agent = ScriptedAgent()

    class Greeter(Manager):
        def __init__(self, event_bus: Any, session_id: str) -> None:
            self.event_bus = event_bus
            self.session_id = session_id

        @Manager.event_handler(events.ConversationStarted)
        async def greet(self, event: Any) -> None:
            await self.event_bus.publish(
                events.TurnLLMAgentStartRequested(session_id=self.session_id, text="Greet them.")
            )

        async def shutdown(self) -> None:
            pass

    built = service(llm_agent=agent)
    built.register_manager(Greeter)

    async def main() -> None:
        async with dial(built) as call:
            await call.client.wait_until_heard()
            assert [f.text for f in call.client.received(m.FinishResp)] == ["Hello. How are you?"]
            assert tone(0.3) in call.heard()
            assert call.actions().count("start_tts") == call.actions().count("tts_finished") == 1
            before = len(call.client.timeline)
            await call.turn()
            assert call.client.received(m.FinishResp, after=before)[0].turn_id == 2

    run(main)
    assert [i["content"] for i in agent.inputs] == ["Greet them.", "hello there"]


class EchoManager(Manager):
    """An agent manager of one's own: no agent, it repeats what was said, in pieces."""

    def __init__(self, event_bus: Any, session_id: str, pipeline: Any, config: Any) -> None:
        self.event_bus = event_bus
        self.session_id = session_id

    @Manager.event_handler(events.TurnLLMAgentStartRequested, priority=98)
    async def answer(self, event: Any) -> None:
        publish = self.event_bus.publish
        await publish(events.TurnTTSStartRequested(session_id=self.session_id), True)
        for text in ("You said: ", event.text + ". ", "Nothing else."):
            await publish(events.TurnTTSTextAppendRequested(session_id=self.session_id, text=text))
        await publish(events.TurnTTSFlushRequested(session_id=self.session_id))

    async def shutdown(self) -> None:
        pass


def test_an_agent_manager_of_ones_own_is_heard_turn_after_turn(
    dial: Any, run: Any, service: Any
) -> None:
    tts = ScriptedTTS()
    built = service(tts=tts, asr=ScriptedASR(["one", "two", "three"]))
    built.unregister_manager(LLMAgentManager)
    built.register_manager(EchoManager)

    async def main() -> None:
        async with dial(built) as call:
            for number in (1, 2, 3):
                await call.turn()
                assert call.actions().count("start_tts") == number
                assert call.actions().count("tts_finished") == number
                await anyio.sleep(2)
            before = len(call.client.timeline)
            call.post(events.TurnTTSStartRequested())
            call.post(events.TurnTTSTextAppendRequested(text="And now the news."))
            call.post(events.TurnTTSFlushRequested())
            await call.client.wait_until_heard(after=before)

    run(main)
    assert tts.spoken.pop() == "And now the news."
    assert tts.spoken == [
        text for word in ("one", "two", "three") for text in (f"You said: {word}.", "Nothing else.")
    ]


def test_an_agent_manager_of_ones_own_can_be_interrupted(dial: Any, run: Any, service: Any) -> None:
    built = service(asr=ScriptedASR(["this is a rather long thing to say", "stop it now please"]))
    built.unregister_manager(LLMAgentManager)
    built.register_manager(EchoManager)

    async def main() -> None:
        async with dial(built) as call:
            await call.say()
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(0.5)
            before = len(call.client.timeline)
            await call.say()
            await call.client.wait_until_heard(after=before)
            assert call.actions().count("start_tts") == 2
            assert call.actions().count("tts_finished") == 1
            assert tone(0.05 * len("You said: stop it now please.")) in call.heard()

    run(main)


def test_an_announcement_is_spoken_with_one_start_and_one_end(
    dial: Any, run: Any, service: Any
) -> None:
    async def main() -> None:
        async with dial(service()) as call:
            for _ in range(2):
                before = len(call.client.timeline)
                call.post(events.TurnTTSStartRequested())
                call.post(events.TurnTTSTextAppendRequested(text="Dinner is ready. Come in."))
                call.post(events.TurnTTSFlushRequested())
                await call.client.wait_until_heard(after=before)
                assert len(call.client.received(m.StartTts, after=before)) == 1
                assert len(call.client.received(m.TtsFinished, after=before)) == 1
                await anyio.sleep(2)
                await call.turn()
                await anyio.sleep(2)

    run(main)


def test_speech_is_stopped_paused_and_resumed_on_request(dial: Any, run: Any, service: Any) -> None:
    agent = ScriptedAgent(LONG, interval_s=5.0)

    async def main() -> None:
        async with dial(service(llm_agent=agent)) as call:
            await call.say()
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(0.3)
            call.post(events.TurnTTSPauseRequested())
            await call.client.wait_for(m.PauseTts)
            paused = len(call.client.timeline)
            await anyio.sleep(2)
            assert not call.client.received(m.ResumeTts, after=paused)
            assert all(not isinstance(e.message, m.TtsChunk) for e in call.client.timeline[paused:])
            call.post(events.TurnTTSResumeRequested())
            await call.client.wait_for(m.ResumeTts)
            await anyio.sleep(0.5)
            call.post(events.TurnTTSStopRequested(reason="enough"))
            await call.client.wait_for(m.StopTts, after=paused)
            stopped = len(call.client.timeline)
            await anyio.sleep(5)
            later = [e.message for e in call.client.timeline[stopped:]]
            assert not [x for x in later if isinstance(x, (m.TtsChunk, m.TtsFinished, m.StartTts))]
            # What was shown is also finished, and the next turn is like any other.
            assert [f.text for f in call.client.received(m.FinishResp)] == [LONG[0]]
            await call.turn()

    run(main)
    assert [r.outcome for r in agent.records] == ["interrupted", "done"]


def test_an_agent_that_is_stopped_falls_silent(dial: Any, run: Any, service: Any) -> None:
    agent = ScriptedAgent(LONG)

    async def main() -> None:
        async with dial(service(llm_agent=agent)) as call:
            await call.say()
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(0.5)
            before = len(call.client.timeline)
            call.post(events.TurnLLMAgentStopRequested(reason="enough"))
            await call.client.wait_for(m.StopTts, after=before)
            stopped = len(call.client.timeline)
            await anyio.sleep(5)
            later = call.client.timeline[stopped:]
            assert not [e for e in later if isinstance(e.message, m.TtsChunk)]
            await call.turn()

    run(main)
    assert [r.outcome for r in agent.records] == ["interrupted", "done"]


def test_an_agent_that_is_paused_shows_its_words_when_resumed(
    dial: Any, run: Any, service: Any
) -> None:
    async def main() -> None:
        async with dial(service(llm_agent=ScriptedAgent(LONG, first_s=1.0))) as call:
            await call.say()
            await call.client.wait_for(m.FinishAsr)
            call.post(events.TurnLLMAgentPauseRequested())
            await anyio.sleep(3)
            assert not call.client.received(m.UpdateResp)
            call.post(events.TurnLLMAgentResumeRequested())
            finish = await call.client.wait_for(m.FinishResp)
            assert finish.text == "".join(LONG)

    run(main)


def test_a_manager_opens_and_closes_the_microphone(dial: Any, run: Any, service: Any) -> None:
    async def main() -> None:
        async with dial(service()) as call:
            call.post(events.TurnASRStartRequested())
            await call.client.say(tone(1.0, rate=16_000))
            call.post(events.TurnASREndRequested())
            assert (await call.client.wait_for(m.FinishAsr)).text == "hello there"
            await call.client.wait_until_heard()

    run(main)


def test_a_segment_that_is_reset_leaves_no_text(dial: Any, run: Any, service: Any) -> None:
    async def main() -> None:
        async with dial(service()) as call:
            seen = call.watch(events.TranscriptReady)
            call.post(events.TurnASRStartRequested())
            await call.client.say(tone(0.2, rate=16_000))
            call.post(events.TurnASRResetRequested())
            call.post(events.TurnASREndRequested())
            await anyio.sleep(2)
            assert seen == []

    run(main)


class Quick(ScriptedTTS):
    def __init__(self) -> None:
        super().__init__()
        self.speeds: list[float] = []

    def clone(self) -> Quick:
        twin = Quick()
        twin.speeds = self.speeds
        return twin

    def set_speed(self, speed: float) -> None:
        self.speeds.append(speed)

    def set_emotion(self, emotion: Any) -> None:
        self.emotion = emotion


def test_voice_emotion_and_speed_change_on_request(dial: Any, run: Any, service: Any) -> None:
    tts = Quick()

    async def main() -> None:
        async with dial(service(tts=tts)) as call:
            call.post(events.TTSVoiceChange(voice_name="high"))
            call.post(events.TTSEmotionChange(emotion_name="happy"))
            call.post(events.TTSSpeedChange(speed=9.0))
            assert (await call.client.wait_for(m.VoiceChanged)).name == "high"
            assert (await call.client.wait_for(m.EmotionChanged)).name == "happy"
            assert (await call.client.wait_for(m.SpeedChanged)).speed == 1.5
            await call.turn()
            assert tone(0.3, hertz=440) in call.heard()

    run(main)
    assert tts.speeds == [1.5]


@pytest.mark.parametrize(
    ("event", "error_type"),
    [
        (events.TTSVoiceChange, "voice_not_changed"),
        (events.TTSEmotionChange, "emotion_not_changed"),
        (events.TTSSpeedChange, "speed_not_changed"),
    ],
)
def test_a_change_that_fails_is_told_by_its_type_and_not_confirmed(
    dial: Any, run: Any, service: Any, event: Any, error_type: str
) -> None:
    async def main() -> None:
        async with dial(service()) as call:
            call.post(event())
            assert (await call.client.wait_for(m.Error)).error_type == error_type
            confirmed = {"voice_changed", "emotion_changed", "speed_changed"}
            assert not confirmed & set(call.actions())

    run(main)


class Radio(Manager):
    """Turn taking of one's own: whoever presses a button speaks, and is always answered."""

    def __init__(self, event_bus: Any, session_id: str) -> None:
        self.event_bus = event_bus
        self.session_id = session_id

    @Manager.event_handler(events.VADSpeechStart)
    async def pressed(self, event: Any) -> None:
        for request in (events.TurnLLMAgentStopRequested, events.TurnASRStartRequested):
            await self.event_bus.publish(request(session_id=self.session_id))

    @Manager.event_handler(events.VADSpeechEnd)
    async def released(self, event: Any) -> None:
        await self.event_bus.publish(events.TurnASREndRequested(session_id=self.session_id))

    @Manager.event_handler(events.TranscriptReady)
    async def understood(self, event: Any) -> None:
        if event.transcript is None or not event.transcript.final:
            return
        text = event.transcript.text
        await self.event_bus.publish(events.ASRResultFinal(session_id=self.session_id, text=text))
        await self.event_bus.publish(
            events.TurnLLMAgentStartRequested(session_id=self.session_id, text=text)
        )

    async def shutdown(self) -> None:
        pass


def test_turn_taking_of_ones_own_replaces_ours(dial: Any, run: Any, service: Any) -> None:
    agent = ScriptedAgent(LONG)
    built = service(llm_agent=agent, asr=ScriptedASR(["over", "and out", "hello"]))
    built.unregister_manager(TurnTakingManager)
    built.register_manager(Radio)

    async def main() -> None:
        async with dial(built, pauses_itself=False) as call:
            await call.turn()
            await anyio.sleep(1)
            await call.say()
            await call.client.until(lambda: len(call.client.received(m.StartTts)) == 2)
            await anyio.sleep(0.5)
            before = len(call.client.timeline)
            await call.say()  # over the reply, which falls silent at the button
            assert call.client.received(m.StopTts, after=before)
            await call.client.wait_until_heard(after=before)
            assert [f.text for f in call.client.received(m.FinishAsr)] == [
                "over",
                "and out",
                "hello",
            ]
            assert call.actions().count("tts_finished") == 2

    run(main)
    assert [(r.user, r.outcome) for r in agent.records] == [
        ("over", "done"),
        ("and out", "interrupted"),
        ("hello", "done"),
    ]
