"""One reply, from the agent's first token to the last sample played, in one cancel scope.

    think()  -> say(text) -> sentences -> speak -> sink.audio      and then: until it is over

`think` and `speak` run side by side in the turn's task group. To stop the reply, cancel the
turn: nothing that it started outlives its scope.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from typing import Any, Literal, Protocol

import anyio
from anyio.abc import TaskGroup

from xtalk.agent import ToolCall, ToolResult
from xtalk.sentences import Splitter
from xtalk.speech.interfaces import Sentence, SpeechChunk
from xtalk.stages import Speak

__all__ = ["Outcome", "Sink", "Turn"]

log = logging.getLogger("xtalk.turn")

Outcome = Literal["running", "done", "interrupted", "failed"]

DOUBT_S = 0.08  # how long a full stop after a digit or an abbreviation waits for the next token


class Sink(Protocol):
    """Where a turn's speech goes."""

    def sentence(self, turn: Turn) -> None:
        """A sentence is ready to be spoken."""

    async def room(self) -> None:
        """Wait until more audio is wanted."""

    async def audio(self, chunk: SpeechChunk) -> None:
        """Audio, in order."""

    async def audio_over(self) -> None:
        """There is no more audio."""

    def failed(self, turn: Turn, stage: str, error: Exception) -> None:
        """The voice raised."""


class Turn:
    """What is known of one reply while it lives, and the scope in which it runs."""

    def __init__(self, turn_id: int, *, user: str = "", sink: Sink) -> None:
        self.id = turn_id
        self.user = user
        self.event = ""
        self.reply = ""
        self.outcome: Outcome = "running"
        self.tool_calls: list[ToolCall] = []
        self.tool_results: list[ToolResult] = []
        self._sink = sink
        self._splitter = Splitter()
        self._queue: deque[Sentence | SpeechChunk] = deque()
        self._flushed = False
        self._wake: asyncio.Future[None] | None = None
        self._doubt: asyncio.TimerHandle | None = None
        self._speaking: Speak | None = None
        self._scope = anyio.CancelScope()
        self._tasks: TaskGroup | None = None
        self._over = anyio.Event()

    @property
    def running(self) -> bool:
        return self.outcome == "running"

    async def run(
        self,
        think: Callable[[], Awaitable[None]] | None = None,
        around: Iterable[AbstractAsyncContextManager[object]] = (),
    ) -> None:
        """Live until `end` or `cancel`. `around` is entered outside the scope."""
        async with AsyncExitStack() as stack:
            for manager in around:
                await stack.enter_async_context(manager)
            try:
                with self._scope:
                    async with anyio.create_task_group() as tasks:
                        self._tasks = tasks
                        if self._speaking is not None:
                            tasks.start_soon(self._speak, self._speaking)
                        if think is not None:
                            await think()
                        await self._over.wait()
            finally:
                self._tasks = None
                if self._doubt is not None:
                    self._doubt.cancel()

    def end(self, outcome: Outcome) -> None:
        """Everything has been played, or nothing more will be."""
        if self.running:
            self.outcome = outcome
        self._over.set()

    def cancel(self) -> None:
        """Stop at once, whatever runs. Blocking calls are given up, not waited for."""
        if self.running:
            self.outcome = "interrupted"
        self._scope.cancel()

    # --- text in, sentences out -----------------------------------------------------------------

    def speak(self, stage: Speak) -> None:
        """Begin to speak what is said; once a turn."""
        if self._speaking is not None:
            return
        self._speaking = stage
        if self._tasks is not None:
            self._tasks.start_soon(self._speak, stage)

    @property
    def spoken_to(self) -> bool:
        """Whether speaking has begun."""
        return self._speaking is not None

    def say(self, text: str, spoken: str | None = None) -> None:
        """More of the reply. A sentence goes out with the token that ends it.

        With `spoken` the text is one piece, and the voice says that instead.
        """
        if spoken is None:
            self._hand_over(self._splitter.push(text))
        else:
            self._hand_over(self._splitter.whole(text, spoken))
        if self._doubt is not None:
            self._doubt.cancel()
            self._doubt = None
        if self._splitter.doubtful:
            loop = asyncio.get_running_loop()
            self._doubt = loop.call_later(DOUBT_S, self._settle)

    def play(self, chunk: SpeechChunk) -> None:
        """Audio that the agent made itself, in its place among the sentences."""
        self._hand_over(self._splitter.flush())
        self._queue.append(chunk)
        self._awake()

    def flush(self) -> None:
        """The reply's text is complete."""
        if not self._flushed:
            self._hand_over(self._splitter.flush())
            self._flushed = True
            self._awake()

    def _settle(self) -> None:
        self._doubt = None
        self._hand_over(self._splitter.settle())

    def _hand_over(self, sentences: list[Sentence]) -> None:
        if sentences:
            self._queue.extend(sentences)
            self._sink.sentence(self)
            self._awake()

    def _awake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _sentences(self) -> AsyncIterator[Any]:
        while True:
            while self._queue:
                yield self._queue.popleft()
            if self._flushed:
                return
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake

    async def _speak(self, stage: Speak) -> None:
        try:
            async with aclosing(stage(self._sentences())) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    await self._sink.room()
                    await self._sink.audio(chunk)
            await self._sink.audio_over()
        except Exception as error:
            log.exception("turn %d could not be spoken", self.id)
            self._sink.failed(self, "tts", error)
