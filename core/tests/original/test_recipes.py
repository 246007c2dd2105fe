"""The smallest models that the original's documentation asks for, and which method is called."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from xtalk import DefaultPipeline, DefaultService
from xtalk.agent import Agent, AgentInput, ToolCall
from xtalk.audio import AudioFrame
from xtalk.calls import recognize, respond, synthesize
from xtalk.speech.interfaces import (
    ASR,
    TTS,
    VAD,
    SpeechEnhancer,
    SpeechSpeedController,
    Transcript,
)
from xtalk.testing.fakes import ScriptedAgent, ScriptedASR, ScriptedTTS, tone
from xtalk.threads import Guard
from xtalk.wire import messages as m


class SmallASR(ASR):
    """`recognize`, `reset`, `clone`, and nothing else."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def recognize(self, audio: bytes) -> str:
        self.lengths.append(len(audio))
        return f"{len(audio) / 32000:.1f} seconds"

    def reset(self) -> None:
        pass

    def clone(self) -> SmallASR:
        return SmallASR()


class SmallTTS(TTS):
    def synthesize(self, text: str) -> bytes:
        return tone(0.05 * len(text))

    def clone(self) -> SmallTTS:
        return SmallTTS()


class SmallAgent(Agent):
    def generate(self, input: Any) -> str:
        assert isinstance(input, dict)
        assert set(input) >= {"content", "context"}
        assert input["context"]["thought"] is None
        return f"I heard {input['content']}. Is that all?"

    def clone(self) -> SmallAgent:
        return SmallAgent()


def test_the_smallest_models_hold_a_whole_conversation(dial: Any, run: Any) -> None:
    """Traps 5 and 7: short utterances are recognised, whole, and no text leaks into the next."""
    pipeline = DefaultPipeline(asr=SmallASR(), llm_agent=SmallAgent(), tts=SmallTTS())

    async def main() -> None:
        async with dial(DefaultService(pipeline=pipeline)) as call:
            await anyio.sleep(1)
            for number in (1, 2, 3):
                await call.turn()
                heard = call.client.received(m.FinishAsr)[number - 1].text
                # A second of speech and the pre-roll before it.
                assert 1.0 <= float(heard.split()[0]) <= 1.7
                reply = call.client.received(m.FinishResp)[number - 1].text
                assert reply == f"I heard {heard}. Is that all?"
                await anyio.sleep(1)
            assert tone(0.05 * len("Is that all?")) in call.heard()

    run(main)


def test_a_long_utterance_of_the_smallest_recogniser_has_partials(dial: Any, run: Any) -> None:
    pipeline = DefaultPipeline(asr=SmallASR(), llm_agent=SmallAgent(), tts=SmallTTS())

    async def main() -> None:
        async with dial(DefaultService(pipeline=pipeline)) as call:
            await call.client.say_with_marks(tone(3.5, rate=16_000))
            await call.client.wait_for(m.FinishAsr)
            assert len(call.client.received(m.UpdateAsr)) >= 3

    run(main)


def test_an_agent_may_answer_with_a_text_and_tool_calls(dial: Any, run: Any) -> None:
    class Caller(SmallAgent):
        def generate(self, input: Any) -> Any:
            return "Done.", [{"name": "set_voice", "args": {"name": "high"}}]

        def clone(self) -> Caller:
            return Caller()

    pipeline = DefaultPipeline(asr=SmallASR(), llm_agent=Caller(), tts=ScriptedTTS())

    async def main() -> None:
        async with dial(DefaultService(pipeline=pipeline)) as call:
            await call.turn()
            assert call.client.received(m.ToolCalled)[0].args == {"name": "high"}
            assert call.client.received(m.VoiceChanged)[0].name == "high"

    run(main)


def test_the_originals_results_of_tools_are_not_shown_as_calls(dial: Any, run: Any) -> None:
    class Searcher(SmallAgent):
        def generate_stream(self, input: Any) -> Iterator[Any]:
            yield {"name": "web_search", "args": {"query": "weather"}}
            result = {"name": "web_search", "args": {"query": "weather"}, "content": "Sunny."}
            yield {"name": "tool_call_result", "args": result}
            yield "It is sunny."

        def clone(self) -> Searcher:
            return Searcher()

    pipeline = DefaultPipeline(asr=SmallASR(), llm_agent=Searcher(), tts=SmallTTS())

    async def main() -> None:
        async with dial(DefaultService(pipeline=pipeline)) as call:
            await call.turn()
            assert [t.name for t in call.client.received(m.ToolCalled)] == ["web_search"]
            assert [r.text for r in call.client.received(m.RetrievalUpdated)] == ["Sunny."]

    run(main)


# --- the most specific method that the author overrode --------------------------------------------


async def frames() -> AsyncIterator[AudioFrame]:
    for _ in range(100):
        yield AudioFrame(bytes(640), 16_000)


def made(*methods: str) -> type[ASR]:
    """A recogniser that overrides these; each says its own name."""

    class Made(SmallASR):
        def clone(self) -> Any:
            return type(self)()

    def recognize(self: Any, audio: bytes) -> str:
        return "recognize"

    async def async_recognize(self: Any, audio: bytes) -> str:
        return "async_recognize"

    def recognize_stream(self: Any, audio: bytes, *, is_final: bool = False) -> str:
        return "recognize_stream"

    async def async_recognize_stream(self: Any, audio: bytes, *, is_final: bool = False) -> str:
        return "async_recognize_stream"

    async def transcribe(self: Any, frames: Any) -> AsyncIterator[Transcript]:
        async for _ in frames:
            pass
        yield Transcript(text="transcribe", final=True)

    for method in methods:
        setattr(Made, method, locals()[method])
    return Made


ASR_LEVELS = (
    "recognize",
    "async_recognize",
    "recognize_stream",
    "async_recognize_stream",
    "transcribe",
)


@pytest.mark.parametrize("level", range(5), ids=ASR_LEVELS)
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with all below"])
def test_recognition_calls_the_most_specific(run: Any, level: int, alone: bool) -> None:
    methods = {"recognize", ASR_LEVELS[level]} if alone else set(ASR_LEVELS[: level + 1])
    guard = Guard(made(*methods)())

    async def main() -> None:
        async with guard.lease() as lease:
            found = [t async for t in recognize(lease, frames())]
        assert found[-1].final and found[-1].text == ASR_LEVELS[level]
        assert [t.final for t in found[:-1]] == [False] * (len(found) - 1)

    run(main)


TTS_LEVELS = (
    "synthesize",
    "async_synthesize",
    "synthesize_stream",
    "async_synthesize_stream",
)


def voice(*methods: str) -> TTS:
    class Voice(SmallTTS):
        pass

    def pcm(name: str) -> bytes:
        return bytes([TTS_LEVELS.index(name), 0])

    def synthesize(self: Any, text: str) -> bytes:
        return pcm("synthesize")

    async def async_synthesize(self: Any, text: str, **kwargs: Any) -> bytes:
        return pcm("async_synthesize")

    def synthesize_stream(self: Any, text: str, **kwargs: Any) -> Iterator[bytes]:
        yield pcm("synthesize_stream")

    async def async_synthesize_stream(self: Any, text: str, **kwargs: Any) -> AsyncIterator[bytes]:
        yield pcm("async_synthesize_stream")

    for method in methods:
        setattr(Voice, method, locals()[method])
    return Voice()


@pytest.mark.parametrize("level", range(4), ids=TTS_LEVELS)
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with all below"])
def test_synthesis_calls_the_most_specific(run: Any, level: int, alone: bool) -> None:
    methods = {"synthesize", TTS_LEVELS[level]} if alone else set(TTS_LEVELS[: level + 1])
    guard = Guard(voice(*methods))

    async def main() -> None:
        async with guard.lease() as lease:
            found = [c async for c in synthesize(lease, "hi")]
        assert [c.audio.pcm[0] for c in found] == [level]

    run(main)


AGENT_LEVELS = ("generate", "async_generate", "generate_stream", "async_generate_stream")


def agent(*methods: str) -> Agent:
    class Made(SmallAgent):
        pass

    def generate(self: Any, input: Any) -> str:
        return "generate"

    async def async_generate(self: Any, input: Any) -> str:
        return "async_generate"

    def generate_stream(self: Any, input: Any) -> Iterator[str]:
        yield "generate_stream"

    async def async_generate_stream(self: Any, input: Any) -> AsyncIterator[str]:
        yield "async_generate_stream"

    for method in methods:
        setattr(Made, method, locals()[method])
    return Made()


@pytest.mark.parametrize("level", range(4), ids=AGENT_LEVELS)
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with all below"])
def test_answering_calls_the_most_specific(run: Any, level: int, alone: bool) -> None:
    methods = {"generate", AGENT_LEVELS[level]} if alone else set(AGENT_LEVELS[: level + 1])
    guard = Guard(agent(*methods))

    async def main() -> None:
        async with guard.lease() as lease:
            parts = [p async for p in respond(lease, AgentInput("hi"))]
        assert [p.text for p in parts] == [AGENT_LEVELS[level]]

    run(main)


@pytest.mark.parametrize("overridden", [True, False], ids=["async", "sync"])
def test_enhancing_and_pacing_call_the_async_method_before_the_sync_one(
    dial: Any, run: Any, service: Any, overridden: bool
) -> None:
    called: set[str] = set()

    class Enhancer(BlockingEnhancer):
        def enhance(self, audio: bytes) -> bytes:
            called.add("enhance")
            return audio

    class Pacer(BlockingSpeed):
        def process(self, audio: bytes, speed: float) -> bytes:
            called.add("process")
            return audio

    async def async_enhance(self: Any, audio: bytes) -> bytes:
        called.add("async_enhance")
        return audio

    async def async_process(self: Any, audio: bytes, speed: float) -> bytes:
        called.add("async_process")
        return audio

    if overridden:
        Enhancer.async_enhance = async_enhance  # type: ignore[method-assign]
        Pacer.async_process = async_process  # type: ignore[method-assign]

    async def main() -> None:
        built = service(speech_enhancer=Enhancer(), speech_speed_controller=Pacer())
        async with dial(built) as call:
            call.client.send(m.ChangeTtsSpeed(speed=1.2))
            await call.turn()

    run(main)
    assert called == ({"async_enhance", "async_process"} if overridden else {"enhance", "process"})


def test_a_stream_as_a_coroutine_that_returns_one_works_too(run: Any) -> None:
    """`async def async_generate_stream` that returns an iterator instead of being one."""

    class Returning(SmallAgent):
        async def async_generate_stream(self, input: Any) -> Any:  # type: ignore[override]
            async def parts() -> AsyncIterator[Any]:
                yield ToolCall("get_time")
                yield "noon"

            return parts()

    guard = Guard(Returning())

    async def main() -> None:
        async with guard.lease() as lease:
            parts = [p async for p in respond(lease, AgentInput("hi"))]
        assert parts[0]["name"] == "get_time" and parts[1].text == "noon"

    run(main)


# --- sync methods do not block the loop -----------------------------------------------------------


class Blocked:
    """A call that blocks its thread until the loop has shown, several times, that it runs."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.entered = False

    def __call__(self) -> None:
        self.entered = True
        assert self.released.wait(5), "the event loop stood still while a model worked"

    async def beat(self) -> None:
        """Lets go once the loop has turned ten times after the call began."""
        beats = 0
        while beats < 10:
            await anyio.sleep(0.001)
            beats += self.entered
        self.released.set()


class BlockingASR(SmallASR):
    block = staticmethod(lambda: None)

    def recognize(self, audio: bytes) -> str:
        self.block()
        return "heard"

    def clone(self) -> Any:
        return type(self)()


class BlockingAgent(SmallAgent):
    block = staticmethod(lambda: None)

    def generate(self, input: Any) -> str:
        self.block()
        return "Said."

    def clone(self) -> Any:
        return type(self)()


class BlockingTTS(SmallTTS):
    block = staticmethod(lambda: None)

    def synthesize(self, text: str) -> bytes:
        self.block()
        return tone(0.1)

    def clone(self) -> Any:
        return type(self)()


class BlockingEnhancer(SpeechEnhancer):
    block = staticmethod(lambda: None)

    def enhance(self, audio: bytes) -> bytes:
        self.block()
        return audio

    def clone(self) -> Any:
        return type(self)()


class BlockingVAD(VAD):
    block = staticmethod(lambda: None)

    def is_speech(self, frame: bytes) -> bool:
        self.block()
        return False


class BlockingSpeed(SpeechSpeedController):
    block = staticmethod(lambda: None)

    def process(self, audio: bytes, speed: float) -> bytes:
        self.block()
        return audio


class BlockingReset(ScriptedASR):
    """Trap 73: the original's loop stood still in `reset` and in `clone`."""

    block = staticmethod(lambda: None)

    def reset(self) -> None:
        self.block()

    def recognize_stream(self, audio: bytes, *, is_final: bool = False) -> str:
        return "heard"

    transcribe = ASR.transcribe

    def clone(self) -> Any:
        return type(self)()


class BlockingClone(ScriptedAgent):
    block = staticmethod(lambda: None)

    def clone(self) -> Any:
        self.block()
        return ScriptedAgent()


class BlockingOpen(ScriptedTTS):
    block = staticmethod(lambda: None)

    def open(self) -> None:
        self.block()

    def clone(self) -> Any:
        return type(self)()


class BlockingChange(ScriptedTTS):
    block = staticmethod(lambda: None)

    def set_voice(self, voice_names: list[str]) -> None:
        self.block()

    def clone(self) -> Any:
        return type(self)()


BLOCKING: dict[str, type[Any]] = {
    "asr": BlockingASR,
    "llm_agent": BlockingAgent,
    "tts": BlockingTTS,
    "speech_enhancer": BlockingEnhancer,
    "vad": BlockingVAD,
    "speech_speed_controller": BlockingSpeed,
    "asr reset": BlockingReset,
    "llm_agent clone": BlockingClone,
    "tts open": BlockingOpen,
    "tts set_voice": BlockingChange,
}


@pytest.mark.parametrize("what", BLOCKING)
def test_a_blocking_model_does_not_stop_the_loop(dial: Any, service: Any, what: str) -> None:
    """On the real clock, since a virtual one waits for threads; ordered by events, not by time."""
    blocked = Blocked()
    cls = type("Blocking", (BLOCKING[what],), {"block": staticmethod(blocked)})
    changes = {"tts": SmallTTS(), "llm_agent": SmallAgent(), "asr": SmallASR()}
    changes[what.split()[0]] = cls()

    async def main() -> None:
        beating = asyncio.create_task(blocked.beat())
        async with dial(service(**changes)) as call:
            if what == "speech_speed_controller":
                call.client.send(m.ChangeTtsSpeed(speed=1.2))
            if what == "tts set_voice":
                call.client.send(m.ChangeVoice(voice_name="high"))
            await call.client.say_with_marks(tone(0.1, rate=16_000))
            await call.client.wait_for(m.StartTts)
            assert not call.client.received(m.Error)
        await beating
        assert blocked.entered

    asyncio.run(main())


class Faster(SpeechSpeedController):
    """Leaves samples out, and holds the last 1000 bytes back."""

    def __init__(self) -> None:
        self.held = b""

    def process(self, audio: bytes, speed: float) -> bytes:
        audio = self.held + audio
        keep = len(audio) - 1000 & ~1
        self.held = audio[keep:]
        return audio[: int(keep / speed) & ~1]

    def flush(self) -> bytes:
        held, self.held = self.held, b""
        return held

    def clone(self) -> Faster:
        return Faster()


def test_a_speed_controller_changes_the_pace_and_keeps_the_end(
    dial: Any, run: Any, service: Any
) -> None:
    text = "A sentence that lasts for some two seconds."
    tail = tone(0.05 * len(text))[-1000:]
    built = service(
        tts=SmallTTS(), llm_agent=ScriptedAgent([text]), speech_speed_controller=Faster()
    )

    async def main() -> None:
        async with dial(built) as call:
            await call.turn()
            plain = len(call.heard().rstrip(b"\0"))
            for speed in (1.25, 1.0):
                call.client.send(m.ChangeTtsSpeed(speed=speed))
                await anyio.sleep(1)
                before = len(call.heard())
                await call.turn()
                heard = call.heard()[before:].rstrip(b"\0")
                assert len(heard) == pytest.approx(plain / speed, rel=0.02)
                assert tail.rstrip(b"\0") in heard

    run(main)
