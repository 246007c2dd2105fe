"""Each check of the conformance suites fails on a model that breaks what it checks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import pytest
from judging import checks, sine, suite_of

from xtalk.agent import Agent, TurnRecord
from xtalk.audio import RATE_IN, AudioFrame
from xtalk.hookspecs import Model
from xtalk.speech.interfaces import ASR, TTS, VAD, Transcript
from xtalk.testing.suites import AgentSuite, ASRSuite, Suite, TTSSuite, VADSuite, base

# --- models that keep every promise ---------------------------------------------------------------


class GoodTTS(TTS):
    output_rate = 16_000
    voices = ("low", "high")

    def __init__(self) -> None:
        self.frequency = 300.0
        self.speed = 1.0

    def synthesize(self, text: str) -> bytes:
        return b"".join(self.synthesize_stream(text))

    def synthesize_stream(self, text: str, **kwargs: Any) -> Iterator[bytes]:
        for _ in text.strip():
            yield sine(0.05 / self.speed, self.output_rate, self.frequency)

    def set_voice(self, voice_names: list[str]) -> None:
        known = [name for name in voice_names if name in self.voices]
        if not known:
            raise ValueError(f"no such voice: {voice_names}")
        self.frequency = 300.0 if known[0] == "low" else 900.0

    def set_speed(self, speed: float) -> None:
        self.speed = speed

    def clone(self) -> TTS:
        twin = type(self)()
        twin.frequency, twin.speed = self.frequency, self.speed
        return twin


class GoodASR(ASR):
    """Hears how many bytes there were, but for silence."""

    def __init__(self) -> None:
        self.heard = b""

    def recognize(self, audio: bytes) -> str:
        return f"heard {len(audio)}" if any(audio) else ""

    def recognize_stream(self, audio: bytes, *, is_final: bool = False) -> str:
        self.heard += audio
        text = self.recognize(self.heard)
        if is_final:
            self.reset()
        return text

    def reset(self) -> None:
        self.heard = b""

    def clone(self) -> ASR:
        return type(self)()


class GoodVAD(VAD):
    """Speech is loud, and louder the longer it lasts."""

    def __init__(self) -> None:
        self.level = 0.0

    def is_speech(self, frame: bytes) -> bool:
        return self.speech_probability(frame) > 0.5

    def speech_probability(self, frame: bytes) -> float:
        self.level = 0.9 * self.level + 0.1 * any(frame)
        return self.level

    def reset(self) -> None:
        self.level = 0.0


class GoodAgent(Agent):
    def __init__(self) -> None:
        self.history: list[str] = []

    def generate(self, input: Any) -> str:
        return "".join(self.generate_stream(input))

    def generate_stream(self, input: Any) -> Iterator[str]:
        yield "I "
        yield "see"

    def commit(self, record: TurnRecord) -> None:
        self.history.append(f"User: {record.user}\nAssistant: {record.heard}")

    def get_chat_history(self) -> str:
        return "\n".join(self.history)

    def clone(self) -> Agent:
        return type(self)()


GOOD: list[tuple[type[Suite[Any]], type]] = [
    (TTSSuite, GoodTTS),
    (ASRSuite, GoodASR),
    (VADSuite, GoodVAD),
    (AgentSuite, GoodAgent),
]


class SmallestTTS(TTS):
    output_rate = 8_000

    def synthesize(self, text: str) -> bytes:
        return sine(0.05 * len(text.strip()), self.output_rate)

    def clone(self) -> TTS:
        return SmallestTTS()


class AsyncTTS(SmallestTTS):
    """As a client of a service is: the blocking method is there but nothing calls it."""

    async def async_synthesize_stream(self, text: str, **kwargs: Any) -> AsyncIterator[bytes]:
        for _ in text.strip():
            await anyio.lowlevel.checkpoint()
            yield sine(0.05, self.output_rate)

    def clone(self) -> TTS:
        return AsyncTTS()


class SmallestASR(ASR):
    def recognize(self, audio: bytes) -> str:
        return "heard" if any(audio) else ""

    def reset(self) -> None: ...

    def clone(self) -> ASR:
        return SmallestASR()


class AsyncASR(SmallestASR):
    """Has its own idea of a segment."""

    async def transcribe(self, frames: AsyncIterator[AudioFrame]) -> AsyncIterator[Transcript]:
        heard = False
        async for frame in frames:
            heard = heard or any(frame.pcm)
        yield Transcript(text="heard" if heard else "", final=True)

    def clone(self) -> ASR:
        return AsyncASR()


class SmallestVAD(VAD):
    def is_speech(self, frame: bytes) -> bool:
        return any(frame)


class SmallestAgent(Agent):
    def generate(self, input: Any) -> Any:
        return "I see", [{"name": "look", "args": {}}]

    def clone(self) -> Agent:
        return SmallestAgent()


class AsyncAgent(SmallestAgent):
    async def async_generate(self, input: Any) -> Any:
        return self.generate(input)

    async def async_generate_stream(self, input: Any) -> AsyncIterator[Any]:
        yield {"name": "look", "args": {}}
        for word in ("I ", "see"):
            await anyio.lowlevel.checkpoint()
            yield word

    def clone(self) -> Agent:
        return AsyncAgent()


GOOD += [
    (TTSSuite, SmallestTTS),
    (TTSSuite, AsyncTTS),
    (ASRSuite, SmallestASR),
    (ASRSuite, AsyncASR),
    (VADSuite, SmallestVAD),
    (AgentSuite, SmallestAgent),
    (AgentSuite, AsyncAgent),
]


@pytest.mark.parametrize(
    ("base", "model", "check"),
    [(base, model, check) for base, model in GOOD for check in checks(base)],
)
def test_a_good_model_passes(base: type[Suite[Any]], model: type, check: str) -> None:
    getattr(suite_of(base, model), check)({})


# --- models that break one promise each -----------------------------------------------------------


class WavTTS(GoodTTS):
    def synthesize_stream(self, text: str, **kwargs: Any) -> Iterator[bytes]:
        yield b"RIFF" + b"".join(super().synthesize_stream(text))


class EndlessTTS(GoodTTS):
    def synthesize_stream(self, text: str, **kwargs: Any) -> Iterator[bytes]:
        for _ in range(100):
            yield from super().synthesize_stream(text)


class MuteTTS(GoodTTS):
    def synthesize_stream(self, text: str, **kwargs: Any) -> Iterator[bytes]:
        for chunk in super().synthesize_stream(text):
            yield bytes(len(chunk))


class HalfSampleTTS(GoodTTS):
    def synthesize(self, text: str) -> bytes:
        return super().synthesize(text) + b"\0"


class LostTailTTS(GoodTTS):
    def synthesize_stream(self, text: str, **kwargs: Any) -> Iterator[bytes]:
        yield from list(super().synthesize_stream(text))[:-5]

    def synthesize(self, text: str) -> bytes:
        return b"".join(GoodTTS.synthesize_stream(self, text))


class TalkativeTTS(GoodTTS):
    def synthesize_stream(self, text: str, **kwargs: Any) -> Iterator[bytes]:
        return super().synthesize_stream(text if text.strip() else "nothing to say")


class LockedTTS(GoodTTS):
    """Holds one lock for all clones while somebody listens."""

    lock: ClassVar[threading.Semaphore] = threading.Semaphore()

    def synthesize_stream(self, text: str, **kwargs: Any) -> Iterator[bytes]:
        if not self.lock.acquire(timeout=0.5):
            return
        try:
            yield from list(super().synthesize_stream(text))
        finally:
            self.lock.release()


class SharedTTS(GoodTTS):
    """One buffer for all clones."""

    pending: ClassVar[list[bytes]] = []

    def synthesize_stream(self, text: str, **kwargs: Any) -> Iterator[bytes]:
        for chunk in super().synthesize_stream(text):
            self.pending.append(chunk)
            time.sleep(0.001)
            yield b"".join(self.pending)
            self.pending.clear()


class StubbornTTS(GoodTTS):
    def synthesize_stream(self, text: str, **kwargs: Any) -> Iterator[bytes]:
        yield from super().synthesize_stream("a")
        time.sleep(1.2)
        yield from super().synthesize_stream(text)


class SharedVoiceTTS(GoodTTS):
    def set_voice(self, voice_names: list[str]) -> None:
        super().set_voice(voice_names)
        SharedVoiceTTS.everyone = self.frequency

    def synthesize_stream(self, text: str, **kwargs: Any) -> Iterator[bytes]:
        self.frequency = self.everyone
        return super().synthesize_stream(text)

    everyone: ClassVar[float] = 300.0


class AnyVoiceTTS(GoodTTS):
    def set_voice(self, voice_names: list[str]) -> None:
        self.frequency = 300.0


class FirstVoiceTTS(GoodTTS):
    def set_voice(self, voice_names: list[str]) -> None:
        super().set_voice(voice_names[:1])


class AnyEmotionTTS(GoodTTS):
    def set_emotion(self, emotion: Any) -> None:
        pass


class OneSpeedTTS(GoodTTS):
    def set_speed(self, speed: float) -> None:
        pass


class DeafASR(GoodASR):
    def recognize(self, audio: bytes) -> str:
        return ""


class OtherStreamASR(GoodASR):
    def recognize(self, audio: bytes) -> str:
        return f"heard {len(audio)}"

    def recognize_stream(self, audio: bytes, *, is_final: bool = False) -> str:
        return super().recognize_stream(audio, is_final=is_final) and "something else"


class ChunkyASR(GoodASR):
    """Loses what does not fill a block."""

    def recognize_stream(self, audio: bytes, *, is_final: bool = False) -> str:
        return super().recognize_stream(audio[: len(audio) // 1024 * 1024], is_final=is_final)

    def stream_chunk_bytes_hint(self) -> int:
        return 1


class ImaginativeASR(GoodASR):
    def recognize(self, audio: bytes) -> str:
        return "thank you for watching"


class LostFinalASR(GoodASR):
    def recognize_stream(self, audio: bytes, *, is_final: bool = False) -> str:
        text = super().recognize_stream(audio, is_final=is_final)
        return text if audio or not is_final else ""


class NoResetASR(GoodASR):
    def reset(self) -> None:
        pass


class SharedASR(GoodASR):
    buffer: ClassVar[bytearray] = bytearray()

    def recognize_stream(self, audio: bytes, *, is_final: bool = False) -> str:
        self.buffer.extend(audio)
        time.sleep(0.001)
        text = self.recognize(bytes(self.buffer))
        if is_final:
            self.reset()
        return text

    def reset(self) -> None:
        self.buffer.clear()


class StubbornASR(GoodASR):
    def recognize_stream(self, audio: bytes, *, is_final: bool = False) -> str:
        before = len(self.heard)
        text = super().recognize_stream(audio, is_final=is_final)
        if before < 2 * RATE_IN * 0.55 <= len(self.heard):
            time.sleep(1.2)
        return text


class SharedGrammarASR(GoodASR):
    grammar: ClassVar[list[str]] = []

    def set_grammar(self, jsgf: str) -> None:
        self.grammar.append(jsgf)

    def recognize(self, audio: bytes) -> str:
        return "yes" if self.grammar else super().recognize(audio)


class NervousVAD(GoodVAD):
    def is_speech(self, frame: bytes) -> bool:
        return True


class DeafVAD(GoodVAD):
    def is_speech(self, frame: bytes) -> bool:
        return False


class PercentVAD(GoodVAD):
    def speech_probability(self, frame: bytes) -> float:
        return 100 * super().speech_probability(frame)


class OtherAsyncVAD(GoodVAD):
    async def async_is_speech(self, frame: bytes) -> bool:
        return False


class NoResetVAD(GoodVAD):
    def reset(self) -> None:
        pass


class SharedVAD(GoodVAD):
    def clone(self) -> VAD:
        return self


class SlowVAD(GoodVAD):
    def is_speech(self, frame: bytes) -> bool:
        time.sleep(0.006)
        return super().is_speech(frame)


class SilentAgent(GoodAgent):
    def generate_stream(self, input: Any) -> Iterator[str]:
        yield " "


class OtherStreamAgent(GoodAgent):
    def generate(self, input: Any) -> str:
        return "something else"


class AttributeAgent(GoodAgent):
    """Wants more than a plain dict."""

    def generate(self, input: Any) -> str:
        return f"{input.text}"


class EagerAgent(GoodAgent):
    """Writes its history before it is told to."""

    def generate_stream(self, input: Any) -> Iterator[str]:
        self.history.append("User: hello\nAssistant: I see")
        yield from super().generate_stream(input)


class MadeNotHeardAgent(GoodAgent):
    def commit(self, record: TurnRecord) -> None:
        self.history.append(f"User: {record.user}\nAssistant: {record.reply}")


class SharedHistoryAgent(GoodAgent):
    def clone(self) -> Agent:
        twin = SharedHistoryAgent()
        twin.history = self.history
        return twin


class CountingAgent(GoodAgent):
    asked: ClassVar[list[object]] = []

    def generate_stream(self, input: Any) -> Iterator[str]:
        self.asked.append(input)
        yield f"I see {len(self.asked)}"


class StubbornAgent(GoodAgent):
    def generate_stream(self, input: Any) -> Iterator[str]:
        yield "I "
        time.sleep(1.2)
        yield "see"


class AbruptAgent(GoodAgent):
    def add_tools(self, tools: Any) -> None:
        raise RuntimeError


class OtherGrammarAgent(GoodAgent):
    def grammar(self) -> str:
        return "<grammar/>"


BROKEN: list[tuple[type[Suite[Any]], type, str]] = [
    (TTSSuite, WavTTS, "test_it_speaks_at_its_rate"),
    (TTSSuite, EndlessTTS, "test_it_speaks_at_its_rate"),
    (TTSSuite, MuteTTS, "test_it_can_be_heard"),
    (TTSSuite, HalfSampleTTS, "test_a_stream_is_as_long_as_one_shot"),
    (TTSSuite, LostTailTTS, "test_a_stream_is_as_long_as_one_shot"),
    (TTSSuite, TalkativeTTS, "test_no_text_is_no_speech"),
    (TTSSuite, LockedTTS, "test_two_clones_take_turns"),
    (TTSSuite, SharedTTS, "test_eight_clones_at_once_speak_as_if_alone"),
    (TTSSuite, StubbornTTS, "test_it_is_silenced_at_once"),
    (TTSSuite, SharedVoiceTTS, "test_a_voice_changes_its_clone_only"),
    (TTSSuite, AnyVoiceTTS, "test_a_voice_changes_its_clone_only"),
    (TTSSuite, AnyVoiceTTS, "test_an_unknown_voice_is_refused"),
    (TTSSuite, FirstVoiceTTS, "test_the_first_known_voice_is_taken"),
    (TTSSuite, AnyEmotionTTS, "test_emotions_are_known_or_refused"),
    (TTSSuite, OneSpeedTTS, "test_the_speed_changes_its_clone_only"),
    (ASRSuite, DeafASR, "test_it_hears_speech"),
    (ASRSuite, OtherStreamASR, "test_a_stream_is_understood_as_a_whole_recording_is"),
    (ASRSuite, ChunkyASR, "test_the_size_of_the_pieces_changes_nothing"),
    (ASRSuite, ImaginativeASR, "test_no_audio_is_no_text"),
    (ASRSuite, NoResetASR, "test_silence_does_no_harm"),
    (ASRSuite, LostFinalASR, "test_a_final_call_without_audio_ends_the_segment"),
    (ASRSuite, NoResetASR, "test_reset_forgets_the_segment"),
    (ASRSuite, SharedASR, "test_two_clones_do_not_hear_each_other"),
    (ASRSuite, SharedASR, "test_eight_clones_at_once_hear_the_same"),
    (ASRSuite, StubbornASR, "test_it_is_given_up_at_once"),
    (ASRSuite, SharedGrammarASR, "test_a_grammar_holds_for_its_clone_only"),
    (VADSuite, NervousVAD, "test_silence_is_not_speech"),
    (VADSuite, DeafVAD, "test_speech_is_speech"),
    (VADSuite, PercentVAD, "test_probabilities_are_probabilities"),
    (VADSuite, OtherAsyncVAD, "test_async_is_the_same"),
    (VADSuite, NoResetVAD, "test_reset_forgets"),
    (VADSuite, SharedVAD, "test_two_clones_do_not_hear_each_other"),
    (VADSuite, SlowVAD, "test_inline_means_under_five_milliseconds"),
    (AgentSuite, SilentAgent, "test_it_answers"),
    (AgentSuite, OtherStreamAgent, "test_a_stream_is_the_whole_reply"),
    (AgentSuite, AttributeAgent, "test_it_takes_a_plain_text_and_a_plain_dict"),
    (AgentSuite, EagerAgent, "test_history_comes_from_commit_and_holds_what_was_heard"),
    (AgentSuite, MadeNotHeardAgent, "test_history_comes_from_commit_and_holds_what_was_heard"),
    (AgentSuite, SharedHistoryAgent, "test_a_clone_has_an_empty_history"),
    (AgentSuite, CountingAgent, "test_eight_clones_at_once_answer_as_if_alone"),
    (AgentSuite, StubbornAgent, "test_it_is_interrupted_at_once"),
    (AgentSuite, AbruptAgent, "test_tools_are_taken_or_refused_in_a_sentence"),
    (AgentSuite, OtherGrammarAgent, "test_a_grammar_is_jsgf"),
]


@pytest.mark.parametrize(("base", "model", "check"), BROKEN)
def test_a_broken_model_fails(base: type[Suite[Any]], model: type, check: str) -> None:
    suite = suite_of(base, model)
    with pytest.raises((Exception, pytest.fail.Exception)):
        getattr(suite, check)({})


@pytest.mark.parametrize("base", [TTSSuite, ASRSuite, VADSuite, AgentSuite])
def test_every_check_has_a_model_that_fails_it(base: type[Suite[Any]]) -> None:
    assert {check for suite, _, check in BROKEN if suite is base} == set(checks(base))


def test_a_text_that_makes_the_model_raise_is_found() -> None:
    class ShyTTS(GoodTTS):
        def synthesize_stream(self, text: str, **kwargs: Any) -> Iterator[bytes]:
            text.encode("ascii")
            return super().synthesize_stream(text)

    suite = suite_of(TTSSuite, ShyTTS)
    assert isinstance(suite, TTSSuite)
    with pytest.raises(UnicodeEncodeError):
        suite.test_no_text_does_harm({}, "你好")


def test_a_model_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class HangingAgent(GoodAgent):
        async def async_generate_stream(self, input: Any) -> Any:
            await asyncio.Event().wait()
            yield ""

    monkeypatch.setattr(base, "LIMIT_S", 0.05)
    with pytest.raises(TimeoutError):
        suite_of(AgentSuite, HangingAgent).test_it_answers({})  # type: ignore[attr-defined]


def test_a_task_that_is_left_running_is_found() -> None:
    class MessyAgent(GoodAgent):
        async def async_generate_stream(self, input: Any) -> Any:
            self.task = asyncio.ensure_future(asyncio.Event().wait())
            yield "I see"

    with pytest.raises(AssertionError, match="left running"):
        suite_of(AgentSuite, MessyAgent).test_it_answers({})  # type: ignore[attr-defined]


# --- what the suites ask of the package -----------------------------------------------------------


def test_a_model_that_no_plugin_offers_is_named() -> None:
    with pytest.raises(AssertionError, match="no installed plugin offers the tts 'GoodTTS'"):
        suite_of(TTSSuite, GoodTTS).test_it_is_registered_under_its_class_name()


def test_an_argument_without_annotation_is_named() -> None:
    class Loose(GoodTTS):
        def __init__(self, voice="a") -> None:  # type: ignore[no-untyped-def]
            super().__init__()

    with pytest.raises(AssertionError, match="voice has no annotation"):
        suite_of(TTSSuite, Loose).test_every_argument_is_annotated_and_has_a_schema()


@pytest.mark.parametrize(
    "untrue",
    [
        {"voices": ("tenor",)},
        {"sample_rates": (8_000,)},
        {"speed": False},
        {"streaming": False},
        {"emotions": ("joy",)},
        {"license": None},
        {"summary": ""},
    ],
)
def test_a_card_that_is_untrue_fails(untrue: dict[str, Any]) -> None:
    true: dict[str, Any] = {"summary": "a sine", "license": "MIT", "voices": ("low",)}
    for about, fails in ((true, False), ({**true, **untrue}, True)):
        card = Model("GoodTTS", "here:GoodTTS", **about)
        suite = suite_of(TTSSuite, GoodTTS, card=lambda self, card=card: card)
        if fails:
            with pytest.raises(AssertionError):
                suite.test_its_card_tells_the_truth({})
        else:
            suite.test_its_card_tells_the_truth({})


def test_hooks_that_need_the_sdk_fail(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greedy_hooks.py").write_text("import numpy\n")
    (tmp_path / "modest_hooks.py").write_text("import json\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def check(module: str, sdk: tuple[str, ...]) -> None:
        row = type("Row", (), {"target": module})
        suite = suite_of(TTSSuite, GoodTTS, row=lambda self: row, sdk=sdk)
        suite.test_the_hooks_need_no_sdk()

    check("modest_hooks", ())
    with pytest.raises(AssertionError, match="numpy"):
        check("greedy_hooks", ())
    with pytest.raises(AssertionError, match="json"):
        check("modest_hooks", ("json",))


def test_overriding_a_check_demands_a_reason() -> None:
    with pytest.raises(TypeError, match="test_it_can_be_heard overrides a check"):

        class Quiet(TTSSuite):
            model = MuteTTS

            def test_it_can_be_heard(self) -> None: ...

    with pytest.raises(TypeError, match="xfail"):

        class Off(TTSSuite):
            test_it_can_be_heard = None

    with pytest.raises(TypeError, match="reason"):

        class Unsaid(TTSSuite):
            @pytest.mark.xfail
            def test_it_can_be_heard(self) -> None: ...


def test_an_override_with_a_reason_and_new_tests_are_accepted() -> None:
    class Quiet(TTSSuite):
        model = MuteTTS

        @pytest.mark.xfail(reason="it is mute by design")
        def test_it_can_be_heard(self) -> None: ...

        def test_something_of_its_own(self) -> None: ...

    class Quieter(Quiet):
        def test_something_of_its_own(self) -> None: ...

    assert Quieter.model is MuteTTS


def test_a_live_suite_skips_without_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XTALK_TEST_KEY", raising=False)
    suite = suite_of(TTSSuite, GoodTTS, live="XTALK_TEST_KEY")
    with pytest.raises(pytest.skip.Exception, match="set XTALK_TEST_KEY"):
        suite.need_service()
    monkeypatch.setenv("XTALK_TEST_KEY", "a key")
    suite.need_service()
