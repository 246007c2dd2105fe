"""What adaptors share that speak to a model's service: limits, repetition, failures in words.

    Remote       one service: how long it may take, what to say of its failures
    Replay       what is asked, kept for another attempt while it still comes in
    Shared       a client that all clones of a model use (a pool of connections, a channel)
    WarmSocket   a WebSocket that is there before it is needed

A request is repeated only while nothing of its answer has arrived. What is raised in the end is
a ModelError in plain words that names the service and what to check; keys, addresses and the
service's own words stay out of it (its status is in the log).

An adaptor gives up before the engine does, whose own sentence can name no service: by default
`FINAL_S` after the end of speech for a final text, whatever partial texts still come (the engine:
`decode_timeout_sec`, 5 s), and `SOUND_S` for a piece of sound (the engine: `tts_timeout_sec`,
20 s), repetitions and the pauses before them included. A recording that comes faster than anybody
speaks has as much time more as it lasts, since no conversation waits for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import re
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
)
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio
import anyio.lowlevel

from xtalk.errors import AudioError, ConfigError, ModelError, ModelTimeout
from xtalk.log_utils import keep_discreet

if TYPE_CHECKING:
    import httpx
    from pydantic import SecretStr
    from websockets.asyncio.client import ClientConnection

    from xtalk.audio import AudioFrame

__all__ = [
    "FINAL_S",
    "SOUND_S",
    "Refusal",
    "Remote",
    "Replay",
    "Shared",
    "Unreadable",
    "WarmSocket",
    "accepted",
    "blocking",
    "drop",
    "exchange",
    "explained",
    "grpc_answer",
    "http_client",
    "open_socket",
    "read_key",
]

log = logging.getLogger(__name__)

T = TypeVar("T")

FINAL_S = 4.0
SOUND_S = 15.0
SEGMENT_S = 30.0  # the longest piece of speech in a conversation
# What a conversation may have kept for the recogniser: the pre-roll, and what was said while the
# segment before was still being decoded. Sound that comes further ahead of time is a recording.
BACKLOG_S = 3.0
PAUSE_S = 0.2  # before the first repetition; each later one waits twice as long
PATIENCE_S = 3.0  # a service that asks for more will not answer in time for a conversation
KEEPALIVE_S = 120.0  # a conversation pauses for longer than the 5 s of most clients
CONNECT_S = 5.0
IDLE_S = 50.0  # many services close a connection that was silent for a minute

# Statuses of gRPC that mean what a status of HTTP means.
GRPC = {
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "RESOURCE_EXHAUSTED": 429,
    "ABORTED": 409,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
}
# The modules whose exceptions say that a connection failed or broke off.
CLIENTS = {"httpx", "httpcore", "h11", "h2", "websockets", "grpc", "aiohttp"}

_END: Any = object()


class Refusal(Exception):
    """The service said no: a status of HTTP, or what comes nearest to it.

    `code` is the service's own word for the reason; it goes into the log and nowhere else.
    `retry_after_s` is how long it asked to wait.
    """

    def __init__(self, status: int, code: str = "", *, retry_after_s: float = 0.0) -> None:
        super().__init__(f"status {status} {code}".rstrip())
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class Unreadable(Exception):
    """The answer is not what the service's protocol says, or is empty. `expected` names that."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


@dataclass(frozen=True)
class _Told:
    """What to raise, and the pause before another attempt if one is worth while."""

    error: ModelError
    pause_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A service. `name` begins a sentence ("CosyVoice"); `check` ends one ("check that ...").

    `reach` takes the place of `check` where the service cannot be reached or does not answer, so
    that neither the key nor the model can be to blame. `timeout_s` is how long it may take to the
    first piece of an answer, repetitions included, and between two pieces, or from the end of
    what is spoken to the last piece; `retries` how often a request is repeated of which nothing
    was heard, `pause_s` how long to wait before the first repetition (0), the second (1) and so on.
    """

    name: str
    check: str
    reach: str = ""
    timeout_s: float = SOUND_S
    retries: int = 1
    pause_s: Callable[[int], float] = lambda attempt: PAUSE_S * 2**attempt

    async def stream(
        self,
        ask: Callable[[], AsyncGenerator[T, None]],
        *,
        spoken: Replay[AudioFrame] | None = None,
    ) -> AsyncGenerator[T, None]:
        """The pieces of one answer, as they come; an answer without any is a failure.

        `ask` begins a request. Closing this generator closes the request's. A service that
        answers while somebody still speaks may be silent for long: with `spoken` its time begins
        at the end of that, and is for all that it still has to say. It has as much more as that
        lasts if that is a recording, which comes faster than it was spoken.
        """
        limit = _Limit(self.timeout_s, spoken)
        attempt = 0
        while True:
            begun = False
            try:
                async with aclosing(ask()) as pieces:
                    while (piece := await limit.hold(anext(pieces, _END))) is not _END:
                        begun = True
                        yield piece
                        limit.renew()
                if begun:
                    return
                raise Unreadable("answer that is not empty")
            except Exception as error:  # whatever the client of some protocol raises
                told = self._told(error)
                if told is None:
                    raise
                if begun or told.pause_s is None or attempt >= self.retries:
                    raise told.error from None  # the cause may hold the key
                pause_s = max(told.pause_s, self.pause_s(attempt))
                if pause_s >= limit.left_s:
                    raise told.error from None
            await anyio.sleep(pause_s)
            attempt += 1

    async def call(self, ask: Callable[[], Awaitable[T]]) -> T:
        """One answer."""

        async def once() -> AsyncGenerator[T, None]:
            yield await ask()

        async with aclosing(self.stream(once)) as answers:
            return await anext(answers)

    async def within(self, answer: Awaitable[T]) -> T:
        """The answer, or TimeoutError after `timeout_s`."""
        with anyio.fail_after(self.timeout_s):
            return await answer

    def patient(self, audio_s: float) -> Remote:
        """The same, with more time for a recording that is longer than any piece of speech."""
        return replace(self, timeout_s=self.timeout_s + max(0.0, audio_s - SEGMENT_S))

    def failed(self, error: Exception) -> ModelError:
        """What to raise `from None` for this failure; the error itself when it is none."""
        told = self._told(error)
        if told is None:
            raise error
        return told.error

    def _told(self, error: Exception) -> _Told | None:
        """None for an error that is no failure of the service: it passes as it is."""
        if isinstance(error, ModelError):
            return _Told(error)
        reach = self.reach or self.check
        status = _status(error)
        if status is not None:
            return self._refused(error, status)
        if isinstance(error, Unreadable):
            self._log(f"gave no {error.expected}")
            return _Told(ModelError(f"{self.name} gave no answer that can be used."), PAUSE_S)
        if isinstance(error, AudioError):
            self._log("sent sound that cannot be read")
            return _Told(ModelError(f"{self.name} gave no answer that can be used."), PAUSE_S)
        if _timed_out(error):
            self._log(f"took longer than {self.timeout_s:g} s")
            return _Told(ModelTimeout(f"{self.name} took too long to answer; {reach}."))
        if _never_reached(error):
            self._log(f"cannot be reached ({type(error).__name__})")
            return _Told(ModelError(f"{self.name} cannot be reached; {reach}."), PAUSE_S)
        if _is_of_client(error) or isinstance(error, (OSError, EOFError)):
            self._log(f"broke off ({type(error).__name__})")
            return _Told(ModelError(f"{self.name} broke off its answer."), PAUSE_S)
        if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)):
            self._log(f"cannot be read ({type(error).__name__})")
            return _Told(ModelError(f"{self.name} gave no answer that can be used."), PAUSE_S)
        return None

    def _refused(self, error: Exception, status: int) -> _Told:
        self._log(f"answered {status} {error.code if isinstance(error, Refusal) else ''}")
        if status in (401, 403):
            return _Told(ModelError(f"{self.name} refused the key ({status}); {self.check}."))
        if status == 402:
            return _Told(ModelError(f"{self.name}: the account has no credit left (402)."))
        if status in (408, 409, 425, 429) or status >= 500:
            wait_s = _asked_to_wait(error)
            what = "is overloaded" if status == 429 else "failed"
            told = ModelError(f"{self.name} {what} ({status}); try again, or {self.check}.")
            return _Told(told, max(PAUSE_S, wait_s) if wait_s <= PATIENCE_S else None)
        return _Told(ModelError(f"{self.name} refused the request ({status}); {self.check}."))

    def _log(self, what: str) -> None:
        log.warning("%s %s", self.name, what.rstrip())


class _Limit:
    """Until when a piece of an answer may come.

    From the question or the piece before, so many seconds; with `spoken` from the end of that,
    whatever comes meanwhile: it is the final text that somebody waits for.
    """

    def __init__(self, seconds: float, spoken: Replay[AudioFrame] | None) -> None:
        self._seconds = seconds
        self._renews = spoken is None
        self._deadline = math.inf
        self._scope = anyio.CancelScope()
        if spoken is None:
            self._begin(seconds)
        else:
            spoken.when_over(lambda: self._begin(seconds + _recorded_s(spoken)))

    @property
    def left_s(self) -> float:
        return self._deadline - asyncio.get_running_loop().time()

    def renew(self) -> None:
        """A piece has come."""
        if self._renews:
            self._begin(self._seconds)

    async def hold(self, answer: Awaitable[T]) -> T:
        """The answer, or TimeoutError."""
        with anyio.CancelScope(deadline=self._deadline) as self._scope:
            return await answer
        raise TimeoutError

    def _begin(self, seconds: float) -> None:
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._scope.deadline = self._deadline


def _recorded_s(spoken: Replay[AudioFrame]) -> float:
    """By how much it came faster than somebody speaks; 0 when that may be a conversation."""
    ahead_s = sum(frame.seconds for frame in spoken.kept) - spoken.took_s
    return ahead_s if ahead_s > BACKLOG_S else 0.0


def _status(error: Exception) -> int | None:
    """The status of HTTP in the exception of some client, or None."""
    if isinstance(error, Refusal):
        return error.status
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if isinstance(status, int):
        return status
    return GRPC.get(_grpc_code(error))


def _grpc_code(error: Exception) -> str:
    """The name of gRPC's status; "" in the exception of another client."""
    if not type(error).__module__.startswith("grpc"):
        return ""
    code = getattr(error, "code", None)
    return str(getattr(code(), "name", "")) if callable(code) else ""


def _timed_out(error: Exception) -> bool:
    named = "Timeout" in type(error).__name__ and "Connect" not in type(error).__name__
    return (
        isinstance(error, (TimeoutError, asyncio.TimeoutError))
        or (named and _is_of_client(error))
        or _grpc_code(error) == "DEADLINE_EXCEEDED"
    )


def _never_reached(error: Exception) -> bool:
    broken = (BrokenPipeError, ConnectionResetError, ConnectionAbortedError)
    of_the_system = isinstance(error, OSError) and not isinstance(error, broken)
    named = "Connect" in type(error).__name__ and "Closed" not in type(error).__name__
    return of_the_system or (named and _is_of_client(error)) or _grpc_code(error) == "UNAVAILABLE"


def _is_of_client(error: Exception) -> bool:
    return any(base.__module__.partition(".")[0] in CLIENTS for base in type(error).__mro__)


def _asked_to_wait(error: Exception) -> float:
    if isinstance(error, Refusal):
        return error.retry_after_s
    return _seconds(getattr(getattr(error, "response", None), "headers", {}))


def _seconds(headers: Mapping[str, str]) -> float:
    """Retry-After in seconds; 0 where it is absent or a date."""
    try:
        return max(0.0, float(headers.get("retry-after", 0)))
    except ValueError:
        return 0.0


class Replay(Generic[T]):
    """Items that are kept as they come, so that each attempt at a request begins at the first.

        async with Replay(frames) as spoken:
            async for frame in spoken: ...

    What the source raises is raised in every iteration that gets there. Nothing limits how much
    is kept: it is for the length of one request. `took_s` says how long the source took, in
    seconds, once it is over.
    """

    def __init__(self, source: AsyncIterable[T]) -> None:
        self.kept: list[T] = []
        self.took_s = 0.0
        self._source = source
        self._more = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Replay[T]:
        self._reading = asyncio.create_task(self._read())
        self._reading.add_done_callback(lambda _: self._more.set())
        return self

    async def __aexit__(self, *how: object) -> None:
        assert self._reading is not None
        self._reading.cancel()
        await asyncio.wait((self._reading,))
        if not self._reading.cancelled():
            self._reading.exception()  # told to whoever iterated, or nobody wants to know

    def __aiter__(self) -> AsyncIterator[T]:
        return _Replayed(self)

    def when_over(self, call: Callable[[], object]) -> None:
        """Call this when the source has ended, however it did."""
        assert self._reading is not None, "a Replay is read inside `async with`"
        self._reading.add_done_callback(lambda _: call())

    async def at(self, place: int) -> T:
        """The item at this place, when it comes; StopAsyncIteration when there is none."""
        assert self._reading is not None, "a Replay is read inside `async with`"
        while place >= len(self.kept):
            if self._reading.done():
                self._reading.result()
                raise StopAsyncIteration
            self._more.clear()
            await self._more.wait()
        return self.kept[place]

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async for item in self._source:
            self.kept.append(item)
            self._more.set()
        self.took_s = loop.time() - began


class _Replayed(AsyncIterator[T]):
    """One way through a Replay. No generator: it needs no closing when it is given up."""

    def __init__(self, replay: Replay[T]) -> None:
        self._replay = replay
        self._place = 0

    async def __anext__(self) -> T:
        item = await self._replay.at(self._place)
        self._place += 1
        return item


def read_key(who: str, given: SecretStr | str | None, variable: str = "") -> str:
    """The key of the configuration, else the one in the environment's `variable`.

    ConfigError when there is none though there is a variable for it, and when it cannot be sent:
    a header takes printable ASCII.
    """
    key = given if given is None or isinstance(given, str) else given.get_secret_value()
    key = (key or "").strip() or os.environ.get(variable, "").strip()
    if variable and not key:
        raise ConfigError(f"{who} needs a key; set api_key or the environment's {variable}")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"the key of {who} holds a character that no key has; copy it once more")
    return key


# --- HTTP ---------------------------------------------------------------------------------------


def http_client(*, timeout_s: float = SOUND_S, **options: Any) -> httpx.AsyncClient:
    """A pool of connections that stay warm. Needs httpx: a plugin that calls this declares it."""
    import httpx

    keep_discreet("httpx", "httpcore")
    limits = httpx.Limits(
        max_connections=1000, max_keepalive_connections=100, keepalive_expiry=KEEPALIVE_S
    )
    timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s), pool=timeout_s)
    return httpx.AsyncClient(limits=limits, timeout=timeout, **options)


def accepted(response: httpx.Response) -> httpx.Response:
    """The response of status 2xx; Refusal otherwise. Its body need not have been read."""
    if response.is_success:
        return response
    raise Refusal(response.status_code, retry_after_s=_seconds(response.headers))


async def explained(response: httpx.Response, reason: Callable[[Any], object]) -> httpx.Response:
    """`accepted`, but a Refusal has the service's word for it: what `reason` finds in its JSON.

    Only one plain word is taken: a sentence may hold a key, or what was to be said.
    """
    try:
        return accepted(response)
    except Refusal as refusal:
        await response.aread()
        with suppress(ValueError, LookupError, TypeError, AttributeError):
            word = reason(response.json())
            if isinstance(word, str) and re.fullmatch(r"[A-Za-z_.]{1,60}", word):
                refusal.code = word
        raise


# --- gRPC ---------------------------------------------------------------------------------------


async def grpc_answer(call: Any) -> Any:
    """What a unary call of grpc.aio brings; being cancelled ends it at the service.

    The call is watched and not awaited until it is over: grpc.aio would replace the cancellation
    by one of its own, in which anyio does not recognise its scope.
    """
    over = asyncio.Event()
    call.add_done_callback(lambda _: over.set())
    try:
        await over.wait()
    finally:
        call.cancel()  # of no effect when it is over
    return await call


# --- what clones share --------------------------------------------------------------------------


class Shared(Generic[T]):
    """A client that all who use it at one time share: the first opens it, the last closes it.

    A model passes it on to its clones, says `hold(self)` in `open()` and `release(self)` in
    `close()`, and `async with shared.use() as client` around each request. Each event loop has a
    client of its own, so blocking methods work too (`blocking`).
    """

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._make = make
        self._clients: dict[asyncio.AbstractEventLoop, _Client[T]] = {}

    @asynccontextmanager
    async def use(self) -> AsyncIterator[T]:
        """The client, open while this lasts."""
        client = await self._enter()
        try:
            yield client
        finally:
            await self._leave()

    async def hold(self, holder: object) -> None:
        """Keep it open until this holder's `release`."""
        await self._enter()
        self._clients[asyncio.get_running_loop()].holders.append(holder)

    async def release(self, holder: object) -> None:
        """Take a `hold` back. Nothing for one that holds nothing: whose `open()` never came."""
        client = self._clients.get(asyncio.get_running_loop())
        held = [] if client is None else [id(each) for each in client.holders]
        if client is not None and id(holder) in held:
            del client.holders[held.index(id(holder))]
            await self._leave()

    async def _leave(self) -> None:
        loop = asyncio.get_running_loop()
        client = self._clients[loop]
        client.users -= 1
        if client.users == 0:
            del self._clients[loop]
            opened = await client.opening
            with anyio.CancelScope(shield=True):
                await opened.manager.__aexit__(None, None, None)

    async def _enter(self) -> T:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is not None:
            client.users += 1
            return (await client.opening).value
        client = self._clients[loop] = _Client(loop.create_future())
        manager = self._make()
        try:
            value = await manager.__aenter__()
        except BaseException as error:
            del self._clients[loop]
            client.opening.set_exception(error)
            client.opening.exception()  # others may wait for it, or nobody
            raise
        client.opening.set_result(_Opened(manager, value))
        return value


@dataclass
class _Opened(Generic[T]):
    manager: AbstractAsyncContextManager[T]
    value: T


@dataclass
class _Client(Generic[T]):
    opening: asyncio.Future[_Opened[T]]
    users: int = 1
    holders: list[object] = field(default_factory=list)


def blocking(work: Coroutine[Any, Any, T]) -> T:
    """The result of an async method, for the blocking twin of it that a thread calls."""
    return asyncio.run(work)


# --- WebSockets ---------------------------------------------------------------------------------


class WarmSocket:
    """One connection made before it is needed, and made anew when it has died or been used up.

    `connect` makes one. A failure to connect ahead is no failure: `take` tries again and says.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[ClientConnection]], *, idle_s: float = IDLE_S
    ) -> None:
        self._connect = connect
        self._idle_s = idle_s
        self._ready: ClientConnection | None = None
        self._since = 0.0
        self._making: asyncio.Task[ClientConnection] | None = None
        self._used: ClientConnection | None = None  # while it is being closed

    def warm(self) -> None:
        """Begin to connect in the background, unless there is a connection."""
        if self._ready is None and self._making is None:
            self._making = asyncio.get_running_loop().create_task(self._made())

    async def take(self) -> ClientConnection:
        """A live connection, the caller's until `keep`."""
        if self._making is not None:
            try:
                # Not the task itself: a cancellation that crosses the limit inside connect()
                # comes back out of it as one that nobody asked for.
                await asyncio.wait((self._making,))
            except asyncio.CancelledError:
                self._making.cancel()
                raise
        making, self._making = self._making, None
        if making is not None and not making.cancelled() and making.exception() is None:
            self._ready = making.result()  # a failure is told below, by the attempt that counts
        ready, self._ready = self._ready, None
        if ready is not None:
            if self._is_fresh(ready):
                return ready
            drop(ready)  # nobody waits until a service that has forgotten it says goodbye
        return await self._made()

    def keep(self, connection: ClientConnection) -> None:
        """Give back a connection on which the next request may go."""
        self._ready = connection
        self._since = asyncio.get_running_loop().time()

    @asynccontextmanager
    async def once(self) -> AsyncIterator[ClientConnection]:
        """A connection that takes one request. Afterwards it is closed, and the next one made.

        When that request fails or is given up the connection is dropped.
        """
        connection = await self.take()
        try:
            yield connection
        except BaseException:
            drop(connection)
            self._renew(connection)
            raise
        self._renew(connection)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[ClientConnection]:
        """A connection that takes the next request as well.

        When a request fails or is given up the connection is dropped, and the next one made.
        """
        connection = await self.take()
        try:
            yield connection
        except BaseException:
            drop(connection)
            self._renew(connection)
            raise
        self.keep(connection)

    async def close(self) -> None:
        """Close what is open. It may be warmed again."""
        making, self._making = self._making, None
        if making is not None:
            making.cancel()
            with suppress(Exception, asyncio.CancelledError):
                self.keep(await making)
        used, self._used = self._used, None
        if used is not None:
            drop(used)
            await used.wait_closed()
        ready, self._ready = self._ready, None
        if ready is not None:
            await _ended(ready)
        await anyio.lowlevel.checkpoint()  # tasks of websockets end one turn of the loop after it

    async def _made(self) -> ClientConnection:
        connection = await self._connect()
        self._since = asyncio.get_running_loop().time()
        return connection

    def _renew(self, used: ClientConnection) -> None:
        self._used = used  # a task that is cancelled before it begins closes nothing
        self._making = asyncio.get_running_loop().create_task(self._renewed(used))

    async def _renewed(self, used: ClientConnection) -> ClientConnection:
        await _ended(used)
        self._used = None
        return await self._made()

    def _is_fresh(self, connection: ClientConnection) -> bool:
        idle_s = asyncio.get_running_loop().time() - self._since
        return connection.state.name == "OPEN" and idle_s < self._idle_s


async def open_socket(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = CONNECT_S,
    greet: Callable[[ClientConnection], Awaitable[object]] | None = None,
) -> ClientConnection:
    """A connection without a limit on the size of a message; closing it waits a second at most.

    `greet` says and hears what comes before the first request; what it raises is raised.
    """
    from websockets.asyncio.client import connect

    discreet = logging.getLogger("xtalk.remote.websocket")
    discreet.setLevel(logging.INFO)  # or websockets would log every header, and so the key
    connection = await connect(
        url,
        logger=discreet,
        additional_headers=dict(headers or {}),
        open_timeout=timeout_s,
        close_timeout=1.0,
        max_size=None,
    )
    if greet is not None:
        try:
            await greet(connection)
        except BaseException:
            drop(connection)
            await connection.wait_closed()
            raise
    return connection


async def exchange(
    connection: ClientConnection,
    messages: AsyncGenerator[str | bytes, None],
    *,
    timeout_s: float | None = None,
) -> AsyncGenerator[str | bytes, None]:
    """What the service says while `messages` are sent to it, each as soon as it comes.

    Raises what `messages` raises, and TimeoutError when all are sent and nothing came for
    `timeout_s`. Ends with the connection, by ConnectionClosed; closing it leaves that open.
    """
    sending = asyncio.ensure_future(_send(connection, messages))
    receiving = asyncio.ensure_future(connection.recv())
    try:
        while True:
            sent = sending.done()
            if sent:
                sending.result()
            await asyncio.wait(
                {receiving} if sent else {receiving, sending},
                timeout=timeout_s if sent else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if receiving.done():
                yield receiving.result()
                receiving = asyncio.ensure_future(connection.recv())
            elif sent:
                raise TimeoutError
    finally:
        sending.cancel()
        receiving.cancel()
        await asyncio.wait({sending, receiving})
        _ = [task.cancelled() or task.exception() for task in (sending, receiving)]


async def _send(connection: ClientConnection, messages: AsyncGenerator[str | bytes, None]) -> None:
    from websockets.exceptions import ConnectionClosed

    async with aclosing(messages):
        with suppress(ConnectionClosed):  # what was received before it tells why
            async for message in messages:
                await connection.send(message)


def drop(connection: ClientConnection) -> None:
    """End a connection at once, so that the service stops its work: for a request given up."""
    connection.transport.abort()


async def _ended(connection: ClientConnection) -> None:
    """Close a connection with a goodbye; given up meanwhile, it is dropped."""
    try:
        await connection.close()
    finally:
        drop(connection)
