"""A reply that is begun before it is certain that it will be wanted.

    Speculation --run--> parts are kept --parts--> they are handed on, and those that follow
                              |
                           discard: nothing was sent, spoken or remembered

The agent runs in a task of its own, so whoever takes the parts may come later, or never.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import anyio

from xtalk.agent import Agent, ReplyPart, ToolCall
from xtalk.calls import overrides

__all__ = ["Speculation", "can_speculate"]

KEPT = 256  # parts; then the agent waits until somebody wants them


def can_speculate(agent: Agent | None) -> bool:
    """Whether an agent that is not listened to leaves no trace.

    It must write its history in `commit` alone, and be asked for each part, so that a tool whose
    call it has announced does not run before the next part is asked for. A generator in a thread
    runs ahead, and `generate` runs its tools before it says so.
    """
    if agent is None or not overrides(agent, Agent, "commit"):
        return False
    streams = overrides(agent, Agent, "generate_stream")
    return overrides(agent, Agent, "async_generate_stream") or (agent.inline and streams)


class Speculation:
    """One reply, made ahead. `text` and `context` are what the agent was told."""

    def __init__(self, text: str, context: Mapping[str, Any], agent: Agent) -> None:
        self.text = text
        self.context = context
        self.agent = agent
        self.failed = False
        self._kept: deque[ReplyPart] = deque()
        self._error: Exception | None = None
        self._over = False
        self._wanted = anyio.Event()
        self._news = anyio.Event()
        self._scope = anyio.CancelScope()

    async def run(self, source: AsyncIterator[ReplyPart]) -> None:
        """Let the agent speak, until it would act or has said enough."""
        try:
            with self._scope:
                async with aclosing(source) as parts:  # type: ignore[type-var]
                    async for part in parts:
                        self._kept.append(part)
                        self._tell()
                        acts = isinstance(part, ToolCall) and part["effects"]
                        if acts or len(self._kept) >= KEPT:
                            await self._wanted.wait()
        except Exception as error:  # raised where the parts are taken, if they are
            self._error, self.failed = error, True
        finally:
            self._over = True
            self._tell()

    def discard(self) -> None:
        """Nobody wants it: the agent is stopped where it is."""
        self._scope.cancel()

    async def parts(self) -> AsyncGenerator[ReplyPart, None]:
        """It is wanted: what was made, and then the rest as it comes."""
        self._wanted.set()
        try:
            while True:
                while self._kept:
                    yield self._kept.popleft()
                if self._over:
                    break
                self._news = anyio.Event()
                await self._news.wait()
        finally:
            self.discard()
        if self._error is not None:
            raise self._error

    def _tell(self) -> None:
        self._news.set()
