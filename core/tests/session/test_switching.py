"""Switching the voice and the agent by name, from the server's own list."""

from __future__ import annotations

from typing import Any

import anyio

from xtalk.agent import TurnRecord
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
