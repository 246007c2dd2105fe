"""Switching the voice and the agent by name, from the server's own list."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from xtalk.agent import TurnRecord
from xtalk.session import OPEN_S
from xtalk.testing.fakes import ScriptedAgent, ScriptedTTS, tone
from xtalk.wire import messages as m


class Handy(ScriptedAgent):
    """Notes its tools."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.tools: list[Any] = []

    def add_tools(self, tools: Any) -> None:
        self.tools.extend(tools)


class Fresh(Handy):
    """An agent whose records are its own, so that what it was told shows."""

    made: list[Fresh]

    def clone(self) -> Fresh:
        twin = type(self)(self.reply)
        self.made.append(twin)
        return twin


def test_a_voice_is_switched_and_keeps_what_was_asked_of_it(talk: Any, run: Any) -> None:
    class Long(ScriptedTTS):
        def synthesize(self, text: str) -> bytes:
            return tone(1.0, hertz=880 if self.voice == "high" else 660)

    def service(blueprint: Any) -> None:
        blueprint.alternatives = {"tts": {"long": Long()}}

    async def main() -> None:
        async with talk(service=service) as call:
            call.client.send(m.ChangeVoice(voice_name="high"))
            call.client.send(m.ChangeTtsModel(model_type="long", config={"host": "evil"}))
            await anyio.sleep(0.1)
            await call.say()
            await call.client.wait_until_heard()
            assert tone(0.2, hertz=880) in call.heard()
            call.client.send(m.ChangeTtsModel(model_type="nobody"))
            assert "model" in (await call.client.wait_for(m.Error)).message

    run(main)


def test_an_agent_is_switched_with_its_history_and_tools(talk: Any, run: Any) -> None:
    other = Fresh(["I am the other."])
    other.made = Fresh.made = []

    def service(blueprint: Any) -> None:
        blueprint.alternatives = {"llm_agent": {"other": other}}

    async def main() -> None:
        async with talk(agent=Handy(["I am the first."]), service=service) as call:
            call.session.offer_tools([print], "a test")
            await call.say()
            await call.client.wait_until_heard()
            call.client.send(m.ChangeLlmModel(model_name="other", base_url="http://evil"))
            await anyio.sleep(0.1)
            before = len(call.client.timeline)
            await call.say()
            await call.client.wait_until_heard(after=before)
            assert call.client.received(m.FinishResp, after=before)[0].text == "I am the other."
            assert call.session.pipeline.get_agent() is other.made[0]

    run(main)
    replaced = other.made[0]
    told: list[TurnRecord] = replaced.records
    assert [record.reply for record in told] == ["I am the first.", "I am the other."]
    assert replaced.tools == [print]


def test_without_a_list_a_switch_is_refused(talk: Any, run: Any) -> None:
    async def main() -> None:
        async with talk() as call:
            call.client.send(m.ChangeLlmModel(model_name="x", base_url="http://evil"))
            error = await call.client.wait_for(m.Error)
            assert error.message == "This server does not let clients change its models."

    run(main)


class Counted(ScriptedTTS):
    """A voice without state: one object serves every session."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = self.closed = 0

    def clone(self) -> Counted:
        return self

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1


def test_a_shared_voice_stays_open_whoever_switches_to_it_or_away(talk: Any, run: Any) -> None:
    first, other = Counted(), Counted()

    def service(blueprint: Any) -> None:
        blueprint.alternatives = {"tts": {"other": other}}

    async def main() -> None:
        async with talk(tts=first, service=service) as call:
            call.client.send(m.ChangeTtsModel(model_type="other"))
            await anyio.sleep(0.1)
            await call.say()
            await call.client.wait_until_heard()
            call.client.send(m.ChangeVoice(voice_name="high"))
            await call.client.wait_for(m.VoiceChanged)

    run(main)
    assert other.spoken and other.voice == "high" and not first.spoken
    assert (first.opened, first.closed, other.opened, other.closed) == (0, 0, 0, 0)


class Slow(Handy):
    """Says its name, and takes `open_s` to open. `copies` are all that were made of it."""

    def __init__(self, name: str, open_s: float = 0.0) -> None:
        super().__init__([f"I am {name}."])
        self.name = name
        self.open_s = open_s
        self.closed = 0
        self.copies: list[Slow] = []

    def clone(self) -> Slow:
        twin = type(self)(self.name, self.open_s)
        twin.copies = self.copies
        self.copies.append(twin)
        return twin

    async def open(self) -> None:
        await anyio.sleep(self.open_s)

    async def close(self) -> None:
        self.closed += 1


def among(**others: Any) -> Any:
    def service(blueprint: Any) -> None:
        blueprint.alternatives = {"llm_agent": others}

    return service


async def answer(call: Any) -> str:
    """What is said to the next question."""
    before = len(call.client.timeline)
    await call.say()
    await call.client.wait_until_heard(after=before)
    return str(call.client.received(m.FinishResp, after=before)[-1].text)


@pytest.mark.parametrize("wishes", ["slow quick", "quick slow", "slow quick slow quick"])
def test_of_wishes_that_race_the_last_is_fulfilled(talk: Any, run: Any, wishes: str) -> None:
    agents = {"slow": Slow("slow", open_s=2.0), "quick": Slow("quick", open_s=0.5)}
    *_, last = wishes.split()

    async def main() -> None:
        async with talk(agent=Slow("first"), service=among(**agents)) as call:
            for name in wishes.split():
                call.client.send(m.ChangeLlmModel(model_name=name))
                await anyio.sleep(0.1)
            await anyio.sleep(5)
            assert call.session.offer_tools([print], "a test")
            assert await answer(call) == f"I am {last}."
            answering = call.session.pipeline.get_agent()
            assert answering.name == last and answering.tools == [print]

    run(main)
    assert [copy.closed for agent in agents.values() for copy in agent.copies] == [1, 1]


class StuckFirst(Slow):
    """Its first copy does not end when it is stopped, as a call in a thread does not."""

    async def async_generate_stream(self, input: Any) -> AsyncIterator[Any]:
        if self is not self.copies[0]:
            async for part in super().async_generate_stream(input):
                yield part
            return
        try:
            await anyio.sleep(30)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(20)


def test_a_choice_is_not_undone_by_the_copy_for_a_stuck_agent(talk: Any, run: Any) -> None:
    first, other = StuckFirst("first", open_s=2.0), Slow("other", open_s=0.2)

    async def main() -> None:
        async with talk(agent=first, service=among(other=other)) as call:
            await anyio.sleep(3)
            await call.say()
            await anyio.sleep(2)  # it is asked, and hangs
            await call.say()
            await anyio.sleep(1.2)  # a copy is being made
            call.client.send(m.ChangeLlmModel(model_name="other"))
            await anyio.sleep(5)
            assert await answer(call) == "I am other."
            assert not call.client.received(m.Error)

    run(main)
    assert [copy.closed for copy in first.copies + other.copies] == [1, 1, 1]


def test_agents_that_were_left_are_closed_and_let_go(talk: Any, run: Any) -> None:
    living: weakref.WeakSet[Light] = weakref.WeakSet()

    class Light(Slow):
        closings = 0

        def clone(self) -> Light:
            twin = Light(self.name)
            living.add(twin)
            return twin

        async def close(self) -> None:
            Light.closings += 1

    async def main() -> None:
        service = among(one=Light("one"), two=Light("two"))
        async with talk(agent=Light("first"), service=service) as call:
            for name in ["one", "two"] * 10:
                call.client.send(m.ChangeLlmModel(model_name=name))
                await anyio.sleep(0.1)
            assert await answer(call) == "I am two."
            gc.collect()
            assert len(living) == 1
            assert Light.closings == 20

    run(main)
    assert Light.closings == 21


@pytest.mark.parametrize("open_s", [0.5, 1e6], ids=["when the caller leaves", "at the limit"])
def test_a_copy_that_took_no_place_is_closed(talk: Any, run: Any, open_s: float) -> None:
    other = Slow("other", open_s)

    async def main() -> None:
        async with talk(agent=Slow("first"), service=among(other=other)) as call:
            call.client.send(m.ChangeLlmModel(model_name="other"))
            await anyio.sleep(0.1)
            if open_s > OPEN_S:
                await call.client.wait_for(m.Error, timeout=2 * OPEN_S)
                assert await answer(call) == "I am first."

    run(main)
    assert [copy.closed for copy in other.copies] == [1]
