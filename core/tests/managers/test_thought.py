"""Thoughts: only when the history changed, once a second at most, never in the way."""

from __future__ import annotations

import itertools
from typing import Any

import anyio
import pytest

from xtalk.rewriter import Rewriter
from xtalk.testing.fakes import ScriptedAgent
from xtalk.wire import messages as m


class Remembering(ScriptedAgent):
    """Keeps what it thought when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.thoughts: list[Any] = []

    def clone(self) -> Remembering:
        return self

    def async_generate_stream(self, input: Any) -> Any:
        self.thoughts.append((input.thought, input.thought_age_s))
        return super().async_generate_stream(input)

    def get_chat_history(self) -> str:
        return "\n".join(f"User: {r.user}\nAssistant: {r.heard}" for r in self.records)


class Thinker(Rewriter):
    def __init__(self, wait_s: float = 0.0) -> None:
        self.wait_s = wait_s
        self.asked: list[tuple[float, str]] = []

    def rewrite(self, text: str) -> str:
        raise AssertionError("the async method is the more specific one")

    async def async_rewrite(self, text: str) -> str:
        self.asked.append((anyio.current_time(), text))
        await anyio.sleep(self.wait_s)
        return f"note {len(self.asked)}"


def test_each_change_of_the_history_is_thought_about_once(converse: Any, run: Any) -> None:
    thinker, agent = Thinker(), Remembering()

    async def main() -> None:
        async with converse(llm_agent=agent, thought_rewriter=thinker) as call:
            await anyio.sleep(30)
            for _ in range(2):
                await call.turn()
                await anyio.sleep(30)
            await call.turn()
            assert [t.text for t in call.client.received(m.ThoughtUpdated)][:2] == [
                "note 1",
                "note 2",
            ]

    run(main)
    turn = "User: hello there\nAssistant: Hello. How are you?"
    assert [text for _, text in thinker.asked[:2]] == [
        f"<thought></thought>\n<chat>{turn}</chat>",
        f"<thought>note 1</thought>\n<chat>{turn}\n{turn}</chat>",
    ]
    assert agent.thoughts[0] == (None, None)
    assert agent.thoughts[2] == ("note 2", pytest.approx(31, abs=2))


def test_a_history_that_stays_the_same_is_not_thought_about_again(converse: Any, run: Any) -> None:
    class Forgetful(ScriptedAgent):
        def get_chat_history(self) -> str:
            return "User: hello"

    thinker = Thinker()

    async def main() -> None:
        async with converse(llm_agent=Forgetful(), thought_rewriter=thinker) as call:
            for _ in range(3):
                await call.turn()
                await anyio.sleep(3)

    run(main)
    assert len(thinker.asked) == 1


def test_a_history_that_changes_all_the_time_is_thought_about_once_a_second(
    converse: Any, run: Any
) -> None:
    class Restless(ScriptedAgent):
        count = 0

        def get_chat_history(self) -> str:
            self.count += 1
            return f"version {self.count}"

    thinker = Thinker()

    async def main() -> None:
        async with converse(llm_agent=Restless(["Yes."]), thought_rewriter=thinker) as call:
            for _ in range(5):
                await call.turn(0.4)

    run(main)
    times = [at for at, _ in thinker.asked]
    assert len(times) > 2
    assert all(b - a >= 1.0 for a, b in itertools.pairwise(times))


def test_a_rewriter_that_hangs_delays_nothing(converse: Any, run: Any) -> None:
    thinker, agent = Thinker(wait_s=1e6), Remembering()

    async def main() -> None:
        async with converse(llm_agent=agent, thought_rewriter=thinker) as call:
            for _ in range(3):
                await call.turn()
                await anyio.sleep(2)

    run(main)
    assert len(thinker.asked) == 1
    assert len(agent.records) == 3
