"""The original's page at the far end of a connection, and the user in front of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
from coded import FRAME_S, QUIET
from original_page import OriginalPage

from xtalk import events
from xtalk.pipeline import Pipeline
from xtalk.plugins import Plugins
from xtalk.service import DefaultService, Host
from xtalk.session import Session
from xtalk.testing.transport import MemoryTransport

PING_S = 15.0

T = TypeVar("T")


async def wait(condition: Callable[[], T], timeout: float = 30.0) -> T:
    """What the condition gives as soon as it is true; polling costs nothing in virtual time."""
    with anyio.fail_after(timeout):
        while not (value := condition()):  # noqa: ASYNC110 - there is no event for it
            await anyio.sleep(0.005)
    return value


class FlushingTransport(MemoryTransport):
    """Also remembers what was sent in one go."""

    def __init__(self, *, latency_s: float = 0.0) -> None:
        super().__init__(latency_s=latency_s)
        self.flushes: list[list[str | bytes]] = []

    async def send(self, items: Any) -> None:
        await super().send(items)
        self.flushes.append(list(items))


class Browser:
    """Drives the page: what reaches it, its timers, its microphone, its heartbeat.

    `log` is what the server sent, as (action, data); a chunk is ("chunk", (index, pcm)).
    """

    def __init__(self, transport: MemoryTransport, page: OriginalPage, *, mic: bool = True) -> None:
        self.transport = transport
        self.page = page
        self.mic = mic
        self.log: list[tuple[str, Any]] = []
        self.frames: dict[int, bytes] = {}
        self._index = 0
        self._frame = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.began = 0.0

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def __aenter__(self) -> Browser:
        self.began = self.now
        work = [self._read(), self._ping()] + ([self._stream()] if self.mic else [])
        self._tasks = [asyncio.create_task(each) for each in work]
        self.tell("conversation_start")
        return self

    def vanish(self) -> None:
        """Gone in the middle of everything, without a word."""
        self.page.receive("stop_tts", None, self.now)
        self._fall_silent()
        self.transport.vanish()

    def _fall_silent(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    async def __aexit__(self, *error: object) -> None:
        self._fall_silent()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    # --- the user -------------------------------------------------------------------------------

    def tell(self, action: str, **fields: Any) -> None:
        self.transport.push(json.dumps({"action": action, "timestamp": self._stamp(), **fields}))

    def _stamp(self) -> int:
        return int(self.now * 1000)

    def plan(self, at: float, frames: list[bytes]) -> float:
        """These frames go into the microphone, `at` seconds from now; the time of their end."""
        first = self._frame + max(1, round(at / FRAME_S))
        self.frames.update(enumerate(frames, first))
        return (first + len(frames)) * FRAME_S + self.began - self.now

    def mark(self, start: bool) -> None:
        """The page's own detector speaks."""
        page = self.page
        self._from_page(page.speech_start(self.now) if start else page.speech_end(self.now))

    async def say(
        self, frames: list[bytes], *, onset: float = 0.032, hangover: float = 0.5
    ) -> None:
        """Speak, with the marks that the page's detector makes of it."""
        end = self.now + self.plan(0.0, frames)
        await anyio.sleep(FRAME_S + onset)
        self.mark(True)
        await anyio.sleep(max(0.0, end - self.now) + hangover)
        self.mark(False)

    # --- the page -------------------------------------------------------------------------------

    def _from_page(self, messages: list[tuple[str, int]]) -> None:
        for action, value in messages:
            if action == "tts_chunk_played":
                self.tell(action, chunk_index=value)
            else:
                self.tell(action)
        self._rearm()

    def _rearm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self.page.next_at
        if at is not None:
            self._timer = asyncio.get_running_loop().call_at(at, self._advance)

    def _advance(self) -> None:
        self._timer = None
        at = self.page.next_at
        self._from_page(self.page.advance(self.now) if at is not None and at <= self.now else [])

    async def _read(self) -> None:
        while (item := await self.transport.next()) is not None:
            if isinstance(item, bytes):
                self._take("chunk", (self._index, item))
                continue
            message = json.loads(item)
            action, data = message["action"], message.get("data")
            if action == "tts_chunk_meta":
                self._index = data["chunk_index"]
            elif action == "pong":
                self._sync(message)
            else:
                self._take(action, _reduced(action, data))

    def _take(self, action: str, data: Any) -> None:
        self.log.append((action, data))
        self._from_page(self.page.receive(action, data, self.now))

    def _sync(self, pong: dict[str, Any]) -> None:
        self.log.append(("pong", pong))
        self.tell(
            "clock_sync",
            client_send_ts=pong["client_timestamp"] / 1000,
            server_recv_ts=pong["server_recv_timestamp"] / 1000,
            client_recv_ts=self._stamp() / 1000,
        )

    async def _ping(self) -> None:
        while True:
            await anyio.sleep(PING_S)
            self.tell("ping")

    async def _stream(self) -> None:
        while True:
            self._frame += 1
            await anyio.sleep_until(self.began + self._frame * FRAME_S)
            self.transport.push(self.frames.pop(self._frame, QUIET))

    # --- what a test asks -----------------------------------------------------------------------

    def actions(self, after: int = 0) -> list[str]:
        return [action for action, _ in self.log[after:]]

    def data(self, action: str, after: int = 0) -> list[Any]:
        return [data for found, data in self.log[after:] if found == action]

    async def until(self, action: str, *, after: int = 0, timeout: float = 30.0) -> Any:
        return (await wait(lambda: self.data(action, after), timeout))[0]

    async def idle(self, timeout: float = 60.0) -> None:
        """Until the page says so, and has nothing more to play."""
        page = self.page
        await wait(lambda: page.state == "idle" and not page.scheduled and not page.queue, timeout)


def _reduced(action: str, data: Any) -> Any:
    """What the page's model looks at."""
    if action in ("update_asr", "finish_asr", "update_resp", "finish_resp"):
        return (data["turn_id"], data["text"])
    return data


class Server:
    """One connection to a host, from the server's side."""

    def __init__(self, host: Host, transport: FlushingTransport) -> None:
        self.host = host
        self.transport = transport

    @property
    def session(self) -> Session:
        return next(iter(self.host.sessions.values()))

    def watch(self, *kinds: type[events.BaseEvent]) -> list[Any]:
        seen: list[Any] = []
        for kind in kinds:
            self.session.subscribe(kind, seen.append)
        return seen


@asynccontextmanager
async def talk(
    pipeline: Pipeline,
    page: OriginalPage | None = None,
    *,
    rtt: float = 0.04,
    config: dict[str, Any] | None = None,
    host: Host | None = None,
    mic: bool = True,
) -> AsyncIterator[tuple[Browser, Server]]:
    """A page in conversation with the engine."""
    host = host or Host(DefaultService(pipeline=pipeline, service_config=config), plugins=Plugins())
    transport = FlushingTransport(latency_s=rtt / 2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(host.connect, transport)
        async with Browser(transport, page or OriginalPage(), mic=mic) as browser:
            await wait(lambda: any(session.managers for session in host.sessions.values()))
            yield browser, Server(host, transport)
        transport.vanish()
