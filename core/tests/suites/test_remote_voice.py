"""What `RemoteVoice` gives an adaptor, against a service that answers with a WAV file in pieces."""

from __future__ import annotations

import logging
import struct
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import Any

import anyio
import httpx
import pytest
from aiohttp import web

from xtalk.audio import AudioFrame
from xtalk.errors import AudioError, ModelError
from xtalk.remote import SOUND_S, Refusal, Remote, WarmSocket, accepted, explained, open_socket
from xtalk.speech.remote import RemoteVoice, speakable, wav_answer
from xtalk.testing.services import KEY, FakeService, Fault, ServiceChecks, running

pytestmark = pytest.mark.real_time

PIECE = b"\x10\x20" * 800
HEADER = struct.pack(
    "<4sI8sIHHIIHH4sI",
    *(b"RIFF", 0, b"WAVEfmt ", 16),
    *(1, 1, 8000, 16000, 2, 16),
    *(b"data", 0),
)


class FakeWavService(FakeService):
    """Text in, a WAV file of unknown size out: its header, then two pieces."""

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.post("/speak", self.speak)]

    async def speak(self, request: web.Request) -> web.StreamResponse:
        await self.begin(request)
        response = web.StreamResponse()
        await response.prepare(request)
        if self.fault is Fault.GARBAGE:
            await response.write(b'{"status": "well"}')
        elif self.fault is not Fault.EMPTY:
            await response.write(HEADER)
            for number in range(2):
                await self.piece(request, number)
                await response.write(PIECE)
        return response


class WavVoice(RemoteVoice):
    """A well-behaved adaptor."""

    def __init__(self, port: int, timeout: float = SOUND_S) -> None:
        self._url = f"http://127.0.0.1:{port}/speak"
        remote = Remote(name="The test voice", check="check that it runs", timeout_s=timeout)
        super().__init__(remote, output_rate=8000)

    async def request(self, text: str) -> AsyncGenerator[AudioFrame, None]:
        async with (
            self.http.use() as client,
            client.stream("POST", self._url, json={"text": text}) as response,
            aclosing(wav_answer(accepted(response), self.output_rate)) as frames,
        ):
            async for frame in frames:
                yield frame


class TestWavVoice(ServiceChecks):
    """The checks alone, without the suite of the slot: the voice makes no sense of its text."""

    slot = "tts"

    @pytest.fixture
    def service(self) -> Iterator[FakeWavService]:
        with running(FakeWavService()) as service:
            yield service

    @pytest.fixture
    def arguments(self, service: FakeWavService) -> Mapping[str, Any]:
        return {"port": service.port, "timeout": 0.3}

    def guards(self, arguments: Mapping[str, Any], count: int) -> Any:
        from xtalk.testing.suites import TTSSuite

        class Suite(TTSSuite):
            model = WavVoice

        return Suite().guards(arguments, count)


def test_a_call_that_blocks_speaks_too() -> None:
    with running(FakeWavService()) as service:
        voice = WavVoice(service.port)
        assert voice.synthesize("one") == voice.synthesize("two") == 2 * PIECE


def test_all_clones_use_one_pool_of_connections() -> None:
    async def check(port: int) -> None:
        voices = [WavVoice(port)]
        voices += [voices[0].clone() for _ in range(3)]
        for voice in voices:
            await voice.open()
        for voice in voices:
            assert await voice.async_synthesize("one")
        for voice in voices:
            await voice.close()

    with running(FakeWavService()) as service:
        anyio.run(check, service.port)
        assert service.connections == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"detail": {"status": "voice_not_found"}}', "voice_not_found"),
        (b'{"detail": {"status": "no voice sk-test-1 was found"}}', ""),
        (b'{"detail": {"status": 7}}', ""),
        (b'{"detail": []}', ""),
        (b"<html>", ""),
    ],
)
def test_a_refusal_has_one_word_of_the_service(body: bytes, code: str) -> None:
    async def check() -> None:
        with pytest.raises(Refusal) as refusal:
            await explained(httpx.Response(404, content=body), lambda it: it["detail"]["status"])
        assert (refusal.value.status, refusal.value.code) == (404, code)

    anyio.run(check)


@pytest.mark.parametrize(
    ("text", "said"),
    [(" Hi.\x00\x1b ", "Hi."), ("…—!?", ""), ("", ""), ("a\ud800b", "a b"), ("你好", "你好")],
)
def test_what_can_be_said(text: str, said: str) -> None:
    assert speakable(text) == said


def test_sound_that_cannot_be_read_is_a_failure_of_the_service() -> None:
    told = Remote(name="Acme", check="").failed(AudioError("no WAV"))
    assert isinstance(told, ModelError)
    assert str(told) == "Acme gave no answer that can be used."


class FakeOnce(FakeService):
    """A WebSocket that takes one request, and waits for the end."""

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.get("/once", self.once)]

    async def once(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket


def test_a_connection_for_one_request_has_a_successor_before_it_is_needed() -> None:
    async def check(service: FakeOnce) -> None:
        socket = WarmSocket(lambda: open_socket(f"ws://127.0.0.1:{service.port}/once"))
        async with socket.once() as first:
            await first.send("one")
            assert await first.recv() == "one"
        async with socket.once() as second:
            assert first.state.name == "CLOSED"
        await socket.close()
        assert second.state.name == "CLOSED"

    with running(FakeOnce()) as service:
        anyio.run(check, service)


def test_a_connection_whose_request_fails_is_dropped() -> None:
    async def check(service: FakeOnce) -> None:
        socket = WarmSocket(lambda: open_socket(f"ws://127.0.0.1:{service.port}/once"))
        with pytest.raises(ZeroDivisionError):
            async with socket.once() as first:
                raise ZeroDivisionError
        async with socket.once() as second:
            assert (first.close_code, second.state.name) == (1006, "OPEN")
        await socket.close()

    with running(FakeOnce()) as service:
        anyio.run(check, service)


def test_a_greeting_that_fails_leaves_no_connection() -> None:
    met = []

    async def greet(connection: Any) -> None:
        met.append(connection)
        raise ZeroDivisionError

    async def check(service: FakeOnce) -> None:
        with pytest.raises(ZeroDivisionError):
            await open_socket(f"ws://127.0.0.1:{service.port}/once", greet=greet)
        assert met[0].state.name == "CLOSED"

    with running(FakeOnce()) as service:
        anyio.run(check, service)


def test_the_log_of_a_connection_shows_no_header(caplog: pytest.LogCaptureFixture) -> None:
    async def check(service: FakeOnce) -> None:
        url = f"ws://127.0.0.1:{service.port}/once"
        async with await open_socket(url, headers={"Authorization": KEY}) as connection:
            await connection.send("one")

    with caplog.at_level(logging.DEBUG), running(FakeOnce()) as service:
        anyio.run(check, service)
    assert KEY not in caplog.text
