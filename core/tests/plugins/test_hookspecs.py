"""Every example in the docstrings of the hooks is a plugin that works."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import logging
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from xtalk import hookspecs
from xtalk.audio import AudioFrame
from xtalk.hookspecs import SLOTS, Download, Model
from xtalk.plugins import Plugins
from xtalk.speech.interfaces import Sentence, Speech, SpeechChunk, Transcript

HOOKS = [name for name in vars(hookspecs) if name.startswith("xtalk_")]
SLOT_HOOKS = [f"xtalk_{slot.name}" for slot in SLOTS]


def example(hook: str) -> str:
    """The end of the docstring, from the first import on: a whole plugin."""
    text = inspect.getdoc(getattr(hookspecs, hook)) or ""
    program = re.search("^from ", text, re.MULTILINE)
    assert program, f"{hook} has no example"
    return text[program.start() :]


def plugin(hook: str) -> tuple[Plugins, ModuleType]:
    """A fresh Plugins object that holds the example of that hook and nothing else."""
    module = ModuleType(f"example_{hook}")
    exec(compile(example(hook), f"<example of {hook}>", "exec"), module.__dict__)
    plugins = Plugins()
    row = plugins.register(module, "shout")
    assert row.error is None and not row.notes
    assert hook in row.hooks
    return plugins, module


def one(hook: str, **arguments: Any) -> Any:
    """The answer of the example."""
    plugins, _ = plugin(hook)
    answers = plugins.call(hook, **arguments)
    assert plugins.healthy, plugins.rows[0].error
    return answers[0][1] if answers else None


def collect(source: AsyncIterator[Any]) -> list[Any]:
    async def items() -> list[Any]:
        return [item async for item in source]

    return asyncio.run(items())


async def stream(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


class Stage:
    """A push stage that gives back what it gets."""

    def push(self, item: Any) -> list[Any]:
        return [item]

    def flush(self) -> list[Any]:
        return []


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_an_example_that_loads(hook: str) -> None:
    plugin(hook)


def test_every_slot_has_its_hook_and_its_place_in_the_pipeline() -> None:
    from xtalk.pipeline import DefaultPipeline

    assert set(SLOT_HOOKS) <= set(HOOKS)
    taken = inspect.signature(DefaultPipeline).parameters
    assert all((slot.argument or slot.name) in taken for slot in SLOTS)


@pytest.mark.parametrize("hook", SLOT_HOOKS)
def test_slots(hook: str) -> None:
    [model] = one(hook)
    assert isinstance(model, Model) and model.summary


def test_new_slots() -> None:
    plugins, _ = plugin("xtalk_slots")
    assert [model.name for _, model in plugins.models("backchannel")] == ["MmHm"]


def test_downloads() -> None:
    [download] = one("xtalk_downloads")
    assert (download.name, download.types) == ("parrot-en-small", ("Parrot",))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"name": "../parrot"}, "cannot name a file"),
        ({"name": ".parrot"}, "cannot name a file"),
        ({"url": "file:///etc/passwd"}, "not http or https"),
        ({"sha256": "ABC"}, "not 64 digits"),
    ],
)
def test_a_download_that_could_do_harm_is_refused(wrong: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Download(**{"name": "parrot", "url": "https://models.example/parrot.onnx", **wrong})


def test_wrap_enhance() -> None:
    frame = AudioFrame(b"\1\2", 16_000)
    deaf = one("xtalk_wrap_enhance", session=SimpleNamespace(config={"deaf": True}))(Stage())
    assert deaf.push(frame) == [AudioFrame(b"\0\0", 16_000)] and deaf.flush() == []
    assert one("xtalk_wrap_enhance", session=SimpleNamespace(config={})) is None


def test_wrap_detect() -> None:
    sure = one("xtalk_wrap_detect", session=None)(
        SimpleNamespace(
            push=lambda item: [Speech(kind="start", at=0, probability=p) for p in (0.6, 0.8)],
            flush=list,
        )
    )
    assert [event.probability for event in sure.push(None)] == [0.8] and sure.flush() == []


def test_wrap_transcribe() -> None:
    wrapped = one("xtalk_wrap_transcribe", session=None)(
        lambda frames: stream(Transcript(text="HELLO", final=True))
    )
    assert collect(wrapped(stream())) == [Transcript(text="hello", final=True)]


def test_wrap_respond() -> None:
    wrapped = one("xtalk_wrap_respond", session=None)(lambda input: stream("yes."))
    assert collect(wrapped("so?")) == ["Well, ", "yes."]


def test_wrap_speak() -> None:
    def speak(sentences: Any) -> Any:
        async def chunks() -> AsyncIterator[SpeechChunk]:
            async for sentence in sentences:
                yield SpeechChunk(audio=AudioFrame(b"", 48_000), sentence=sentence)

        return chunks()

    wrapped = one("xtalk_wrap_speak", session=None)(speak)
    sentence = Sentence(index=0, text="xtalk!", spoken="xtalk!", span=(0, 6))
    [chunk] = collect(wrapped(stream(sentence)))
    assert (chunk.sentence.text, chunk.sentence.spoken) == ("xtalk!", "cross talk!")


def enter(context: AbstractAsyncContextManager[object]) -> None:
    async def through() -> None:
        async with context:
            pass

    asyncio.run(through())


def test_lifespan(capsys: pytest.CaptureFixture[str]) -> None:
    enter(one("xtalk_lifespan", xtalk=None))
    assert capsys.readouterr().out == "one connection pool for all sessions opens\nand closes\n"


def test_session_and_turn(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    session = SimpleNamespace(id="7", log=logging.getLogger("example"))
    enter(one("xtalk_session", session=session))
    enter(one("xtalk_turn", session=session, turn=SimpleNamespace(outcome="interrupted")))
    assert caplog.messages == [
        "session 7 begins",
        "session 7 ends",
        "a turn ended: interrupted",
    ]


def test_settings() -> None:
    from xtalk.schema import build

    settings = build(one("xtalk_settings"), {"keep_days": "3"})
    assert (settings.folder, settings.keep_days) == ("recordings", 3)


def test_configure() -> None:
    config = SimpleNamespace(models={"tts": SimpleNamespace(type="Flute")})
    assert one("xtalk_configure", config=config) == {"service_config": {"ahead_sec": 2.0}}


def test_configure_without_a_voice() -> None:
    assert one("xtalk_configure", config=SimpleNamespace(models={})) is None


def test_make_model() -> None:
    class Flute:
        def __init__(self, voice: str) -> None:
            self.voice = voice

    plugins, _ = plugin("xtalk_make_model")
    made = plugins.first("xtalk_make_model", model=Flute, params={"voice": "tenor"})
    assert made.voice == "alto"
    assert plugins.first("xtalk_make_model", model=str, params={}) is None


def test_managers() -> None:
    from xtalk.bus import Manager

    [manager] = one("xtalk_managers", pipeline=None, config={})
    assert issubclass(manager, Manager)


def test_tools() -> None:
    [tool] = one("xtalk_tools", session=SimpleNamespace(id="7"))
    assert tool.invoke({}) == "7" and not tool.effects


def test_routes() -> None:
    routes: dict[str, Any] = {}

    class App:
        def get(self, path: str) -> Any:
            return lambda function: routes.setdefault(path, function)

    plugins, _ = plugin("xtalk_routes")
    plugins.call("xtalk_routes", app=App(), xtalk=None)
    assert asyncio.run(routes["/api/motto"]()) == {"motto": "speak, and be heard"}


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    plugins, _ = plugin("xtalk_commands")
    plugins.call("xtalk_commands", commands=parser.add_subparsers())
    arguments = parser.parse_args(["greet", "Ada"])
    arguments.run(arguments)
    assert capsys.readouterr().out == "Hello, Ada.\n"
