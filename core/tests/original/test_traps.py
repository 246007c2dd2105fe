"""Known failures of the original, by their numbers in the description of the original.

Those that another file tests already:

    1    client_model/test_rules.py    rules_3_and_4: every voice, every round trip, one end
    5    original/test_recipes.py      the smallest recogniser hears short utterances, whole
    11   client_model/test_rules.py    rule_1: the heartbeat of a queued page is answered
    18   client_model/test_rules.py    rules_7_and_8: one id for the user and for the reply
    73   original/test_recipes.py      no call stops the loop: reset, clone, open, set_voice
    102  original/test_surface.py      importing has no side effects
    103  original/test_config.py       errors name the empty slot and the broken import
"""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
import types
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from xtalk import EventBus, Manager, events
from xtalk.audio import AudioFrame
from xtalk.speech.interfaces import ASR, SpeechEnhancer
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS, loud, tone
from xtalk.testing.transport import MemoryTransport
from xtalk.threads import run_in_thread
from xtalk.wire import messages as m

SPEECH = tone(1.0, rate=16_000, level=8000)
LONG = ("The first sentence is here. ", "The second sentence follows it. ", "And a third one ends.")


class CountingASR(ASR):
    """Streaming and sync; says how many milliseconds it has heard, and who was inside it."""

    def __init__(self, shared: dict[str, Any] | None = None) -> None:
        self.shared = shared if shared is not None else {"inside": 0, "most": 0, "clones": 0}
        self.heard = 0
        self.lock = threading.Lock()

    def recognize(self, audio: bytes) -> str:
        raise AssertionError("the stream is there")

    def reset(self) -> None:
        self.heard = 0

    def clone(self) -> CountingASR:
        self.shared["clones"] += 1
        return CountingASR(self.shared)

    def recognize_stream(self, audio: bytes, *, is_final: bool = False) -> str:
        assert self.lock.acquire(blocking=False), "two calls at once inside one recogniser"
        try:
            self.heard += len(audio)
            if is_final:
                self.shared.get("wait", lambda: None)()
            return f"{self.heard // 32} milliseconds"
        finally:
            self.lock.release()


def test_trap_4_the_final_decode_is_awaited(dial: Any, run: Any, service: Any) -> None:
    """The end handler published the text of the last partial; the tail of a turn was lost."""
    asr = ScriptedASR(["one two three four five six"], final_s=0.3)

    async def main() -> None:
        async with dial(service(asr=asr)) as call:
            await call.turn()
            assert call.client.received(m.FinishAsr)[0].text == "one two three four five six"
            actions = call.actions()
            assert "update_asr" not in actions[actions.index("finish_asr") :]

    run(main)


def test_trap_6_a_reply_that_is_due_wipes_nothing_of_what_is_being_said(
    dial: Any, run: Any, service: Any
) -> None:
    """The recogniser was reset when the voice began, in the middle of the next utterance."""
    agent = ScriptedAgent(first_s=1.0)

    async def main() -> None:
        async with dial(service(asr=CountingASR(), llm_agent=agent)) as call:
            await call.turn()
            before = len(call.client.timeline)
            await call.say()
            await call.client.wait_for(m.FinishAsr, after=before)
            await anyio.sleep(0.8)  # the reply is due 0.2 s later
            before = len(call.client.timeline)
            await call.client.say_with_marks(tone(2.0, rate=16_000))
            assert 2000 <= heard_ms(await call.client.wait_for(m.FinishAsr, after=before)) <= 2700
            assert not call.client.received(m.StartTts, after=before)

    run(main)


@pytest.mark.parametrize("what", ["the recogniser fails", "the agent fails"])
def test_trap_7_nothing_of_a_lost_turn_is_in_the_next(
    dial: Any, run: Any, service: Any, what: str
) -> None:
    """Without a reset two utterances of 0.6 s became one of 1.15 s, and an old text came again."""
    asr, failures = CountingASR(), [OSError("down")]

    def fail(*_: Any) -> tuple[str, ...]:
        if failures:
            raise failures.pop()
        return ("Fine.",)

    agent = ScriptedAgent(fail if what == "the agent fails" else ("Fine.",))
    if what == "the recogniser fails":
        asr.shared["wait"] = fail

    async def main() -> None:
        async with dial(service(asr=asr, llm_agent=agent)) as call:
            await call.say()
            await call.client.wait_for(m.Error)
            before = len(call.client.timeline)
            await call.turn()
            finish = await call.client.wait_for(m.FinishAsr, after=before)
            assert 1000 <= heard_ms(finish) <= 1700

    run(main)


def heard_ms(finish: m.FinishAsr) -> int:
    return int(finish.text.split()[0])


class ShakyEnhancer(SpeechEnhancer):
    """Takes unequal times, holds 10 ms back, and numbers must come out as they went in."""

    def __init__(self) -> None:
        self.held = b""
        self.count = 0

    def enhance(self, audio: bytes) -> bytes:
        self.count += 1
        threading.Event().wait(0.002 if self.count % 7 == 0 else 0)
        audio = self.held + audio
        self.held = audio[-320:]
        return audio[:-320]

    def flush(self) -> bytes:
        held, self.held = self.held, b""
        return held

    def clone(self) -> ShakyEnhancer:
        return ShakyEnhancer()


def test_trap_12_frames_keep_their_order_through_an_enhancer(
    dial: Any, run: Any, service: Any
) -> None:
    """Each frame was an executor call of its own: 27 inversions in 100 frames."""
    numbered = [number.to_bytes(2, "big") * 320 for number in range(1, 201)]

    async def main() -> None:
        async with dial(service(speech_enhancer=ShakyEnhancer()), microphone=False) as call:
            heard = call.watch(events.EnhancedAudioFrameReceived)
            for number, frame in enumerate(numbered):
                if number == 100:
                    call.client.mark_start()
                call.client.send(frame)
            call.client.mark_end()
            await call.client.wait_for(m.FinishAsr)
            assert b"".join(e.audio_data for e in heard) == b"".join(numbered)

    run(main)


def test_traps_13_and_86_one_call_at_a_time_inside_a_recogniser(
    dial: Any, run: Any, service: Any
) -> None:
    """The consumer loop and the final-frame handler called it concurrently, from two threads."""
    asr = CountingASR()

    async def main() -> None:
        async with dial(service(asr=asr)) as call:
            for _ in range(3):
                await call.client.say_with_marks(tone(0.4, rate=16_000))
                await call.client.say_with_marks(tone(0.4, rate=16_000))
            await call.client.wait_for(m.FinishAsr)
            await anyio.sleep(2)
            assert not call.client.received(m.Error)

    run(main)
    assert asr.shared["clones"] == 1


def test_trap_19_a_rejected_utterance_after_a_barge_in_is_told(
    dial: Any, run: Any, service: Any
) -> None:
    """The gateway took the stopped reply for a running one and sent no `invalid_asr_result`."""
    asr = ScriptedASR(["tell me a story", "stop it right now please", ""])
    agent = ScriptedAgent(lambda i: LONG if "story" in i["content"] else ())

    async def main() -> None:
        async with dial(service(asr=asr, llm_agent=agent)) as call:
            await call.say()
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(0.5)
            await call.say()
            silent = await call.client.wait_for(m.InvalidAsrResult)  # the second reply
            assert silent.turn_id == 2
            before = len(call.client.timeline)
            await call.say()
            rejected = await call.client.wait_for(m.InvalidAsrResult, after=before)
            assert rejected.turn_id is None

    run(main)


def test_trap_23_a_paused_reply_is_not_made_to_its_end(dial: Any, run: Any, service: Any) -> None:
    """A pause only stopped the sending: the whole reply was synthesised, probably in vain."""
    tts = ScriptedTTS(speed=1000)
    agent = ScriptedAgent([f"This is sentence {n} of many. " for n in range(100)], interval_s=0)

    async def main() -> None:
        async with dial(service(asr=ScriptedASR([""]), tts=tts, llm_agent=agent)) as call:
            call.post(events.TurnLLMAgentStartRequested(text="begin"))
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(1)
            call.client.mark_start()
            made = len(tts.spoken)
            await anyio.sleep(20)
            assert len(tts.spoken) <= made + 2

    run(main)


def test_trap_25_a_mute_decodes_nothing_and_no_mark_is_needed_behind_it(
    dial: Any, run: Any, service: Any
) -> None:
    """A mute in silence ran a final decode; who unmuted in mid-speech sent no mark and was lost."""
    asr = ScriptedASR(["still here"])

    async def main() -> None:
        async with dial(service(asr=asr, vad=LoudnessVAD())) as call:
            call.client.mark_end()
            await call.client.wait_for(m.InvalidAsrResult)  # the page is "processing" until then
            await anyio.sleep(1)
            assert not call.client.received(m.FinishAsr)
            await call.client.say(SPEECH)
            assert (await call.client.wait_for(m.FinishAsr)).text == "still here"
            clone = call.session.pipeline.get_asr_model()
            assert len(clone.heard) == 1

    run(main)


@pytest.mark.parametrize("frame_ms", [10, 32, 100])
def test_trap_26_the_pre_roll_is_as_long_whatever_the_frames(
    dial: Any, run: Any, service: Any, frame_ms: int
) -> None:
    """It was counted in frames of 10 ms: with those of 32 ms it was three times as long."""
    frame = AudioFrame(bytes(2 * 16 * frame_ms), 16_000)

    async def main() -> None:
        async with dial(service(asr=CountingASR()), microphone=False) as call:

            async def send(seconds: int) -> None:
                for _ in range(1000 * seconds // frame_ms):
                    call.client.send(frame)
                    await anyio.sleep(frame_ms / 1000)

            await send(3)
            call.client.mark_start()
            await send(1)
            call.client.mark_end()
            spoken_ms = 1000 // frame_ms * frame_ms
            pre_roll_ms = heard_ms(await call.client.wait_for(m.FinishAsr)) - spoken_ms
            assert 550 <= pre_roll_ms < 550 + frame_ms

    run(main)


@pytest.mark.parametrize(
    "tokens",
    [
        ["It", " is ", "3", ".", "14", "."],
        ["Be", " here", " at ", "10", ":", "30", "."],
        ["See", " example", ".com", ", please", "."],
    ],
    ids="".join,
)
def test_trap_27_numbers_times_and_addresses_are_spoken_in_one_piece(
    dial: Any, run: Any, service: Any, tokens: list[str]
) -> None:
    """The splitter cut at every full stop and colon. (All its cases: pure/test_sentences.py.)"""
    tts = ScriptedTTS()

    async def main() -> None:
        async with dial(service(tts=tts, llm_agent=ScriptedAgent(tokens))) as call:
            await call.turn()

    run(main)
    assert len(tts.spoken) == 1


def test_trap_71_nothing_of_a_reply_outlives_its_session(dial: Any, run: Any, service: Any) -> None:
    """The producer was never cancelled: it synthesised the rest of the reply for nobody."""
    tts, agent = ScriptedTTS(), ScriptedAgent(LONG, interval_s=3.0)

    async def main() -> None:
        async with dial(service(tts=tts, llm_agent=agent)) as call:
            await call.say()
            await call.client.wait_for(m.StartTts)
            call.transport.vanish()
            await anyio.sleep(0.05)
            assert not call.xtalk.host.sessions
            assert len(agent.closings) == 1
            await anyio.sleep(30)

    run(main)  # which also fails when a task is left
    assert len(tts.spoken) == 1


class Failing(MemoryTransport):
    async def close(self, code: int = 1000, reason: str = "") -> None:
        await super().close(code, reason)
        raise OSError("the socket is broken")


@pytest.mark.parametrize("end", ["close fails", "vanishes in the queue", "vanishes when granted"])
def test_trap_72_a_slot_comes_back_whatever_happens(run: Any, service: Any, end: str) -> None:
    """A failing close, a cancel after the grant, a race with a dead client: each lost a slot."""
    from xtalk import Xtalk
    from xtalk.plugins import Plugins

    app = Xtalk(service_prototype=service(), max_sessions=1, plugins=Plugins())

    async def connect(transport: MemoryTransport) -> None:
        try:
            await app.connect(transport)
        except OSError:
            assert isinstance(transport, Failing)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            first = Failing() if end == "close fails" else MemoryTransport()
            second, third = MemoryTransport(), MemoryTransport()
            for transport in (first, second, third):
                tasks.start_soon(connect, transport)
                await anyio.sleep(0.1)
            if end == "vanishes in the queue":
                second.vanish()
                await anyio.sleep(0.1)
            first.vanish()
            if end == "vanishes when granted":
                second.vanish()
            await anyio.sleep(1)
            second.vanish()
            await anyio.sleep(1)
            assert '"session_info"' in str([item for _, item in third.sent])
            third.vanish()
        assert app.host.limiter.get_status()["active_sessions"] == 0

    run(main)


def test_trap_75_stuck_calls_do_not_starve_the_other_sessions() -> None:
    """All blocking calls shared a pool of cpu + 4 threads, waits of 30 s included."""
    release = threading.Event()

    async def main() -> str:
        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(run_in_thread, release.wait)
            await anyio.sleep(0.01)
            answer = await run_in_thread(lambda: "at once")
            release.set()
        return answer

    assert asyncio.run(main()) == "at once"


def test_trap_77_a_recogniser_of_whole_recordings_costs_little_more_than_its_audio(
    dial: Any, run: Any, service: Any
) -> None:
    """Everything was decoded again for each further piece: quadratic."""
    lengths: list[float] = []

    class Whole(ScriptedASR):
        transcribe = ASR.transcribe

        def recognize(self, audio: bytes) -> str:
            lengths.append(len(audio) / 32_000)
            return "some words"

        def clone(self) -> Whole:
            return Whole()

    async def main() -> None:
        async with dial(service(asr=Whole())) as call:
            await call.client.say_with_marks(tone(24, rate=16_000))
            await call.client.wait_for(m.FinishAsr)

    run(main)
    assert sum(lengths) < 4 * lengths[-1]


def test_trap_78_a_long_reply_is_made_little_ahead_of_what_is_heard(
    dial: Any, run: Any, service: Any
) -> None:
    """A whole reply was synthesised and pushed as fast as the voice could, however long."""
    tts = ScriptedTTS(speed=1000)
    agent = ScriptedAgent([f"This is sentence {n} of many. " for n in range(100)], interval_s=0)

    async def main() -> None:
        async with dial(service(tts=tts, llm_agent=agent)) as call:
            await call.say()
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(5)
            sent = sum(len(i) for _, i in call.transport.sent if isinstance(i, bytes)) / 96_000
            assert sent <= 5 + 1.3
            assert len("".join(tts.spoken)) * tts.char_s <= 5 + 1.0 + 2.0 + 2 * 1.4

    run(main)


def test_trap_79_no_audio_is_dropped_from_the_middle_of_a_long_utterance(
    dial: Any, run: Any, service: Any
) -> None:
    """A buffer of 1000 frames silently lost its oldest beyond 32 s."""

    async def main() -> None:
        async with dial(service(asr=CountingASR())) as call:
            await anyio.sleep(1)
            await call.client.say_with_marks(tone(65, rate=16_000))
            text = (await call.client.wait_for(m.FinishAsr)).text
            pieces = [int(number) for number in text.split()[::2]]
            assert len(pieces) == 3  # of 30 s at most, one decoded after the other
            assert 65_000 <= sum(pieces) <= 65_000 + 600
            assert not call.client.received(m.InvalidAsrResult)

    run(main)


def test_trap_79_a_recogniser_that_is_stuck_loses_the_segment_and_says_so(
    dial: Any, run: Any, service: Any
) -> None:
    class Stuck(ScriptedASR):
        async def transcribe(self, frames: AsyncIterator[AudioFrame]) -> Any:
            async for _ in frames:
                await anyio.sleep(1000)
            yield

        def clone(self) -> Stuck:
            return Stuck()

    async def main() -> None:
        config = {"segment_sec": 100, "asr_backlog_sec": 10}
        async with dial(service(asr=Stuck(), service_config=config)) as call:
            await call.client.say_with_marks(tone(15, rate=16_000))
            await call.client.wait_for(m.InvalidAsrResult)

    run(main)


def test_trap_80_a_silent_session_does_not_poll(dial: Any, run: Any, service: Any) -> None:
    """Loops of 5 ms and 100 ms ran in every session."""

    async def main() -> None:
        async with dial(service(), microphone=False):
            loop = asyncio.get_running_loop()
            timers: list[float] = []
            call_at = loop.call_at

            def counting(when: float, *args: Any, **kwargs: Any) -> Any:
                timers.append(when)
                return call_at(when, *args, **kwargs)

            loop.call_at = counting  # type: ignore[method-assign]
            await anyio.sleep(100)
            # This sleep, and the client's ping every 15 s; nothing of the server.
            assert len(timers) <= 10

    run(main)


def test_trap_81_a_frame_makes_no_task_and_a_burst_keeps_its_order(
    dial: Any, run: Any, service: Any
) -> None:
    """Six to eight tasks a frame; start, audio and end of a burst could change places."""
    made: list[Any] = []

    async def main() -> None:
        async with dial(service(vad=LoudnessVAD()), microphone=False) as call:
            loop = asyncio.get_running_loop()

            def factory(loop: Any, coroutine: Any, **kwargs: Any) -> asyncio.Task[Any]:
                made.append(coroutine)
                return asyncio.Task(coroutine, loop=loop, **kwargs)

            loop.set_task_factory(factory)
            for frame in [bytes(640)] * 200:
                call.transport.push(frame)
            await anyio.sleep(0.5)
            listening = len(made)
            for frame in loud(1.0):
                call.transport.push(frame)
            await anyio.sleep(0.5)
            speaking = len(made)
            loop.set_task_factory(None)
            assert listening == 0
            assert speaking <= 3  # the segment's own task, and what it awaits

            before = len(call.client.timeline)
            call.transport.push('{"action":"conversation_end"}')
            for item in (
                '{"action":"vad_speech_start"}',
                *loud(0.5),
                '{"action":"vad_speech_end"}',
            ):
                call.transport.push(item)
            await call.client.wait_for(m.FinishAsr, after=before)

    run(main)


def test_trap_82_managers_end_side_by_side_and_each_ends(dial: Any, run: Any, service: Any) -> None:
    """The first failing manager kept all others from ending; a slow one held the slot."""
    ended: list[str] = []

    class Broken(Manager):
        def __init__(self, event_bus: Any) -> None:
            self.event_bus = event_bus

        async def shutdown(self) -> None:
            raise RuntimeError("broken")

    class Slow(Broken):
        async def shutdown(self) -> None:
            await anyio.sleep(1)
            ended.append(type(self).__name__)

    class Slower(Slow):
        pass

    class Stuck(Broken):
        async def shutdown(self) -> None:
            await anyio.sleep(10_000)

    built = service()
    built.manager_classes += [Broken, Slow, Slower, Stuck]

    async def main() -> None:
        async with dial(built):
            began = anyio.current_time()
        assert anyio.current_time() - began < 10
        assert ended == ["Slow", "Slower"]

    run(main)


def test_trap_83_the_blueprint_clones_nothing(dial: Any, run: Any, service: Any) -> None:
    """The prototype service made a set of models, and connections, that nobody used."""
    asr = CountingASR()
    built = service(asr=asr)
    built.clone()
    assert asr.shared["clones"] == 0

    async def main() -> None:
        for _ in range(2):
            async with dial(built):
                pass

    run(main)
    assert asr.shared["clones"] == 2


def test_trap_86_each_session_has_its_own_detector(dial: Any, run: Any, service: Any) -> None:
    """One Silero, with one state, heard all sessions, from many threads."""
    seen: list[int] = []

    class Own(LoudnessVAD):
        def is_speech(self, frame: bytes) -> bool:
            seen.append(id(self))
            return super().is_speech(frame)

    vad = Own()
    built = service(vad=vad)

    async def main() -> None:
        for _ in range(2):
            async with dial(built):
                await anyio.sleep(0.5)

    run(main)
    assert len(set(seen)) == 2 and id(vad) not in seen


def test_trap_88_the_bus_names_any_handler_and_awaits_any_awaitable(run: Any) -> None:
    """A handler without a name lost its error; what a plain callable returned was dropped."""
    awaited: list[str] = []

    def fails(event: Any, extra: int) -> None:
        raise RuntimeError("boom")

    async def later() -> None:
        awaited.append("later")

    async def main() -> None:
        bus, errors = EventBus(), []
        bus.subscribe(events.ErrorOccurred, errors.append)
        bus.subscribe(events.TTSStarted, functools.partial(fails, extra=1))
        bus.subscribe(events.TTSStarted, lambda event: later())
        await bus.publish(events.TTSStarted(), wait_for_completion=True)
        assert len(errors) == 1 and errors[0].component.startswith("Handler:")
        await bus.shutdown()

    run(main)
    assert awaited == ["later"]


class Socket:
    """The part of a Starlette WebSocket that is needed, for where Starlette is not installed."""

    client_state = application_state = None

    def __init__(self, inbox: list[dict[str, Any]]) -> None:
        self.inbox = inbox

    async def receive(self) -> dict[str, Any]:
        return self.inbox.pop(0)


def test_trap_106_either_kind_of_message_may_come_with_the_other_as_none(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway relied on uvicorn's shape: hypercorn's `text: None` made it drop all audio."""
    from xtalk.transport import as_transport

    module: Any = types.ModuleType("starlette.websockets")
    module.WebSocketDisconnect = type("WebSocketDisconnect", (Exception,), {})
    module.WebSocketState = type("WebSocketState", (), {})
    monkeypatch.setitem(sys.modules, "starlette", types.ModuleType("starlette"))
    monkeypatch.setitem(sys.modules, "starlette.websockets", module)
    transport = as_transport(
        Socket(
            [
                {"type": "websocket.receive", "text": None, "bytes": b"\1\2"},
                {"type": "websocket.receive", "text": "{}", "bytes": None},
                {"type": "websocket.receive", "bytes": b"\3\4"},
                {"type": "websocket.receive", "text": "[]"},
                {"type": "websocket.disconnect", "code": 1000},
            ]
        )
    )

    async def main() -> None:
        got = [await transport.receive() for _ in range(5)]
        assert got == [b"\1\2", "{}", b"\3\4", "[]", None]

    run(main)
