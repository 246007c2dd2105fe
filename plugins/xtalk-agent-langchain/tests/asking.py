"""Ask an agent as the engine does, and collect what it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal

import anyio
from xtalk_agent_langchain.agent import DefaultAgent

from xtalk.agent import AgentInput, Text, ToolCall, ToolResult, TurnRecord

LIMIT_S = 120.0  # of a test that hangs


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        with anyio.fail_after(LIMIT_S):
            await test()

    asyncio.run(limited())


@asynccontextmanager
async def opened(agent: DefaultAgent) -> AsyncIterator[DefaultAgent]:
    await agent.open()
    try:
        yield agent
    finally:
        await agent.close()


async def parts_of(agent: DefaultAgent, text: str, **how: Any) -> list[Any]:
    async with aclosing(agent.async_generate_stream(AgentInput(text, **how))) as parts:
        return [part async for part in parts]


def words(parts: list[Any]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text))


def calls(parts: list[Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(part.name, part.args) for part in parts if isinstance(part, ToolCall)]


def results(parts: list[Any]) -> list[str]:
    return [part.content for part in parts if isinstance(part, ToolResult)]


def record(
    user: str,
    parts: list[Any],
    *,
    heard: str | None = None,
    outcome: Literal["done", "interrupted", "failed"] = "done",
    turn_id: int = 0,
) -> TurnRecord:
    """What the engine makes of it."""
    reply = words(parts)
    heard = reply if heard is None else heard
    return TurnRecord(
        turn_id=turn_id,
        user=user,
        reply=reply,
        heard=heard,
        remembered=heard,
        outcome=outcome,
        tool_calls=tuple(part for part in parts if isinstance(part, ToolCall)),
        tool_results=tuple(part for part in parts if isinstance(part, ToolResult)),
    )


async def turn(agent: DefaultAgent, text: str, **how: Any) -> list[Any]:
    """One turn, heard to its end."""
    parts = await parts_of(agent, text, **how)
    agent.commit(record(text, parts, turn_id=how.get("turn_id", 0)))
    return parts
