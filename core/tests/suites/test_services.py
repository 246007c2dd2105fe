"""The checks for adaptors of services, against a voice behind a WebSocket."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing, suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from aiohttp import web

from xtalk.audio import AudioFrame
from xtalk.errors import ModelError
from xtalk.remote import (
    SOUND_S,
    Remote,
    Replay,
    Unreadable,
    WarmSocket,
    blocking,
    drop,
    exchange,
    open_socket,
)
from xtalk.speech.interfaces import TTS
from xtalk.testing.services import KEY, FakeService, Fault, ServiceChecks, running
from xtalk.threads import run_in_thread

pytestmark = pytest.mark.real_time

PIECES = (b"\x10\x20" * 800, b"\x20\x10" * 800)


class FakeVoice(FakeService):
    """Text in, two pieces of PCM out, an empty text message behind them."""

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.get("/voice", self.voice)]

    async def voice(self, request: web.Request) -> web.WebSocketResponse:
        if self.fault is not Fault.STALL:
            await self.begin(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            await self.begin(request)
            if self.fault is Fault.GARBAGE:
                await socket.send_str("{")
                continue
            for number in range(0 if self.fault is Fault.EMPTY else 2):
                await self.piece(request, number)
                await socket.send_bytes(PIECES[number])
            await socket.send_str("{}")
        return socket


class Voice(TTS):
    """A well-behaved adaptor."""

    output_rate = 16_000

    def __init__(self, port: int, timeout_s: float = SOUND_S) -> None:
        url = f"ws://127.0.0.1:{port}/voice"
        self._remote = Remote(
            name="The test voice", check="check that it runs", timeout_s=timeout_s
        )
        self._connect = lambda: open_socket(
            url, headers={"Authorization": KEY}, timeout_s=timeout_s
        )
        self._socket = WarmSocket(self._connect)

    async def open(self) -> None:
        self._socket.warm()

    async def close(self) -> None:
        await self._socket.close()

    def clone(self) -> Voice:
        twin = copy.copy(self)
        twin._socket = WarmSocket(self._connect)
        return twin

    def synthesize(self, text: str) -> bytes:
        return blocking(self._whole(text))

    async def _whole(self, text: str) -> bytes:
        twin = self.clone()
        try:
            return b"".join([piece.pcm async for piece in twin.async_synthesize_stream(text)])
        finally:
            await twin.close()

    async def async_synthesize_stream(self, text: str, **kwargs: Any) -> AsyncIterator[AudioFrame]:
        async with aclosing(self._remote.stream(lambda: self._asked(text))) as pieces:
            async for pcm in pieces:
                yield AudioFrame(pcm, self.output_rate)

    async def _asked(self, text: str) -> AsyncGenerator[bytes, None]:
        connection = await self._socket.take()
        try:
            await connection.send(text)
            while isinstance(piece := await connection.recv(), bytes):
                yield piece
            if json.loads(piece) != {}:
                raise Unreadable("end of the answer")
        except BaseException:
            drop(connection)
            raise
        self._socket.keep(connection)


class TestVoice(ServiceChecks):
    """The checks alone, without the suite of the slot: the voice makes no sense of its text."""

    slot = "tts"
    model: type[TTS] = Voice
    limits = ("timeout_s",)

    @pytest.fixture
    def service(self) -> Iterator[FakeVoice]:
        with running(FakeVoice()) as service:
            yield service

    @pytest.fixture
    def arguments(self, service: FakeVoice) -> Mapping[str, Any]:
        return {"port": service.port, "timeout_s": 0.3}

    def guards(self, arguments: Mapping[str, Any], count: int) -> Any:
        from xtalk.testing.suites import TTSSuite

        class Suite(TTSSuite):
            model = self.model

        return Suite().guards(arguments, count)


class TooPatient(Voice):
    def __init__(self, port: int, timeout_s: float = 30.0) -> None:
        super().__init__(port, timeout_s)


class Tries(TestVoice):
    __test__ = False
    model = TooPatient


def test_a_voice_whose_default_is_longer_than_the_engines_is_found_out() -> None:
    with running(FakeVoice()) as service, pytest.raises(TimeoutError):
        Tries().test_by_default_a_failure_is_told_before_the_engine_gives_up(
            service, {"port": service.port, "timeout_s": 0.3}, Fault.STALL
        )


class Repeating(Voice):
    async def async_synthesize_stream(self, text: str, **kwargs: Any) -> AsyncIterator[AudioFrame]:
        with suppress(ModelError):
            async for piece in super().async_synthesize_stream(text):
                yield piece
            return
        async for piece in super().async_synthesize_stream(text):
            yield piece


class Repeats(TestVoice):
    __test__ = False
    model = Repeating


def test_a_voice_that_says_the_beginning_twice_is_found_out() -> None:
    with running(FakeVoice()) as service, pytest.raises(AssertionError):
        Repeats().test_nothing_is_said_twice_when_the_connection_breaks(
            service, {"port": service.port, "timeout_s": 0.3}
        )


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConnectionRefusedError(111, "no"), "cannot be reached; check that it runs"),
        (ConnectionResetError(104, "gone"), "broke off its answer"),
        (TimeoutError(), "took too long to answer"),
        (Unreadable("audio"), "no answer that can be used"),
        (json.JSONDecodeError("no", KEY, 0), "no answer that can be used"),
    ],
)
def test_a_failure_becomes_a_sentence(
    error: Exception, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    remote = Remote(name="Acme", check="check that it runs")
    with caplog.at_level(logging.WARNING):
        told = remote.failed(error)
    assert isinstance(told, ModelError)
    assert str(told).startswith("Acme ") and says in str(told)
    assert KEY not in caplog.text


def test_a_fault_of_ours_passes_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        Remote(name="Acme", check="").failed(ZeroDivisionError())


def test_what_still_comes_in_is_asked_again_from_its_start() -> None:
    """The first attempt breaks off in the middle; nothing of the source is read twice."""
    read: list[int] = []
    attempts: list[list[int]] = []

    async def source() -> AsyncIterator[int]:
        for number in range(4):
            read.append(number)
            yield number
            await anyio.lowlevel.checkpoint()

    async def check() -> None:
        remote = Remote(name="Acme", check="", pause_s=lambda attempt: 0.0)
        async with Replay(source()) as asked:

            async def ask() -> AsyncGenerator[int, None]:
                attempts.append([])
                async for number in asked:
                    attempts[-1].append(number)
                    if number == 2 and len(attempts) == 1:
                        raise ConnectionResetError
                yield sum(attempts[-1])

            assert [answer async for answer in remote.stream(ask)] == [6]

    anyio.run(check)
    assert attempts == [[0, 1, 2], [0, 1, 2, 3]]
    assert read == [0, 1, 2, 3]


def test_a_replay_raises_what_its_source_raises() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        raise ZeroDivisionError

    async def check() -> None:
        async with Replay(source()) as asked:
            for _ in range(2):
                with pytest.raises(ZeroDivisionError):
                    assert [number async for number in asked]

    anyio.run(check)


class FakeEcho(FakeService):
    """Says what it hears, and `!` to nothing."""

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.get("/echo", self.echo)]

    async def echo(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.data != "!":
                await socket.send_str(message.data)
        return socket


def test_what_is_sent_and_what_is_heard_cross() -> None:
    """The second message is made of the first answer; then the service falls silent."""
    heard: list[str | bytes] = []
    answered = anyio.Event()

    async def messages() -> AsyncGenerator[str, None]:
        yield "one"
        await answered.wait()
        yield "two"
        yield "!"

    async def check(port: int) -> None:
        connection = await open_socket(f"ws://127.0.0.1:{port}/echo")
        async with connection, aclosing(exchange(connection, messages(), timeout_s=0.1)) as said:
            with pytest.raises(TimeoutError):
                async for answer in said:
                    heard.append(answer)
                    answered.set()

    with running(FakeEcho()) as service:
        anyio.run(check, service.port)
    assert heard == ["one", "two"]


def test_what_cannot_be_sent_is_told_at_once() -> None:
    async def messages() -> AsyncGenerator[str, None]:
        yield "!"
        raise ZeroDivisionError

    async def check(port: int) -> None:
        connection = await open_socket(f"ws://127.0.0.1:{port}/echo")
        async with connection, aclosing(exchange(connection, messages())) as said:
            with pytest.raises(ZeroDivisionError):
                assert not [answer async for answer in said]

    with running(FakeEcho()) as service:
        anyio.run(check, service.port)


def test_a_connection_that_was_ready_for_too_long_is_not_taken() -> None:
    async def check(port: int) -> None:
        socket = WarmSocket(lambda: open_socket(f"ws://127.0.0.1:{port}/echo"), idle_s=0.0)
        socket.warm()
        async with socket.kept() as connection:
            await connection.send("one")
            assert await connection.recv() == "one"
        await socket.close()

    with running(FakeEcho()) as service:
        anyio.run(check, service.port)
    assert service.connections == 2


class FakeDeaf(FakeEcho):
    """Hears nothing, not even that a connection is to be closed."""

    async def echo(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await asyncio.get_running_loop().create_future()
        return socket


@pytest.mark.parametrize("ending", ["stale", "used", "closed"])
def test_a_connection_whose_end_is_given_up_is_gone(ending: str) -> None:
    async def check(port: int) -> None:
        socket = WarmSocket(lambda: open_socket(f"ws://127.0.0.1:{port}/echo"), idle_s=0.0)
        if ending == "used":
            async with socket.once():
                pass
        else:
            socket.keep(await socket.take())
        with anyio.move_on_after(0):
            await (socket.close() if ending == "closed" else socket.take())
        assert await run_in_thread(service.left.wait, 3), "the connection is still open"
        await socket.close()

    with running(FakeDeaf()) as service:
        anyio.run(check, service.port)


def test_a_kept_connection_is_dropped_with_a_request_that_failed() -> None:
    async def check(port: int) -> None:
        socket = WarmSocket(lambda: open_socket(f"ws://127.0.0.1:{port}/echo"))
        for fails in (False, True, False):
            with suppress(ZeroDivisionError):
                async with socket.kept() as connection:
                    await connection.send("one")
                    assert await connection.recv() == "one"
                    if fails:
                        raise ZeroDivisionError
        await socket.close()

    with running(FakeEcho()) as service:
        anyio.run(check, service.port)
    assert service.connections == 2
