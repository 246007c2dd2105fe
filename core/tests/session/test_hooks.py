"""The hooks of a session: wrappers around the stages, contexts, managers, tools."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio

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


def test_a_plugin_that_fails_in_a_session_costs_nobody_else(talk: Any, run: Any) -> None:
    class Bad:
        @hookimpl
        def xtalk_wrap_speak(self, session: Any) -> Any:
            raise OSError("no")

    plugins = loaded(Bad())
    run(lambda: one_turn(talk, plugins))
    assert "xtalk_wrap_speak" in str(plugins.rows[0].error)


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
