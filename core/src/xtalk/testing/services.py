"""Fake services on a loopback port, and what an adaptor must do when its service fails.

    class FakeAcme(FakeService):                 speaks the protocol of Acme's service
        def routes(self): ...

    class TestAcmeTTS(ServiceChecks, TTSSuite):  the suite of the slot, and the failures
        model = AcmeTTS

        @pytest.fixture
        def service(self): ...

A service that is no aiohttp application (gRPC, a real server) needs only what `Service` names.
"""

from __future__ import annotations

import asyncio
import enum
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import Any, ClassVar, Protocol, TypeVar

import anyio
import anyio.lowlevel
import pytest
from aiohttp import web

from xtalk.audio import RATE_IN, AudioFrame
from xtalk.calls import recognize, synthesize
from xtalk.errors import ModelError
from xtalk.settings import ServiceConfig
from xtalk.speech.interfaces import SpeechChunk
from xtalk.testing import virtual_time
from xtalk.testing.suites.base import no_task_left
from xtalk.threads import Guard, run_in_thread

__all__ = ["KEY", "FakeService", "Fault", "Service", "ServiceChecks", "running"]

KEY = "sk-test-0123456789"
START_S = 10.0
LEFT_S = 3.0
ANSWER_S = 0.05  # of real time, in which a service on this machine answers


class Fault(enum.Enum):
    """What can be wrong with a service, until it is told otherwise."""

    REFUSED = "nobody listens on its port"
    UNAUTHORIZED = 401
    TOO_MANY = 429
    BROKEN = 500
    STALL = "it never answers"
    SILENCE = "it falls silent after its first piece"
    CUT = "the connection breaks after its first piece"
    GARBAGE = "it answers with what its protocol does not know"
    EMPTY = "its answer holds nothing"


class Service(Protocol):
    """What the checks ask of a fake. `left` is set when a client leaves in mid-answer."""

    left: threading.Event

    def fail(self, fault: Fault | None) -> None:
        """Have this fault from the next request on, or none."""

    def hold(self) -> None:
        """Send no second piece of any answer until `release`."""

    def release(self) -> None: ...

    def drop(self) -> None:
        """Break every open connection."""


class FakeService:
    """A service of HTTP and WebSockets. A subclass gives its `routes`; `running` starts it.

    A handler first says `await self.begin(request)`, and `await self.piece(request, number)`
    before it sends each piece of its answer (0 is the first): the faults that every protocol
    shares happen there. GARBAGE and EMPTY are the handler's own: it looks at `fault`.
    `requests` holds method and path of each request.
    """

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.left = threading.Event()
        self.requests: list[str] = []
        self.connections = 0
        self.port = 0
        self._open: set[asyncio.Transport] = set()
        self._gate = asyncio.Event()
        self._gate.set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """`web.get(path, handler)` and the like."""
        raise NotImplementedError

    # --- for handlers ---------------------------------------------------------------------------

    async def begin(self, request: web.Request) -> None:
        """Refuse or stall if that is the fault. The refusal names the key, to see it leak."""
        if self.fault in (Fault.UNAUTHORIZED, Fault.TOO_MANY, Fault.BROKEN):
            raise _Refused(self.fault.value)
        if self.fault is Fault.STALL:
            await asyncio.get_running_loop().create_future()

    async def piece(self, request: web.Request, number: int) -> None:
        """Wait, stall or break before the second piece."""
        if number != 1:
            return
        if self.fault is Fault.CUT:
            assert request.transport is not None
            request.transport.abort()
            await asyncio.get_running_loop().create_future()
        if self.fault is Fault.SILENCE:
            await asyncio.get_running_loop().create_future()
        await self._gate.wait()

    # --- for tests ------------------------------------------------------------------------------

    def fail(self, fault: Fault | None) -> None:
        down = self.fault is Fault.REFUSED
        self.fault = fault
        if (fault is Fault.REFUSED) != down:
            self._do(self._stop_listening() if fault is Fault.REFUSED else self._listen())

    def hold(self) -> None:
        self._call(self._gate.clear)

    def release(self) -> None:
        self._call(self._gate.set)

    def drop(self) -> None:
        self._call(self._abort_all)

    # --- its life -------------------------------------------------------------------------------

    async def serve(self, ready: threading.Event) -> None:
        """Listen until cancelled."""
        self._loop = asyncio.get_running_loop()
        app = web.Application(middlewares=[self._watched], client_max_size=64 * 1024 * 1024)
        app.add_routes(self.routes())
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        await self._listen()
        ready.set()
        try:
            await self._loop.create_future()
        finally:
            # Until whoever has knocked is let in: asyncio before 3.13 forgets to close them
            # when the server closes between its accept() and the transport.
            for _ in range(5):
                await asyncio.sleep(0)
            self._abort_all()
            await self._runner.cleanup()

    async def _listen(self) -> None:
        assert self._runner is not None
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop_listening(self) -> None:
        assert self._site is not None
        await self._site.stop()
        self._abort_all()

    def _abort_all(self) -> None:
        for transport in list(self._open):
            transport.abort()
        self._open.clear()

    @property
    def _watched(self) -> Any:
        @web.middleware
        async def watched(request: web.Request, handler: Any) -> web.StreamResponse:
            self.requests.append(f"{request.method} {request.path}")
            transport = request.transport
            if transport is not None and transport not in self._open:
                self._open.add(transport)
                self.connections += 1
            try:
                response: web.StreamResponse = await handler(request)
            except (asyncio.CancelledError, ConnectionError):
                self.left.set()
                raise
            return response

        return watched

    def _call(self, function: Any) -> None:
        async def call() -> None:
            function()

        self._do(call())

    def _do(self, work: Any) -> None:
        assert self._loop is not None, "the service does not run"
        asyncio.run_coroutine_threadsafe(work, self._loop).result(START_S)


class _Refused(web.HTTPException):
    def __init__(self, status: int) -> None:
        self.status_code = status
        body = json.dumps({"error": {"message": f"no, {KEY}", "type": "refused"}})
        super().__init__(text=body, content_type="application/json")


F = TypeVar("F", bound=FakeService)


@contextmanager
def running(service: F) -> Iterator[F]:
    """The service, on a thread and a loop of its own."""
    ready = threading.Event()
    tasks: list[tuple[asyncio.AbstractEventLoop, Any]] = []

    async def main() -> None:
        tasks.append((asyncio.get_running_loop(), asyncio.current_task()))
        with suppress(asyncio.CancelledError):
            await service.serve(ready)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(START_S), "the fake service did not start"
    try:
        yield service
    finally:
        loop, task = tasks[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(START_S)


# --- the checks -----------------------------------------------------------------------------------


class ServiceChecks:
    """Beside the suite of a TTS or an ASR: what holds when its service fails.

    Give `service`, and `params` (or the fixture `arguments`) with a limit of well under a second
    for the service's silence. `limits` names those of the arguments that are for the tests alone,
    limits, pauses and numbers of attempts: their defaults are tried as well. `faults` are those
    that the service can have: name the others in a comment with the reason. `within_s` is how long
    a failure may take to be told, attempts and all. `streams` says whether an answer comes in
    pieces.
    """

    pytestmark = pytest.mark.real_time
    faults: ClassVar[Iterable[Fault]] = tuple(Fault)
    limits: ClassVar[Iterable[str]] = ("timeout",)
    within_s: ClassVar[float] = 6.0
    streams: ClassVar[bool] = True
    says: ClassVar[str] = "One two three four, five six seven eight."

    @pytest.fixture
    def service(self) -> Iterator[Service]:
        raise NotImplementedError("give the suite its service")

    @pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
    def test_a_failure_is_one_clear_error_and_the_next_turn_works(
        self,
        service: Service,
        arguments: Mapping[str, Any],
        fault: Fault,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        if fault not in tuple(self.faults):
            pytest.skip(f"the service has no such fault: {fault.value}")

        async def check() -> None:
            service.fail(fault)
            async with self._one(arguments) as guard:
                with anyio.fail_after(self.within_s), pytest.raises(ModelError) as told:
                    await self._all(guard)
                service.fail(None)
                assert await self._all(guard), "the next turn brings nothing"
            for text in (str(told.value), caplog.text):
                assert KEY not in text
            assert "127.0.0.1" not in str(told.value)
            assert told.value.__cause__ is None
            assert told.value.__suppress_context__, "raise it `from None`: the cause may tell"

        _run(check())

    @pytest.mark.parametrize(
        "fault",
        [Fault.REFUSED, Fault.TOO_MANY, Fault.BROKEN, Fault.STALL, Fault.SILENCE],
        ids=lambda fault: fault.name.lower(),
    )
    def test_by_default_a_failure_is_told_before_the_engine_gives_up(
        self, service: Service, arguments: Mapping[str, Any], fault: Fault
    ) -> None:
        """The engine could not say which service it was, or what to check."""
        limit_s = _engines_limit_s(self.slot)  # type: ignore[attr-defined]
        if limit_s is None or fault not in tuple(self.faults):
            pytest.skip("nobody else limits it, or the service has no such fault")
        defaults = self._patient(arguments)
        assert defaults != arguments, "`limits` names none of the arguments"

        async def check() -> None:
            service.fail(fault)
            async with self._one(defaults) as guard:
                with anyio.fail_after(limit_s), pytest.raises(ModelError):
                    await self._all(guard)

        virtual_time.run(check(), patience_s=ANSWER_S)

    def test_a_connection_that_died_is_replaced(
        self, service: Service, arguments: Mapping[str, Any]
    ) -> None:
        async def check() -> None:
            async with self._one(self._patient(arguments)) as guard:
                before = await self._all(guard)
                service.drop()
                after = await self._all(guard)
                assert _whole(after) == pytest.approx(_whole(before), abs=0.01)

        _run(check())

    def test_the_first_piece_is_passed_on_before_the_second_is_there(
        self, service: Service, arguments: Mapping[str, Any]
    ) -> None:
        self._need_pieces()

        async def check() -> None:
            async with (
                self._one(self._patient(arguments)) as guard,
                aclosing(self._pieces(guard)) as pieces,
            ):
                service.hold()
                with anyio.fail_after(self.within_s):
                    assert await anext(pieces)
                service.release()
                with anyio.fail_after(self.within_s):
                    assert [piece async for piece in pieces]

        _run(check())

    def test_nothing_is_said_twice_when_the_connection_breaks(
        self, service: Service, arguments: Mapping[str, Any]
    ) -> None:
        """As by an adaptor that asks again for what has begun to sound."""
        self._need_pieces()
        if self.slot != "tts" or Fault.CUT not in tuple(self.faults):  # type: ignore[attr-defined]
            pytest.skip("it says nothing, or the service has no such fault")

        async def check() -> None:
            said: list[SpeechChunk] = []
            async with self._one(self._patient(arguments)) as guard:
                whole = _sound(await self._all(guard))
                service.fail(Fault.CUT)
                with anyio.fail_after(self.within_s), suppress(ModelError):
                    async for piece in self._pieces(guard):
                        said.append(piece)
                service.fail(None)
            assert whole.startswith(_sound(said))

        _run(check())

    def test_giving_up_stops_the_request(
        self, service: Service, arguments: Mapping[str, Any]
    ) -> None:
        self._need_pieces()

        async def check() -> None:
            async with self._one(self._patient(arguments)) as guard:
                service.hold()
                service.left.clear()
                pieces = self._pieces(guard)
                await anext(pieces)
                await pieces.aclose()
                assert await run_in_thread(service.left.wait, LEFT_S), "the service goes on"
                service.release()
                assert await self._all(guard)

        _run(check())

    def test_sixteen_sessions_need_no_thread_each(
        self, service: Service, arguments: Mapping[str, Any]
    ) -> None:
        async def check() -> None:
            before = threading.active_count()
            most = 0
            patient = self._patient(arguments)
            async with self.guards(patient, 16) as guards:  # type: ignore[attr-defined]

                async def talk(guard: Guard[Any]) -> None:
                    nonlocal most
                    async with aclosing(self._pieces(guard)) as pieces:
                        assert await anext(pieces)
                        most = max(most, threading.active_count())
                        async for _ in pieces:
                            pass

                async with anyio.create_task_group() as group:
                    for guard in guards:
                        group.start_soon(talk, guard)
            assert most - before < 8

        _run(check())

    def _need_pieces(self) -> None:
        if not self.streams:
            pytest.skip("the service answers in one piece")

    def _patient(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """With the default limits: what works is not given up on a machine that is busy."""
        return _without(arguments, set(self.limits))

    def _one(self, arguments: Mapping[str, Any]) -> Any:
        return _first(self.guards(arguments, 1))  # type: ignore[attr-defined]

    async def _all(self, guard: Guard[Any]) -> list[Any]:
        async with aclosing(self._pieces(guard)) as pieces:
            return [piece async for piece in pieces]

    async def _pieces(self, guard: Guard[Any]) -> AsyncGenerator[Any, None]:
        """What the engine gets of one turn: chunks of a voice, or transcripts."""
        async with guard.lease() as lease:
            hears = self.slot == "asr"  # type: ignore[attr-defined]
            turn: Any = recognize(lease, self._frames()) if hears else synthesize(lease, self.says)
            async with aclosing(turn) as pieces:
                async for piece in pieces:
                    yield piece

    async def _frames(self) -> AsyncIterator[AudioFrame]:
        pcm = self.sound()  # type: ignore[attr-defined]
        for start in range(0, len(pcm), 1024):
            yield AudioFrame(pcm[start : start + 1024], RATE_IN)
            await anyio.lowlevel.checkpoint()


def _engines_limit_s(slot: str) -> float | None:
    """After how long without an answer a turn fails by default."""
    engine = ServiceConfig()
    return {"asr": engine.decode_timeout_sec, "tts": engine.tts_timeout_sec}.get(slot)


def _without(arguments: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    """The arguments without those of these names, in tables within them as well."""
    return {
        name: _without(value, names) if isinstance(value, Mapping) else value
        for name, value in arguments.items()
        if name not in names
    }


def _whole(pieces: list[Any]) -> Any:
    """How long the sound is, or the final text: the network decides how many pieces it came in."""
    if isinstance(pieces[0], SpeechChunk):
        return sum(piece.audio.seconds for piece in pieces)
    return pieces[-1].text


def _sound(pieces: Iterable[SpeechChunk]) -> bytes:
    return b"".join(piece.audio.pcm for piece in pieces)


class _first:
    """The only guard of a context that gives a list."""

    def __init__(self, guards: Any) -> None:
        self._guards = guards

    async def __aenter__(self) -> Guard[Any]:
        (guard,) = await self._guards.__aenter__()
        found: Guard[Any] = guard
        return found

    async def __aexit__(self, *how: Any) -> Any:
        return await self._guards.__aexit__(*how)


def _run(check: Any) -> None:
    async def run() -> None:
        await check
        await no_task_left()

    asyncio.run(run())
