"""What a bad client does to the real server harms nobody else and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import ConnectionClosed

from xtalk.api import Xtalk
from xtalk.pipeline import DefaultPipeline
from xtalk.plugins import Plugins
from xtalk.service import DefaultService
from xtalk.testing.client import WireClient, connect
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS, loud
from xtalk.wire import messages as m
from xtalk_server.testing import Running, running

pytestmark = pytest.mark.real_time

SPEECH = b"".join(loud(0.6))


@pytest.fixture
def server() -> Iterator[Running]:
    pipeline = DefaultPipeline(ScriptedASR(), ScriptedAgent(), ScriptedTTS(), vad=LoudnessVAD())
    service = DefaultService(pipeline=pipeline)
    with running(Xtalk(service_prototype=service, plugins=Plugins())) as server:
        yield server


async def good_conversation(server: Running) -> None:
    """One turn, heard to its end."""
    async with connect(server.ws) as connection, WireClient(connection) as client:
        await client.say(SPEECH)
        assert (await client.wait_for(m.FinishAsr)).text == "hello there"
        await client.wait_until_heard()


async def nonsense(socket: ClientConnection) -> None:
    """Each is answered by an error in plain words, and the session goes on."""
    for bad in ("{", "[]", "null", '{"action":"fly"}', '{"action":5}', b"\1", "\ud7ff" * 100):
        await socket.send(bad)
        while (message := await text(socket))["action"] != "error":
            pass
        assert 10 < len(message["data"]) < 300
    await socket.send('{"action":"ping","timestamp":1}')
    while (await text(socket))["action"] != "pong":
        pass


async def noise(socket: ClientConnection) -> None:
    """Valid messages in an order that makes no sense, and frames of any even size."""
    chance = random.Random(4)
    for _ in range(300):
        action = chance.choice(list(m.CLIENT_MESSAGES))
        message = {"action": action, "chunk_index": chance.randrange(99), "model_type": "x"}
        await socket.send(json.dumps(message))
        await socket.send(chance.randbytes(2 * chance.randrange(600)))


async def too_much(socket: ClientConnection) -> None:
    with pytest.raises(ConnectionClosed):
        await socket.send(bytes(3 << 20))
        while True:
            await socket.recv()
    assert socket.close_code == 1009


async def vanish(socket: ClientConnection) -> None:
    """Gone in the middle of a sentence, without a good-bye."""
    await socket.send(SPEECH)
    socket.transport.abort()


async def deaf(socket: ClientConnection) -> None:
    """Speaks and never reads."""
    socket.transport.pause_reading()
    await socket.send(SPEECH + bytes(32000))
    await asyncio.sleep(1)
    socket.transport.abort()


async def text(socket: ClientConnection) -> dict[str, Any]:
    while isinstance(item := await socket.recv(), bytes):
        pass
    body: dict[str, Any] = json.loads(item)
    return body


@pytest.mark.parametrize("bad", [nonsense, noise, too_much, vanish, deaf])
def test_a_bad_client_harms_nobody(
    server: Running, bad: Callable[[ClientConnection], Awaitable[None]]
) -> None:
    async def attack() -> None:
        async with connect_socket(server.ws, compression=None) as socket:
            await bad(socket)

    async def main() -> None:
        attacks = [attack() for _ in range(5)]
        await asyncio.wait_for(asyncio.gather(good_conversation(server), *attacks), 30)
        for _ in range(200):
            if server.tasks() == idle:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"left behind: {server.tasks()}")

    idle = server.tasks()
    asyncio.run(main())
    assert httpx.get(f"{server.http}/health").json()["sessions"] == 0
