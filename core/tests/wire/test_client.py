"""The caller of the tests, in virtual time: exact microphone and playback, honest acks."""

from __future__ import annotations

import array
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from xtalk.testing import virtual_time
from xtalk.testing.client import MemoryConnection, WireClient
from xtalk.testing.transport import MemoryTransport
from xtalk.wire import messages as m
from xtalk.wire.protocol import ServerProtocol


class Far:
    """The server's end, by hand: what came, with its time, and a way to answer."""

    def __init__(self) -> None:
        self.transport = MemoryTransport()
        self.texts: list[tuple[float, dict[str, Any]]] = []
        self.frames: list[tuple[float, bytes]] = []

    async def read(self) -> None:
        while (item := await self.transport.receive()) is not None:
            now = anyio.current_time()
            if isinstance(item, bytes):
                self.frames.append((now, item))
            else:
                self.texts.append((now, json.loads(item)))

    async def send(self, *messages: m.ServerMessage | m.TtsChunk) -> None:
        for message in messages:
            await self.transport.send(ServerProtocol().send(message))

    def actions(self) -> list[str]:
        return [text["action"] for _, text in self.texts]

    def acks(self) -> list[tuple[int, float]]:
        return [
            (text["chunk_index"], round(at - 1000, 6))
            for at, text in self.texts
            if text["action"] == "tts_chunk_played"
        ]


@asynccontextmanager
async def call(**options: Any) -> AsyncIterator[tuple[Far, WireClient]]:
    far = Far()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(far.read)
        async with WireClient(MemoryConnection(far.transport), **options) as client:
            yield far, client


def in_virtual_time(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def main() -> None:
            await test()

        virtual_time.run(main())

    return run


def chunk(index: int, seconds: float = 0.2) -> m.TtsChunk:
    return m.TtsChunk(index, array.array("h", [index] * round(48000 * seconds)).tobytes())


@in_virtual_time
async def test_the_microphone_streams_frames_on_an_exact_clock() -> None:
    async with call() as (far, client):
        await anyio.sleep(0.05)
        speech = array.array("h", range(1, 801)).tobytes()
        began = await client.say(speech)
        await anyio.sleep(0.1)
    times = [round(at - 1000, 6) for at, _ in far.frames]
    assert times[:4] == [0.032, 0.064, 0.096, 0.128]
    assert {len(frame) for _, frame in far.frames} == {1024}
    sent = b"".join(frame for _, frame in far.frames)
    start = sent.index(speech)
    assert start == round((began - 1000) * 16000) * 2
    assert sent[:start].strip(b"\0") == sent[start + len(speech) :].strip(b"\0") == b""
    assert client.spoken == [(began, speech)]


@in_virtual_time
async def test_it_says_first_what_it_is() -> None:
    async with call(pauses_itself=True, decisions=True, microphone=False) as (far, _):
        await anyio.sleep(0.01)
    ((_, text),) = far.texts
    assert text["action"] == "conversation_start"
    assert text["client"] == {"pauses_itself": True, "decisions": True}
    assert far.frames == []


@in_virtual_time
async def test_chunks_are_acknowledged_when_they_have_been_played() -> None:
    async with call() as (far, client):
        await far.send(m.StartTts(), chunk(1), chunk(2))
        await anyio.sleep(0.3)
        await far.send(chunk(3), m.TtsFinished())
        await client.wait_until_heard()
        await anyio.sleep(0.01)
    assert far.acks() == [(1, 0.2), (2, 0.4), (3, 0.6)]
    assert far.actions()[-1] == "tts_playback_finished"
    assert b"".join(sound.pcm for sound in client.speaker.heard) == b"".join(
        chunk(i).pcm for i in (1, 2, 3)
    )


@in_virtual_time
async def test_playback_finished_needs_the_flag_before_the_last_chunk_has_ended() -> None:
    async with call() as (far, _):
        await far.send(m.StartTts(), chunk(1))
        await anyio.sleep(0.3)
        await far.send(m.TtsFinished())
        await anyio.sleep(1)
    assert "tts_playback_finished" not in far.actions()


@in_virtual_time
async def test_a_pause_is_exact_to_the_sample() -> None:
    async with call() as (far, client):
        await far.send(m.StartTts(), chunk(1), chunk(2))
        await anyio.sleep(0.25)
        await far.send(m.PauseTts())
        await anyio.sleep(1)
        await far.send(m.ResumeTts())
        await anyio.sleep(1)
    assert far.acks() == [(1, 0.2), (2, 1.4)]
    first, head, rest = client.speaker.heard
    assert head.pcm + rest.pcm == chunk(2).pcm
    assert len(head.pcm) == 2 * 2400
    assert (first.at, head.at, rest.at) == pytest.approx((1000, 1000.2, 1001.25), abs=1e-6)


@in_virtual_time
async def test_what_is_stopped_is_neither_heard_nor_acknowledged() -> None:
    async with call() as (far, client):
        await far.send(m.StartTts(), chunk(1), chunk(2), m.TtsFinished())
        await anyio.sleep(0.1)
        await far.send(m.StopTts())
        await anyio.sleep(1)
        await far.send(m.StartTts(), chunk(3))
        await anyio.sleep(1)
    assert [index for index, _ in far.acks()] == [3]
    assert "tts_playback_finished" not in far.actions()
    assert [sound.pcm for sound in client.speaker.heard] == [chunk(1).pcm[:9600], chunk(3).pcm]


@in_virtual_time
async def test_a_client_that_pauses_itself_falls_silent_at_its_own_mark() -> None:
    async with call(pauses_itself=True) as (far, client):
        await far.send(m.StartTts(), chunk(1))
        await anyio.sleep(0.1)
        await client.say_with_marks(bytes(3200))
        assert client.speaker.suspended
        await far.send(m.ResumeTts())
        await anyio.sleep(1)
    assert [index for index, _ in far.acks()] == [1]
    assert "vad_speech_start" in far.actions()
    assert "vad_speech_end" in far.actions()


@in_virtual_time
async def test_a_device_never_acknowledges() -> None:
    async with call(acknowledges=False) as (far, client):
        await far.send(m.StartTts(), chunk(1), m.TtsFinished())
        await client.wait_until_heard()
        await anyio.sleep(0.01)
    assert far.actions() == ["conversation_start"]


@in_virtual_time
async def test_it_pings_and_answers_the_pong() -> None:
    async with call() as (far, _):
        await anyio.sleep(15.001)
        ping = far.texts[-1][1]
        await far.send(m.Pong(client_timestamp=ping["timestamp"], server_recv_timestamp=5000))
        await anyio.sleep(0.001)
    assert far.actions()[1:] == ["ping", "clock_sync"]
    sync = far.texts[-1][1]
    assert sync["client_send_ts"] == ping["timestamp"] / 1000
    assert sync["server_recv_ts"] == 5


@in_virtual_time
async def test_who_waits_is_told_that_the_server_closed() -> None:
    async with call() as (far, client):
        await far.transport.close(1011, "broken")
        with pytest.raises(ConnectionResetError, match="closed with 1011 broken"):
            await client.wait_for(m.FinishAsr)
        with pytest.raises(ConnectionResetError, match="1011"):
            await client.say(bytes(64))


@in_virtual_time
async def test_waiting_has_an_end() -> None:
    async with call() as (_, client):
        with pytest.raises(TimeoutError):
            await client.wait_for(m.FinishAsr, timeout=3)


@in_virtual_time
async def test_a_server_that_talks_nonsense_is_an_error() -> None:
    async with call() as (far, client):
        await far.transport.send(['{"action":"update_resp"}'])
        with pytest.raises(Exception, match="needs an object in 'data'"):
            await client.wait_for(m.FinishAsr)
