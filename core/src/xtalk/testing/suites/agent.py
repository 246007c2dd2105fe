"""What every agent must do."""

from __future__ import annotations

import time
from contextlib import aclosing
from datetime import datetime, timezone
from typing import Any, ClassVar

import anyio
import pytest

from xtalk.agent import Agent, AgentInput, Text, ToolCall, TurnRecord
from xtalk.calls import overrides, respond
from xtalk.errors import NotAvailable
from xtalk.hookspecs import Model
from xtalk.testing.suites.base import CANCEL_S, SESSIONS, Suite, clones, is_free, run_sync
from xtalk.threads import Guard

__all__ = ["AgentSuite"]


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
