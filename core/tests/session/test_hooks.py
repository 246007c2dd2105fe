"""The hooks of a session: wrappers around the stages, contexts, managers, tools."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from xtalk.agent import Agent, Text
from xtalk.bus import EventBus, Manager
from xtalk.events import ASRResultFinal
from xtalk.hookspecs import hookimpl
from xtalk.plugins import Plugins
from xtalk.session import StateKey
from xtalk.testing.fakes import ScriptedAgent
from xtalk.wire import messages as m

COUNT: StateKey[int] = StateKey("count")


def loaded(*plugins: Any) -> Plugins:
    made = Plugins()
    for index, plugin in enumerate(plugins):
        made.register(plugin, f"plugin-{index}")
    assert made.healthy, [row.error for row in made.rows]
    return made


async def one_turn(talk: Any, plugins: Plugins, **models: Any) -> Any:
    async with talk(plugins=plugins, **models) as call:
        await call.say()
        await call.client.wait_until_heard()
        return call


def test_every_stage_can_be_wrapped(talk: Any, run: Any) -> None:
    seen: set[str] = set()

    class Push:
        def __init__(self, inner: Any, name: str) -> None:
            self.inner, self.name = inner, name

        def push(self, frame: Any) -> Any:
            seen.add(self.name)
            return self.inner.push(frame)

        def flush(self) -> Any:
            return self.inner.flush()

    def pulled(name: str) -> Any:
        def wrapper(stage: Any) -> Any:
            async def wrapped(source: Any) -> AsyncIterator[Any]:
                async for item in stage(source):
                    seen.add(name)
                    yield item

            return wrapped

        return wrapper

    class Plugin:
        @hookimpl
        def xtalk_wrap_enhance(self, session: Any) -> Any:
            return lambda stage: Push(stage, "enhance")

        @hookimpl
        def xtalk_wrap_detect(self, session: Any) -> Any:
            return lambda stage: Push(stage, "detect")

        @hookimpl
        def xtalk_wrap_transcribe(self, session: Any) -> Any:
            return pulled("transcribe")

        @hookimpl
        def xtalk_wrap_respond(self, session: Any) -> Any:
            return pulled("respond")

        @hookimpl
        def xtalk_wrap_speak(self, session: Any) -> Any:
            return pulled("speak")

    run(lambda: one_turn(talk, loaded(Plugin())))
    assert seen == {"enhance", "detect", "transcribe", "respond", "speak"}


def test_the_first_plugin_is_outermost(talk: Any, run: Any) -> None:
    def adding(mark: str) -> Any:
        class Plugin:
            @hookimpl
            def xtalk_wrap_respond(self, session: Any) -> Any:
                def wrapper(stage: Any) -> Any:
                    async def wrapped(agent_input: Any) -> AsyncIterator[Any]:
                        async for part in stage(agent_input):
                            yield replace(part, text=part.text + mark)

                    return wrapped

                return wrapper

        return Plugin()

    async def main() -> None:
        plugins = loaded(adding("(outer)"), adding("(inner)"))
        call = await one_turn(talk, plugins, agent=ScriptedAgent(["Yes."]))
        assert call.client.received(m.FinishResp)[0].text == "Yes.(inner)(outer)"

    run(main)


def test_sessions_and_turns_have_contexts_that_can_await_after_a_barge_in(
    talk: Any, run: Any
) -> None:
    told: list[Any] = []

    class Plugin:
        @staticmethod
        @hookimpl
        def xtalk_session(session: Any) -> Any:
            @asynccontextmanager
            async def around() -> AsyncIterator[None]:
                session.state[COUNT] = 0
                told.append("session begins")
                yield
                told.append(f"session ends after {session.state[COUNT]} turns")

            return around()

        @staticmethod
        @hookimpl
        def xtalk_turn(session: Any, turn: Any) -> Any:
            @asynccontextmanager
            async def around() -> AsyncIterator[None]:
                session.state[COUNT] += 1
                try:
                    yield
                finally:
                    await anyio.sleep(0.01)
                    told.append(turn.outcome)

            return around()

    async def main() -> None:
        long = ScriptedAgent(["A reply that lasts for quite a while, it seems. "] * 3)
        async with talk(plugins=loaded(Plugin()), agent=long) as call:
            await call.say()
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(0.5)
            before = len(call.client.timeline)
            await call.say()
            await call.client.wait_until_heard(after=before)
            await anyio.sleep(2)

    run(main)
    assert told == ["session begins", "interrupted", "done", "session ends after 2 turns"]


def test_plugins_add_managers_and_tools(talk: Any, run: Any) -> None:
    finals: list[str] = []
    offered: list[Any] = []

    class Listener(Manager):
        def __init__(self, event_bus: EventBus, config: dict[str, Any]) -> None:
            self.event_bus = event_bus

        @Manager.event_handler(ASRResultFinal)
        def final(self, event: ASRResultFinal) -> None:
            finals.append(event.text)

        async def shutdown(self) -> None:
            finals.append("over")

    class Handy(ScriptedAgent):
        def add_tools(self, tools: Any) -> None:
            offered.extend(tools)

    def clock() -> str:
        """The time."""
        return "noon"

    class Plugin:
        @hookimpl
        def xtalk_managers(self, pipeline: Any, config: Any) -> Any:
            return [Listener]

        @hookimpl
        def xtalk_tools(self, session: Any) -> Any:
            yield clock

    run(lambda: one_turn(talk, loaded(Plugin()), agent=Handy()))
    assert finals == ["hello there", "over"]
    assert offered == [clock]


def test_tools_for_an_agent_without_are_said_and_the_session_lives(talk: Any, run: Any) -> None:
    class Plugin:
        @hookimpl
        def xtalk_tools(self, session: Any) -> Any:
            yield print

    run(lambda: one_turn(talk, loaded(Plugin())))


class Contexts:
    """The same context around process, session and turn."""

    def __init__(self, around: Any) -> None:
        self.around = around

    @hookimpl
    def xtalk_lifespan(self, xtalk: Any) -> Any:
        return self.around()

    @hookimpl
    def xtalk_session(self, session: Any) -> Any:
        return self.around()

    @hookimpl
    def xtalk_turn(self, session: Any, turn: Any) -> Any:
        return self.around()


@asynccontextmanager
async def sound() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def failing_to_begin() -> AsyncIterator[None]:
    raise OSError("no disk")
    yield


@asynccontextmanager
async def failing_to_end() -> AsyncIterator[None]:
    yield
    raise OSError("no disk")


@asynccontextmanager
async def exiting() -> AsyncIterator[None]:
    sys.exit("no disk")
    yield


@pytest.mark.parametrize("bad", [failing_to_begin, failing_to_end, exiting])
def test_a_context_that_fails_costs_its_plugin_only(
    talk: Any, run: Any, caplog: pytest.LogCaptureFixture, bad: Any
) -> None:
    told: list[str] = []

    @asynccontextmanager
    async def good() -> AsyncIterator[None]:
        told.append("begins")
        yield
        told.append("ends")

    plugins = loaded(Contexts(good), Contexts(bad), Contexts(good))

    async def main() -> None:
        async with talk(plugins=plugins) as call, call.host.lifespan(None):
            for _ in range(2):
                await call.say()
                await call.client.wait_until_heard(after=len(call.client.timeline))
            assert not call.client.received(m.Error)
            host = call.host
        assert not host.sessions

    run(main)
    assert (told.count("begins"), told.count("ends")) == (8, 8)  # process, session, two turns
    assert [row.error is None for row in plugins.rows] == [True, False, True]
    error = str(plugins.rows[1].error)
    for hook in ("xtalk_lifespan", "xtalk_session", "xtalk_turn"):
        assert error.count(f"{hook} raised ") == 1
        assert f"plugin plugin-1: {hook} raised " in caplog.text
    assert "Traceback" in caplog.text


def test_what_fails_inside_a_context_is_not_the_plugins_fault() -> None:
    plugins = loaded(Contexts(sound))

    async def main() -> None:
        (around,) = plugins.contexts("xtalk_lifespan", xtalk=None)
        with pytest.raises(KeyError):
            async with around:
                raise KeyError("x")

    anyio.run(main)
    assert plugins.healthy


def test_a_context_whose_own_task_fails_ends_what_it_surrounds() -> None:
    async def fail() -> None:
        raise OSError("no disk")

    @asynccontextmanager
    async def with_a_task() -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            yield

    plugins = loaded(Contexts(with_a_task))

    async def main() -> None:
        (around,) = plugins.contexts("xtalk_lifespan", xtalk=None)
        with pytest.raises(Exception, match=r"unhandled errors|no disk"):
            async with around:
                await anyio.sleep_forever()

    anyio.run(main)
    assert "xtalk_lifespan raised " in str(plugins.rows[0].error)


def test_a_plugin_that_fails_in_a_session_costs_nobody_else(talk: Any, run: Any) -> None:
    class Broken(Manager):
        def __init__(self) -> None:
            raise OSError("no")

        async def shutdown(self) -> None: ...

    class Bad:
        @hookimpl
        def xtalk_wrap_speak(self, session: Any) -> Any:
            raise OSError("no")

        @hookimpl
        def xtalk_wrap_respond(self, session: Any) -> Any:
            return lambda stage: stage.nothing

        @hookimpl
        def xtalk_wrap_transcribe(self, session: Any) -> Any:
            return lambda stage: None

        @hookimpl
        def xtalk_managers(self, pipeline: Any, config: Any) -> Any:
            return [int, Broken]

        @hookimpl
        def xtalk_tools(self, session: Any) -> Any:
            return [3]

    class Handy(ScriptedAgent):
        def add_tools(self, tools: Any) -> None:
            raise TypeError("3 is no tool")

    plugins = loaded(Bad())
    call = run(lambda: one_turn(talk, plugins, agent=Handy()))
    assert not call.client.received(m.Error)
    hooks = ("wrap_speak", "wrap_respond", "wrap_transcribe", "managers", "tools")
    assert all(f"xtalk_{hook} " in str(plugins.rows[0].error) for hook in hooks)


def test_a_spoken_text_of_its_own_is_what_the_voice_says(talk: Any, run: Any) -> None:
    class Reader(Agent):
        def generate(self, input: Any) -> str:
            return ""

        def clone(self) -> Agent:
            return self

        async def async_generate_stream(self, input: Any) -> AsyncIterator[Any]:
            yield Text(text="See **this**. ")

    async def main() -> None:
        async with talk(agent=Reader()) as call:
            spoken = call.host.service.pipeline.get_tts_model().spoken
            await call.say()
            await call.client.wait_until_heard()
            assert call.client.received(m.FinishResp)[0].text == "See **this**. "
            assert "*" not in spoken[0]

    run(main)
