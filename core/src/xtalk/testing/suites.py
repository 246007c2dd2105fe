"""Conformance suites: what every model of a slot must do, as tests that an author inherits.

    class TestMyTTS(TTSSuite):
        model = MyTTS
        params = {"voice": "anna"}
        sdk = ("my_sdk",)

    Suite            registered, imported late, annotated, built from its schema
    +-- ASRSuite
    +-- TTSSuite
    +-- VADSuite
    +-- AgentSuite

A check that a model cannot pass is overridden, and the override says why with
`@pytest.mark.xfail(reason=...)`; without it the class is refused. The checks call the model as
the engine does: on an event loop, by the most specific method that it overrides, each clone
behind a guard of its own.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import datetime, timezone
from typing import Any, ClassVar, Generic, TypeVar

import anyio
import anyio.lowlevel
import pytest

from xtalk import schema
from xtalk.agent import Agent, AgentInput, Text, ToolCall, TurnRecord
from xtalk.audio import RATE_IN, AudioFrame, Framer, pcm_to_float, silence
from xtalk.calls import close_model, open_model, overrides, recognize, respond, synthesize
from xtalk.errors import NotAvailable
from xtalk.hookspecs import Model
from xtalk.plugins import Plugins
from xtalk.speech.interfaces import ASR, TTS, VAD, Transcript
from xtalk.testing.recordings import recording
from xtalk.threads import Guard

__all__ = ["ASRSuite", "AgentSuite", "Suite", "TTSSuite", "VADSuite"]

M = TypeVar("M")

HEAVY = ("numpy", "pydantic_settings", "fastapi", "langchain_core", "onnxruntime")
SESSIONS = 8
LIMIT_S = 60.0
CANCEL_S = 0.2


class Suite(Generic[M]):
    """What holds for the models of every slot.

    `model` is the class, `params` its arguments as they would stand in a configuration; override
    the fixture `arguments` where they are known only during the test. `sdk` names the packages
    that the hook module must not need. With `live` set, what needs the model runs only where
    that environment variable (the key of a service) exists.
    """

    slot: ClassVar[str]
    model: ClassVar[type[Any]]
    params: ClassVar[Mapping[str, Any]] = {}
    sdk: ClassVar[Sequence[str]] = ()
    live: ClassVar[str | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, override in vars(cls).items():
            checks = [base for base in cls.__mro__[1:] if base.__module__ == __name__]
            overridden = name.startswith("test_") and any(name in vars(base) for base in checks)
            if overridden and not _says_why(override):
                raise TypeError(
                    f"{cls.__name__}.{name} overrides a check of its suite: "
                    "mark it with @pytest.mark.xfail(reason=...)"
                )

    @pytest.fixture
    def arguments(self) -> Mapping[str, Any]:
        """The arguments of the constructor; skips where the live service is not to be had."""
        self.need_service()
        return self.params

    def need_service(self) -> None:
        if self.live and not os.environ.get(self.live):
            pytest.skip(f"needs the real service: set {self.live}")

    # --- the package ----------------------------------------------------------------------------

    def test_it_is_registered_under_its_class_name(self) -> None:
        self.card()

    def test_its_card_tells_the_truth(self, arguments: Mapping[str, Any]) -> None:
        card = self.card()
        assert card.summary, "say in a few words what it is"
        assert card.license, "name the licence of what it wraps"
        self.check_card(card, schema.build(self.model, arguments))

    def test_the_hooks_need_no_sdk(self) -> None:
        """Imported where the SDK, numpy and the like are not installed."""
        code = (
            "import sys, importlib\n"
            "sys.modules.update(dict.fromkeys(sys.argv[2:]))\n"
            "importlib.import_module(sys.argv[1])\n"
        )
        command = [sys.executable, "-c", code, self.row().target, *HEAVY, *self.sdk]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def test_every_argument_is_annotated_and_has_a_schema(self) -> None:
        for argument in inspect.signature(self.model).parameters.values():
            assert argument.annotation is not argument.empty, f"{argument.name} has no annotation"
        json.dumps(schema.json_schema(self.model))
        schema.check(self.model, self.params, "params")

    def row(self) -> Any:
        """The plugin that offers the model."""
        return self._registered()[0]

    def card(self) -> Model:
        """The description that the plugin gives of the model."""
        card: Model = self._registered()[1]
        return card

    def _registered(self) -> tuple[Any, Model]:
        plugins = Plugins.load({})
        for row, card in plugins.models(self.slot):
            if card.name == self.model.__name__:
                module, _, name = card.target.partition(":")
                assert getattr(importlib.import_module(module), name) is self.model
                return row, card
        errors = "; ".join(f"{row}: {row.error}" for row in plugins.rows if row.error)
        raise AssertionError(
            f"no installed plugin offers the {self.slot} {self.model.__name__!r} ({errors})"
        )

    def check_card(self, card: Model, model: Any) -> None:
        """What the suite of the slot can compare."""

    # --- its clones -----------------------------------------------------------------------------

    @asynccontextmanager
    async def guards(self, arguments: Mapping[str, Any], count: int) -> AsyncIterator[Any]:
        """Guards over this many open clones of one model."""
        original = schema.build(self.model, arguments)
        async with AsyncExitStack() as stack:
            guards = []
            for _ in range(count):
                clone = original.clone()
                await open_model(clone)
                stack.push_async_callback(close_model, clone)
                guards.append(Guard(clone, patience_s=CANCEL_S))
            yield guards


def _says_why(override: object) -> bool:
    marks = getattr(override, "pytestmark", ())
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)


def clones(count: int) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Any]:
    """Run an async check on an event loop, with guards over `count` clones as its arguments."""

    def decorate(check: Callable[..., Coroutine[Any, Any, None]]) -> Any:
        def test(self: Any, arguments: Mapping[str, Any]) -> None:
            async def run() -> None:
                with anyio.fail_after(LIMIT_S):
                    async with self.guards(arguments, count) as guards:
                        await check(self, *guards)
                left = asyncio.all_tasks() - {asyncio.current_task()}
                assert not left, f"tasks left running: {left}"

            asyncio.run(run())

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        test.__qualname__, test.__module__ = check.__qualname__, check.__module__
        return test

    return decorate


async def is_free(guard: Guard[Any]) -> None:
    """Fails when a thread is still at work in the model."""
    async with guard.lease():
        assert guard.retired == [], f"a thread still works in the model after {CANCEL_S} s"


async def run_sync(guard: Guard[Any], function: Callable[..., Any], *args: Any) -> Any:
    """A blocking method of the model, in a thread."""
    async with guard.lease() as lease:
        return await lease.run(function, *args)


def words(text: str) -> list[str]:
    """The words without case and punctuation, to compare texts."""
    kept = "".join(character if character.isalnum() else " " for character in text.lower())
    return kept.split()


class ASRSuite(Suite[ASR]):
    """A recogniser. `speech` names a recording of `xtalk.testing`, `expected` what it must hear."""

    slot = "asr"
    speech: ClassVar[str] = "what-time-is-it"
    expected: ClassVar[str | None] = None

    def check_card(self, card: Model, model: ASR) -> None:
        assert not card.sample_rates or RATE_IN in card.sample_rates

    @clones(1)
    async def test_it_hears_speech(self, guard: Guard[ASR]) -> None:
        transcripts = await hear(guard, self.sound())
        finals = [transcript for transcript in transcripts if transcript.final]
        assert finals == transcripts[-1:], "one final transcript, and it comes last"
        assert words(finals[0].text), "nothing was understood"
        if self.expected is not None:
            assert words(finals[0].text) == words(self.expected)

    @clones(1)
    async def test_a_stream_is_understood_as_a_whole_recording_is(self, guard: Guard[ASR]) -> None:
        streamed = await self.understand(guard)
        asr = guard.model
        if overrides(asr, ASR, "async_recognize"):
            whole = await asr.async_recognize(self.sound())
        else:
            await run_sync(guard, asr.reset)
            whole = await run_sync(guard, asr.recognize, self.sound())
        assert words(whole) == words(streamed)

    @clones(1)
    async def test_the_size_of_the_pieces_changes_nothing(self, guard: Guard[ASR]) -> None:
        expected = await self.understand(guard)
        for size in (320, 1026, len(self.sound())):
            assert await text_of(guard, self.sound(), size) == expected

    @clones(1)
    async def test_no_audio_is_no_text(self, guard: Guard[ASR]) -> None:
        assert await text_of(guard, b"") == ""
        assert await run_sync(guard, guard.model.recognize, b"") == ""

    @clones(1)
    async def test_silence_does_no_harm(self, guard: Guard[ASR]) -> None:
        before = await self.understand(guard)
        await text_of(guard, silence(1.0, RATE_IN).pcm)
        assert await text_of(guard, self.sound()) == before

    @clones(1)
    async def test_a_final_call_without_audio_ends_the_segment(self, guard: Guard[ASR]) -> None:
        expected = await self.understand(guard)
        await run_sync(guard, guard.model.reset)
        await self.push(guard, self.sound(), False)
        assert await self.push(guard, b"", True) == expected

    @clones(1)
    async def test_reset_forgets_the_segment(self, guard: Guard[ASR]) -> None:
        expected = await self.understand(guard)
        await run_sync(guard, guard.model.reset)
        await self.push(guard, self.sound(), False)
        await run_sync(guard, guard.model.reset)
        await self.push(guard, self.sound(), False)
        assert await self.push(guard, b"", True) == expected

    @clones(2)
    async def test_two_clones_do_not_hear_each_other(
        self, first: Guard[ASR], second: Guard[ASR]
    ) -> None:
        expected = await self.understand(first)
        for guard in (first, second):
            await run_sync(guard, guard.model.reset)
        sound, pause = self.sound(), silence(1.0, RATE_IN).pcm
        await self.push(first, sound, False)
        await self.push(second, pause, False)
        assert await self.push(first, b"", True) == expected
        await self.push(second, b"", True)

    @clones(SESSIONS)
    async def test_eight_clones_at_once_hear_the_same(self, *guards: Guard[ASR]) -> None:
        expected = await self.understand(guards[0])
        texts: list[str] = []

        async def listen(guard: Guard[ASR]) -> None:
            texts.append(await text_of(guard, self.sound()))

        async with anyio.create_task_group() as group:
            for guard in guards:
                group.start_soon(listen, guard)
        assert texts == [expected] * SESSIONS

    @clones(1)
    async def test_it_is_given_up_at_once(self, guard: Guard[ASR]) -> None:
        sound = self.sound()
        expected = await self.understand(guard)
        half_way = anyio.Event()

        async def endless() -> AsyncIterator[AudioFrame]:
            frames = Framer(320).push(sound)
            for number, frame in enumerate(frames):
                if number == len(frames) // 2:
                    half_way.set()
                yield AudioFrame(frame, RATE_IN)
            await anyio.sleep_forever()

        async def listen() -> None:
            async with guard.lease() as lease, aclosing(recognize(lease, endless())) as heard:
                async for _ in heard:
                    pass

        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await half_way.wait()
            await anyio.sleep(0.05)  # so that a slow model is in the middle of a call
            began = time.monotonic()
            group.cancel_scope.cancel()
        assert time.monotonic() - began < CANCEL_S
        await is_free(guard)
        assert await text_of(guard, sound) == expected

    @clones(2)
    async def test_a_grammar_holds_for_its_clone_only(
        self, first: Guard[ASR], second: Guard[ASR]
    ) -> None:
        expected = await self.understand(second)
        jsgf = "#JSGF V1.0;\ngrammar test;\npublic <answer> = yes | no;\n"
        await run_sync(first, first.model.set_grammar, jsgf)
        assert await text_of(second, self.sound()) == expected

    def sound(self) -> bytes:
        """The recording: PCM16 mono at 16 kHz."""
        return recording(self.speech).pcm

    async def understand(self, guard: Guard[ASR]) -> str:
        """The text of the recording, which is not empty."""
        text = await text_of(guard, self.sound())
        assert words(text), "nothing was understood"
        return text

    async def push(self, guard: Guard[ASR], audio: bytes, final: bool) -> str:
        """One call of the streaming method that the model overrides; skips where it has none."""
        asr = guard.model
        if overrides(asr, ASR, "async_recognize_stream"):
            return await asr.async_recognize_stream(audio, is_final=final)
        if not overrides(asr, ASR, "recognize_stream"):
            pytest.skip("it overrides no method that recognises piece by piece")
        async with guard.lease() as lease:
            return await lease.run(asr.recognize_stream, audio, is_final=final)


async def hear(guard: Guard[ASR], pcm: bytes, size: int = 640) -> list[Transcript]:
    """What comes of a segment that arrives in pieces of `size` bytes."""

    async def frames() -> AsyncIterator[AudioFrame]:
        for start in range(0, len(pcm), size):
            yield AudioFrame(pcm[start : start + size], RATE_IN)
            await anyio.lowlevel.checkpoint()

    async with guard.lease() as lease, aclosing(recognize(lease, frames())) as transcripts:
        return [transcript async for transcript in transcripts]


async def text_of(guard: Guard[ASR], pcm: bytes, size: int = 640) -> str:
    return (await hear(guard, pcm, size))[-1].text


class TTSSuite(Suite[TTS]):
    """A voice. `text` is what it says; durations may differ by the share `tolerance`."""

    slot = "tts"
    text: ClassVar[str] = "The quick brown fox jumps over the lazy dog."
    tolerance: ClassVar[float] = 0.05

    def check_card(self, card: Model, model: TTS) -> None:
        assert not card.sample_rates or model.output_rate in card.sample_rates
        assert set(card.voices) <= set(model.voices)
        assert set(card.emotions) <= set(model.emotions)
        assert card.speed in (None, hasattr(model, "set_speed"))
        streams = overrides(model, TTS, "synthesize_stream") or overrides(
            model, TTS, "async_synthesize_stream"
        )
        assert card.streaming in (None, streams)

    @clones(1)
    async def test_it_speaks_at_its_rate(self, guard: Guard[TTS]) -> None:
        speech = await say(guard, self.text)
        assert speech.rate == guard.model.output_rate
        assert 0.01 < speech.seconds / len(self.text) < 0.5, f"{speech.seconds} s are implausible"
        assert not speech.pcm.startswith(b"RIFF"), "samples only, without the header of a file"

    @clones(1)
    async def test_it_can_be_heard(self, guard: Guard[TTS]) -> None:
        assert loudness(await say(guard, self.text)) > 0.003

    @clones(1)
    async def test_a_stream_is_as_long_as_one_shot(self, guard: Guard[TTS]) -> None:
        streamed = await say(guard, self.text)
        tts = guard.model
        if overrides(tts, TTS, "async_synthesize"):
            whole = await tts.async_synthesize(self.text)
        else:
            whole = await run_sync(guard, tts.synthesize, self.text)
        self.same(AudioFrame(whole, tts.output_rate).check(), streamed)

    @clones(1)
    async def test_no_text_is_no_speech(self, guard: Guard[TTS]) -> None:
        for text in ("", " ", "\n"):
            assert (await say(guard, text)).seconds < 0.5

    @pytest.mark.parametrize(
        "text",
        ["3.14 & <b>50 %</b> [[x]] {y}", "你好，世界。", "Grüße 👋🏽", "\x00\x01\x1b a", "…—!?"],
    )
    def test_no_text_does_harm(self, arguments: Mapping[str, Any], text: str) -> None:
        @clones(1)
        async def check(self: TTSSuite, guard: Guard[TTS]) -> None:
            await say(guard, text)
            self.same(await say(guard, self.text), await say(guard, self.text))

        check(self, arguments)

    @clones(2)
    async def test_two_clones_take_turns(self, first: Guard[TTS], second: Guard[TTS]) -> None:
        alone = await say(first, self.text)
        heard: list[list[AudioFrame]] = [[], []]
        async with first.lease() as one, second.lease() as two, AsyncExitStack() as stack:
            streams = [synthesize(lease, self.text) for lease in (one, two)]
            for stream in streams:
                stack.push_async_callback(stream.aclose)
            speaking = dict(zip(streams, heard, strict=True))
            while speaking:
                for stream, chunks in list(speaking.items()):
                    chunk = await anext(stream, None)
                    if chunk is None:
                        del speaking[stream]
                    else:
                        chunks.append(chunk.audio)
        for chunks in heard:
            self.same(join(chunks, alone.rate), alone)

    @clones(SESSIONS)
    async def test_eight_clones_at_once_speak_as_if_alone(self, *guards: Guard[TTS]) -> None:
        alone = await say(guards[0], self.text)
        spoken: list[AudioFrame] = []

        async def speak(guard: Guard[TTS]) -> None:
            spoken.append(await say(guard, self.text))

        async with anyio.create_task_group() as group:
            for guard in guards:
                group.start_soon(speak, guard)
        for speech in spoken:
            self.same(speech, alone)

    @clones(1)
    async def test_it_is_silenced_at_once(self, guard: Guard[TTS]) -> None:
        before = await say(guard, self.text)
        async with guard.lease() as lease:
            stream = synthesize(lease, " ".join([self.text] * 20))
            await anext(stream)
            began = time.monotonic()
            await stream.aclose()
            assert time.monotonic() - began < CANCEL_S
        await is_free(guard)
        self.same(await say(guard, self.text), before)

    @clones(2)
    async def test_a_voice_changes_its_clone_only(
        self, first: Guard[TTS], second: Guard[TTS]
    ) -> None:
        voices = first.model.voices
        if len(voices) < 2:
            pytest.skip("it has only one voice")
        for guard in (first, second):
            await run_sync(guard, guard.model.set_voice, [voices[0]])
        before = await say(second, self.text)
        await run_sync(first, first.model.set_voice, [voices[1]])
        after, other = await say(second, self.text), await say(first, self.text)
        assert likeness(before, after) > likeness(after, other)

    @clones(1)
    async def test_an_unknown_voice_is_refused(self, guard: Guard[TTS]) -> None:
        with pytest.raises(ValueError, match=r"\w"):
            await run_sync(guard, guard.model.set_voice, ["no voice has this name"])
        assert (await say(guard, self.text)).samples

    @clones(1)
    async def test_the_first_known_voice_is_taken(self, guard: Guard[TTS]) -> None:
        for voice in guard.model.voices[:1]:
            await run_sync(guard, guard.model.set_voice, ["no voice has this name", voice])
        assert (await say(guard, self.text)).samples

    @clones(1)
    async def test_emotions_are_known_or_refused(self, guard: Guard[TTS]) -> None:
        for emotion in guard.model.emotions[:1]:
            await run_sync(guard, guard.model.set_emotion, emotion)
        with pytest.raises(ValueError, match=r"\w"):
            await run_sync(guard, guard.model.set_emotion, "no emotion has this name")
        assert (await say(guard, self.text)).samples

    @clones(2)
    async def test_the_speed_changes_its_clone_only(
        self, first: Guard[TTS], second: Guard[TTS]
    ) -> None:
        set_speed = getattr(first.model, "set_speed", None)
        if set_speed is None:
            pytest.skip("it has no set_speed; the engine's speed controller is used")
        usual = await say(second, self.text)
        await run_sync(first, set_speed, 0.5)
        assert (await say(first, self.text)).seconds > 1.3 * usual.seconds
        await run_sync(first, set_speed, 1.5)
        assert (await say(first, self.text)).seconds < 0.85 * usual.seconds
        self.same(await say(second, self.text), usual)

    def same(self, found: AudioFrame, expected: AudioFrame) -> None:
        """Equal in length, but for what a voice varies by itself."""
        assert math.isclose(found.seconds, expected.seconds, rel_tol=self.tolerance)


async def say(guard: Guard[TTS], text: str) -> AudioFrame:
    """All that the model speaks of a text, as the engine would get it."""
    async with guard.lease() as lease, aclosing(synthesize(lease, text)) as stream:
        chunks = [chunk.audio.check() async for chunk in stream]
    return join(chunks, guard.model.output_rate)


def join(chunks: Sequence[AudioFrame], rate: int) -> AudioFrame:
    assert {chunk.rate for chunk in chunks} <= {rate}, "chunks of different rates"
    return AudioFrame(b"".join(chunk.pcm for chunk in chunks), rate)


def loudness(speech: AudioFrame) -> float:
    """The root mean square, 1 for a square wave at full scale."""
    samples = pcm_to_float(speech.pcm)
    return math.sqrt(float((samples**2).mean())) if samples.size else 0.0


def likeness(one: AudioFrame, other: AudioFrame) -> float:
    """How alike two voices are: the cosine of their average spectra, at most 1."""
    import numpy as np

    def spectrum(speech: AudioFrame) -> Any:
        samples = pcm_to_float(speech.pcm)
        frames = samples[: samples.size // 1024 * 1024].reshape(-1, 1024) * np.hanning(1024)
        average = np.abs(np.fft.rfft(frames)).mean(axis=0)
        return average / np.linalg.norm(average)

    return float(spectrum(one) @ spectrum(other))


class VADSuite(Suite[VAD]):
    """A voice-activity detector. `speech` names a recording of `xtalk.testing`."""

    slot = "vad"
    speech: ClassVar[str] = "what-time-is-it"

    @clones(1)
    async def test_silence_is_not_speech(self, guard: Guard[VAD]) -> None:
        assert not any(await self.verdicts(guard, silence(2.0, RATE_IN).pcm))

    @clones(1)
    async def test_speech_is_speech(self, guard: Guard[VAD]) -> None:
        verdicts = await self.verdicts(guard, self.sound())
        assert sum(verdicts) > 0.3 * len(verdicts)

    @clones(1)
    async def test_probabilities_are_probabilities(self, guard: Guard[VAD]) -> None:
        sound = self.sound() + silence(1.0, RATE_IN).pcm
        probabilities = await self.probabilities(guard, sound)
        assert all(0 <= probability <= 1 for probability in probabilities)
        assert max(probabilities) > min(probabilities)

    @clones(1)
    async def test_async_is_the_same(self, guard: Guard[VAD]) -> None:
        expected = await self.verdicts(guard, self.sound())
        guard.model.reset()
        frames = Framer(guard.model.frame_samples).push(self.sound())
        assert [await guard.model.async_is_speech(frame) for frame in frames] == expected

    @clones(1)
    async def test_reset_forgets(self, guard: Guard[VAD]) -> None:
        expected = await self.probabilities(guard, self.sound())
        guard.model.reset()
        assert await self.probabilities(guard, self.sound()) == expected

    @clones(2)
    async def test_two_clones_do_not_hear_each_other(
        self, first: Guard[VAD], second: Guard[VAD]
    ) -> None:
        expected = await self.probabilities(first, self.sound())
        first.model.reset()
        size = first.model.frame_samples
        found = []
        for frame in Framer(size).push(self.sound()):
            found.append(first.model.speech_probability(frame))
            second.model.speech_probability(bytes(2 * size))
        assert found == expected

    @clones(1)
    async def test_inline_means_under_five_milliseconds(self, guard: Guard[VAD]) -> None:
        if not guard.model.inline:
            pytest.skip("it does not run on the event loop")
        times = []
        for frame in Framer(guard.model.frame_samples).push(self.sound()):
            began = time.perf_counter()
            guard.model.is_speech(frame)
            times.append(time.perf_counter() - began)
        assert sorted(times)[len(times) // 2] < 0.005

    def sound(self) -> bytes:
        """The recording: PCM16 mono at 16 kHz."""
        return recording(self.speech).pcm

    async def probabilities(self, guard: Guard[VAD], pcm: bytes) -> list[float]:
        frames = Framer(guard.model.frame_samples).push(pcm)
        return [guard.model.speech_probability(frame) for frame in frames]

    async def verdicts(self, guard: Guard[VAD], pcm: bytes) -> list[bool]:
        frames = Framer(guard.model.frame_samples).push(pcm)
        return [guard.model.is_speech(frame) for frame in frames]


class AgentSuite(Suite[Agent]):
    """An agent. `prompt` is something that it answers with words, the same ones each time."""

    slot = "llm_agent"
    prompt: ClassVar[str] = "hello"

    def check_card(self, card: Model, model: Agent) -> None:
        streams = overrides(model, Agent, "generate_stream") or overrides(
            model, Agent, "async_generate_stream"
        )
        assert card.streaming in (None, streams)

    @clones(1)
    async def test_it_answers(self, guard: Guard[Agent]) -> None:
        text, _ = await self.reply(guard)
        assert text.strip()

    @clones(2)
    async def test_a_stream_is_the_whole_reply(
        self, first: Guard[Agent], second: Guard[Agent]
    ) -> None:
        streamed = await self.reply(first)
        agent = second.model
        if overrides(agent, Agent, "async_generate"):
            whole = await agent.async_generate(self.turn())
        else:
            whole = await run_sync(second, agent.generate, self.turn())
        text, calls = (whole, []) if isinstance(whole, str) else whole
        assert (text.strip(), [call["name"] for call in calls]) == (
            streamed[0].strip(),
            streamed[1],
        )

    @clones(2)
    async def test_it_takes_a_plain_text_and_a_plain_dict(
        self, first: Guard[Agent], second: Guard[Agent]
    ) -> None:
        for guard, turn in (
            (first, self.prompt),
            (second, {"content": self.prompt, "context": {}}),
        ):
            if overrides(guard.model, Agent, "async_generate"):
                assert await guard.model.async_generate(turn)
            else:
                assert await run_sync(guard, guard.model.generate, turn)

    @clones(2)
    async def test_history_comes_from_commit_and_holds_what_was_heard(
        self, first: Guard[Agent], second: Guard[Agent]
    ) -> None:
        agent = first.model
        text, _ = await self.reply(first)
        if overrides(agent, Agent, "commit") and agent.get_chat_history() is not None:
            assert agent.get_chat_history() == second.model.get_chat_history()
        agent.commit(self.record(reply=f"{text} unheard", heard=text, outcome="interrupted"))
        history = agent.get_chat_history()
        if history is not None and overrides(agent, Agent, "commit"):
            assert self.prompt in history and text.strip() in history
            assert "unheard" not in history
        assert (await self.reply(first))[0], "it still answers"

    @clones(2)
    async def test_a_clone_has_an_empty_history(
        self, first: Guard[Agent], second: Guard[Agent]
    ) -> None:
        empty = second.model.get_chat_history()
        text, _ = await self.reply(first)
        first.model.commit(self.record(reply=text, heard=text, outcome="done"))
        assert second.model.get_chat_history() == empty
        assert first.model.clone().get_chat_history() == empty

    @clones(SESSIONS)
    async def test_eight_clones_at_once_answer_as_if_alone(self, *guards: Guard[Agent]) -> None:
        expected = await self.reply(guards[0])
        replies = []

        async def ask(guard: Guard[Agent]) -> None:
            replies.append(await self.reply(guard))

        async with anyio.create_task_group() as group:
            for guard in guards[1:]:
                group.start_soon(ask, guard)
        assert replies == [expected] * (SESSIONS - 1)

    @clones(1)
    async def test_it_is_interrupted_at_once(self, guard: Guard[Agent]) -> None:
        async with guard.lease() as lease:
            parts = respond(lease, self.turn())
            await anext(parts)
            began = time.monotonic()
            await parts.aclose()
            assert time.monotonic() - began < CANCEL_S
        await is_free(guard)
        guard.model.commit(self.record(reply="", heard="", outcome="interrupted"))
        assert (await self.reply(guard))[0].strip()

    @clones(1)
    async def test_tools_are_taken_or_refused_in_a_sentence(self, guard: Guard[Agent]) -> None:
        if overrides(guard.model, Agent, "add_tools"):
            guard.model.add_tools([])
        else:
            with pytest.raises(NotAvailable, match="tools"):
                guard.model.add_tools([])

    @clones(1)
    async def test_a_grammar_is_jsgf(self, guard: Guard[Agent]) -> None:
        grammar = guard.model.grammar()
        assert grammar is None or grammar.startswith("#JSGF V1.0")

    def turn(self) -> AgentInput:
        now = datetime(2026, 3, 4, 15, 6, tzinfo=timezone.utc)
        return AgentInput(self.prompt, turn_id=1, now=now)

    def record(self, *, heard: str, **how: Any) -> TurnRecord:
        return TurnRecord(turn_id=1, user=self.prompt, heard=heard, remembered=heard, **how)

    async def reply(self, guard: Guard[Agent]) -> tuple[str, list[str]]:
        """The text of one reply and the names of the tools that it calls."""
        text, calls = "", []
        async with guard.lease() as lease, aclosing(respond(lease, self.turn())) as parts:
            async for part in parts:
                if isinstance(part, Text):
                    text += part.text
                elif isinstance(part, ToolCall):
                    calls.append(part.name)
        return text, calls
