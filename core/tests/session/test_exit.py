"""Models and plugins that call `sys.exit`: they have failed, the process and the others go on."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest

from xtalk.api import build_model
from xtalk.audio import AudioFrame
from xtalk.bus import EventBus, Manager
from xtalk.calls import (
    change_speed,
    close_model,
    judge_turn,
    open_model,
    recognize,
    respond,
    synthesize,
)
from xtalk.errors import ConfigError, MissingModel
from xtalk.events import ASRResultFinal
from xtalk.hookspecs import hookimpl
from xtalk.pipeline import DefaultPipeline
from xtalk.plugins import Plugins
from xtalk.registry import Registry
from xtalk.settings import Config
from xtalk.speech.interfaces import SpeechEnhancer
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS
from xtalk.threads import Guard, iterate_in_thread, run_in_thread
from xtalk.wire import messages as m


def leave(*args: Any, **kwargs: Any) -> NoReturn:
    sys.exit("usage: tool ...")


async def leave_async(*args: Any, **kwargs: Any) -> Any:
    leave()


async def leave_stream(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
    leave()
    yield


def leave_iterator(*args: Any) -> Iterator[Any]:
    yield "One. "
    leave()


async def silence() -> AsyncIterator[Any]:
    yield AudioFrame(bytes(64_000), 16_000)


async def all_of(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


# --- one call -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [lambda: run_in_thread(leave), lambda: all_of(iterate_in_thread(lambda: leave_iterator()))],
)
def test_a_blocking_call(call: Callable[[], Any]) -> None:
    with pytest.raises(
        RuntimeError, match=r"a blocking call raised SystemExit: usage: tool \.\.\."
    ):
        anyio.run(call)


FORMS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "asr in a thread": (recognize, {"recognize": leave}),
    "asr inline": (recognize, {"recognize": leave, "inline": True}),
    "asr async": (recognize, {"async_recognize": leave_async}),
    "asr async stream": (recognize, {"async_recognize_stream": leave_async}),
    "asr pulls": (recognize, {"transcribe": leave_stream}),
    "agent in a thread": (respond, {"generate": leave}),
    "agent stream in a thread": (respond, {"generate_stream": leave_iterator}),
    "agent inline": (respond, {"generate_stream": leave_iterator, "inline": True}),
    "agent async": (respond, {"async_generate": leave_async}),
    "agent async stream": (respond, {"async_generate_stream": leave_stream}),
    "tts async stream": (synthesize, {"async_synthesize_stream": leave_stream}),
    "speed": (change_speed, {"async_process": leave_async}),
    "turn detector": (judge_turn, {"async_judge": leave_async}),
}


@pytest.mark.parametrize(("call", "methods"), FORMS.values(), ids=FORMS.keys())
def test_every_form_of_a_model(call: Callable[..., Any], methods: dict[str, Any]) -> None:
    kept = {name: value if name == "inline" else _method(value) for name, value in methods.items()}
    model = type("Leaving", (), {"inline": False, "reset": lambda self: None, **kept})()
    if call is recognize:
        model.stream_chunk_bytes_hint = lambda: None

    async def main() -> None:
        async with Guard(model).lease() as lease:
            if call is recognize:
                await all_of(recognize(lease, silence()))
            elif call is change_speed:
                await change_speed(lease, bytes(2), 1.0)
            elif call is judge_turn:
                await judge_turn(lease, "hello", silence_ms=0, agent_speaking=False)
            else:
                await all_of(call(lease, "hello"))

    with pytest.raises(RuntimeError, match="usage: tool"):
        anyio.run(main)


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: function(*args, **kwargs)


def test_opening_and_closing() -> None:
    class Leaving:
        async def open(self) -> None:
            leave()

        def close(self) -> None:
            leave()

    for call in (open_model, close_model):
        with pytest.raises(RuntimeError, match="usage: tool"):
            anyio.run(call, Leaving())


def test_a_constructor_and_an_import(tmp_path: Path) -> None:
    module = tmp_path / "leaving.py"
    module.write_text("class Mouth:\n    def __init__(self): raise SystemExit('usage: tool')\n")
    registry = Registry(Plugins(), {"tts": [module]})
    config = Config.load({"tts": "Mouth"}, registry=registry, environ={})
    with pytest.raises(ConfigError, match="tts: Mouth cannot be built: SystemExit: usage"):
        build_model(config, "tts")
    (tmp_path / "at_import.py").write_text("raise SystemExit('usage: tool')")
    with pytest.raises(MissingModel, match="raised SystemExit: usage: tool"):
        Registry(Plugins(), {"tts": [tmp_path / "at_import.py"]}).find("tts", "Mouth")


# --- a conversation -------------------------------------------------------------------------------


class Once(ScriptedAgent):
    """Leaves in its first turn."""

    def __init__(self, left: list[int] | None = None) -> None:
        super().__init__(["Here I am."])
        self.left = [] if left is None else left

    def clone(self) -> Once:
        return Once(self.left)

    async def async_generate_stream(self, input: Any) -> AsyncIterator[Any]:
        if not self.left:
            self.left.append(1)
            leave()
        async for part in super().async_generate_stream(input):
            yield part


class Leaving(Manager):
    def __init__(self, event_bus: EventBus) -> None:
        self.event_bus = event_bus

    @Manager.event_handler(ASRResultFinal)
    def in_place(self, event: ASRResultFinal) -> None:
        leave()

    @Manager.event_handler(ASRResultFinal)
    async def in_a_mailbox(self, event: ASRResultFinal) -> None:
        leave()

    async def shutdown(self) -> None: ...


class Spawning:
    @hookimpl
    def xtalk_managers(self, pipeline: Any, config: Any) -> Any:
        return [Leaving]

    @hookimpl
    def xtalk_tools(self, session: Any) -> Any:
        session.spawn(leave_async)
        return []


def test_the_conversation_goes_on(talk: Any, run: Any) -> None:
    plugins = Plugins()
    plugins.register(Spawning(), "spawning")

    async def main() -> None:
        async with talk(agent=Once(), plugins=plugins) as call:
            await call.say()
            error = await call.client.wait_for(m.Error)
            assert "usage" not in error.message
            before = len(call.client.timeline)
            await call.say()
            await call.client.wait_until_heard(after=before)
            assert call.client.received(m.FinishResp)[-1].text == "Here I am."

    run(main)


class LeavingVAD(LoudnessVAD):
    """Leaves once."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def is_speech(self, frame: bytes) -> bool:
        self.calls += 1
        if self.calls == 20:
            leave()
        return super().is_speech(frame)

    def clone(self) -> LeavingVAD:
        return type(self)()


class LeavingVADAsync(LeavingVAD):
    inline = False

    async def async_is_speech(self, frame: bytes) -> bool:
        return self.is_speech(frame)


class LeavingEnhancer(SpeechEnhancer):
    """Leaves once in a frame and once in a flush."""

    inline = True

    def __init__(self) -> None:
        self.calls = 0
        self.flushes = 0

    def enhance(self, audio: bytes) -> bytes:
        self.calls += 1
        if self.calls == 20:
            leave()
        return audio

    def flush(self) -> bytes:
        self.flushes += 1
        if self.flushes == 1:
            leave()
        return b""

    def clone(self) -> LeavingEnhancer:
        return type(self)()


class LeavingEnhancerAsync(LeavingEnhancer):
    inline = False

    async def async_enhance(self, audio: bytes) -> bytes:
        return self.enhance(audio)

    async def async_flush(self) -> bytes:
        return self.flush()


@pytest.mark.parametrize(
    "ear", [LeavingVAD(), LeavingVADAsync(), LeavingEnhancer(), LeavingEnhancerAsync()]
)
def test_the_session_hears_on(talk: Any, run: Any, ear: Any) -> None:
    enhancer = ear if isinstance(ear, SpeechEnhancer) else None
    pipeline = DefaultPipeline(
        asr=ScriptedASR(),
        llm_agent=ScriptedAgent(),
        tts=ScriptedTTS(),
        speech_enhancer=enhancer,
        vad=LoudnessVAD() if enhancer else ear,
    )

    async def main() -> None:
        async with talk(pipeline=pipeline) as call:
            await anyio.sleep(3)
            for times in (1, 2):
                await call.say(1.0)
                await call.client.until(lambda n=times: len(call.client.received(m.FinishAsr)) == n)
                await call.client.wait_until_heard()
            assert len(call.client.received(m.Error)) == 1

    run(main)
