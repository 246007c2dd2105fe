"""The WebSocket over a real socket: waiting, refusing, ending."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from xtalk.errors import ConfigError
from xtalk_server.app import _application
from xtalk_server.config import ServerConfig
from xtalk_server.testing import Running, running

pytestmark = pytest.mark.real_time


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(main(), 20)

    asyncio.run(limited())


async def count(server: Running, which: str = "sessions") -> int:
    async with httpx.AsyncClient() as http:
        found: int = (await http.get(server.http + "/health")).json()[which]
        return found


async def receive(socket: ClientConnection) -> dict[str, object]:
    body: dict[str, object] = json.loads(await socket.recv())
    return body


async def closed(socket: ClientConnection) -> tuple[int | None, str | None]:
    with pytest.raises(ConnectionClosed):
        while True:
            await socket.recv()
    return socket.close_code, socket.close_reason


def test_a_session(server: Running) -> None:
    async def main() -> None:
        async with connect(server.ws) as socket:
            assert (await receive(socket))["action"] == "session_info"
            await socket.send(b"\1\2")
            assert await socket.recv() == b"\1\2"
            assert await count(server) == 1
            assert "permessage-deflate" not in str(socket.response)

    run(main)


def test_health_tells_those_who_talk_from_those_who_wait(scripted: Any) -> None:
    scripted.host.limiter.set_limit(1)

    async def main() -> None:
        async with connect(server.ws) as first, connect(server.ws) as second:
            assert "session_info" in {(await receive(s))["action"] for s in (first, second)}
            async with httpx.AsyncClient() as http:
                answer = await http.get(server.http + "/health")
            body = answer.json()
            assert (answer.status_code, body["status"]) == (200, "ok")
            assert (body["sessions"], body["queued"], body["limit"]) == (1, 1, 1)

    with running(scripted) as server:
        run(main)


def test_a_message_of_a_mebibyte_passes_and_no_more(server: Running) -> None:
    async def main() -> None:
        async with connect(server.ws, compression=None) as socket:
            await receive(socket)
            await socket.send(bytes(1 << 20))
            await socket.recv()
            await socket.send(bytes((1 << 20) + 2))
            assert (await closed(socket))[0] == 1009

    run(main)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:1"])
def test_a_foreign_page_is_refused_with_a_reason(
    server: Running, origin: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with connect(server.ws, origin=origin) as socket:  # type: ignore[arg-type]
            code, reason = await closed(socket)
            assert code == 1008
            assert "server.allowed_origins" in str(reason)

    run(main)
    called = f"127.0.0.1:{server.port}"
    assert f"refused a page of '{origin}', since the server was called as '{called}'" in caplog.text


@pytest.mark.parametrize("passed_on", [True, False])
def test_behind_a_proxy_the_header_host_decides(server: Running, passed_on: bool) -> None:
    called = "ws://talk.example.org/ws" if passed_on else server.ws
    origin = Origin("https://talk.example.org")

    async def main() -> None:
        async with connect(called, origin=origin, host="127.0.0.1", port=server.port) as socket:
            if passed_on:
                assert (await receive(socket))["action"] == "session_info"
            else:
                assert (await closed(socket))[0] == 1008

    run(main)


def test_the_servers_own_page_may_connect(server: Running) -> None:
    async def main() -> None:
        async with connect(server.ws, origin=server.http) as socket:  # type: ignore[arg-type]
            assert (await receive(socket))["action"] == "session_info"

    run(main)


@pytest.mark.parametrize("allowed", ["https://friend.example", "*"])
def test_the_operator_allows_other_pages(scripted: Any, allowed: str) -> None:
    async def main() -> None:
        async with connect(server.ws, origin="https://friend.example") as socket:  # type: ignore[arg-type]
            assert (await receive(socket))["action"] == "session_info"

    with running(scripted, allowed_origins=[allowed]) as server:
        run(main)


# --- while the models are built -----------------------------------------------------------------


class Slow:
    """Models that are built when the test says so."""

    def __init__(self, xtalk: Any) -> None:
        self.xtalk = xtalk
        self.go_on = threading.Event()
        self.error: Exception | None = None

    def build(self) -> Any:
        assert self.go_on.wait(10)
        if self.error is not None:
            raise self.error
        return self.xtalk


@pytest.fixture
def slow(scripted: Any) -> Slow:
    return Slow(scripted)


@pytest.fixture
def starting(slow: Slow) -> Iterator[Running]:
    with running(_application(slow.build, ServerConfig()), wait=False) as server:
        yield server


def test_a_session_waits_for_the_models_and_loses_no_message(starting: Running, slow: Slow) -> None:
    async def main() -> None:
        async with connect(starting.ws) as socket:
            await socket.send('{"action":"conversation_start"}')
            await socket.send(b"\1\2")
            await socket.send('{"action":"ping","timestamp":7}')
            pong = await receive(socket)
            assert (pong["action"], pong["client_timestamp"]) == ("pong", 7)
            await socket.send("{")
            assert (await receive(socket))["action"] == "error"
            assert await count(starting, "queued") == 1
            slow.go_on.set()
            assert (await receive(socket))["action"] == "session_info"
            assert (await receive(socket))["action"] == "conversation_start"
            await socket.send(b"\3\4")
            assert await socket.recv() == b"\3\4"

    run(main)


def test_of_too_many_messages_the_first_reach_the_session(starting: Running, slow: Slow) -> None:
    async def main() -> None:
        async with connect(starting.ws) as socket:
            await socket.send('{"action":"conversation_start"}')
            for _ in range(70):
                await socket.send('{"action":"vad_speech_start"}')
            assert "first 64 messages" in str((await receive(socket))["data"])
            await socket.send('{"action":"ping"}')
            assert (await receive(socket))["action"] == "pong", "it is told once"
            slow.go_on.set()
            assert (await receive(socket))["action"] == "session_info"
            assert (await receive(socket))["action"] == "conversation_start"
            for _ in range(63):
                assert (await receive(socket))["action"] == "vad_speech_start"

    run(main)


def test_who_leaves_while_waiting_leaves_nothing_behind(starting: Running, slow: Slow) -> None:
    async def main() -> None:
        async with connect(starting.ws) as socket:
            await socket.send('{"action":"ping"}')
            await receive(socket)
        while await count(starting, "queued"):
            pass
        slow.go_on.set()

    run(main)


def test_models_that_cannot_be_built_end_the_wait_and_the_server(
    starting: Running, slow: Slow
) -> None:
    slow.error = ConfigError("tts.params.voce: there is no such argument; did you mean voice?")

    async def main() -> None:
        async with connect(starting.ws) as socket:
            slow.go_on.set()
            assert "could not be built" in str((await receive(socket))["data"])
            assert (await closed(socket))[0] == 1011

    run(main)
    starting.thread.join(10)
    assert not starting.thread.is_alive()


# --- the end ------------------------------------------------------------------------------------


def test_sessions_are_told_that_the_server_stops(server: Running) -> None:
    async def main() -> None:
        async with connect(server.ws) as socket:
            await receive(socket)
            server.server.should_exit = True
            assert await closed(socket) == (1001, "the server is stopping")

    run(main)
    server.thread.join(5)
    assert not server.thread.is_alive()


def test_a_session_that_will_not_end_does_not_hold_the_server(scripted: Any) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def stubborn(connection: object) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    scripted.connect = stubborn

    async def main() -> None:
        async with connect(server.ws) as socket:
            assert await asyncio.to_thread(begun.wait, 10)
            server.server.should_exit = True
            assert (await closed(socket))[0] == 1001

    with running(scripted) as server:
        run(main)
    assert cancelled.is_set()
