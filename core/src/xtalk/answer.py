"""One reply as the agent makes it, in a task of its own: perhaps before it is wanted.

    run --> parts are kept --parts--> they are handed on, and those that follow
              |
            leave: the agent is stopped where it is, but not in the middle of an act

A tool with effects that has begun is let finish, for `TOOL_S` at most; nothing more is said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import anyio

from xtalk.agent import Agent, ReplyPart, Text, ToolCall, ToolResult
from xtalk.calls import overrides

__all__ = ["Answer", "can_speculate"]

KEPT = 256  # parts; then an agent that speculates waits until somebody wants them
TOOL_S = 30.0


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


class Answer:
    """`agent` and `context` are whom and with what it was asked.

    `late` is called with the result of a tool that nobody waits for any more.
    """

    def __init__(
        self,
        agent: Agent | None,
        context: Mapping[str, Any],
        late: Callable[[ToolResult], None] = lambda result: None,
    ) -> None:
        self.agent = agent
        self.context = context
        self.error: Exception | None = None
        self._late = late
        self._kept: deque[ReplyPart] = deque()
        self._acting = 0  # tools with effects whose results are to come
        self._over = self._left = False
        self._wanted = anyio.Event()
        self._news = anyio.Event()
        self._scope = anyio.CancelScope()

    async def run(self, source: AsyncIterator[ReplyPart]) -> None:
        """Let the agent speak; until somebody wants it, it does not act."""
        try:
            with self._scope:
                async with aclosing(source) as parts:  # type: ignore[type-var]
                    async for part in parts:
                        self._take(part)
                        if self._left and not self._acting:
                            break
                        if self._acting or len(self._kept) >= KEPT:
                            await self._wanted.wait()
        except Exception as error:  # raised where the parts are taken, if they are
            self.error = error
        finally:
            self._over = True
            self._news.set()

    def _take(self, part: ReplyPart) -> None:
        if isinstance(part, ToolCall):
            self._acting += bool(part["effects"])
        elif isinstance(part, ToolResult):
            self._acting = max(0, self._acting - 1)
        elif isinstance(part, Text):
            self._acting = 0  # who speaks on waits for no result
        if not self._left:
            self._kept.append(part)
            self._news.set()
        elif isinstance(part, ToolResult):
            self._late(part)

    def leave(self) -> None:
        """Nobody wants more of it."""
        self._left = True
        if self._acting and self._wanted.is_set():
            self._scope.deadline = anyio.current_time() + TOOL_S
        else:
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
            self.leave()
        if self.error is not None:
            raise self.error
