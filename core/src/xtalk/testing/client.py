"""A caller: streams a microphone on an exact clock, plays replies on a virtual loudspeaker.

    WireClient     one conversation over a Connection, with a timeline of all that was said
    Loudspeaker    plays chunks back to back on the loop's clock and knows what was heard
    Connection     the seam: a real WebSocket (`connect`) or memory (`MemoryConnection`)

`xtalk talk`, tests and tests of devices use it. All time is the event loop's, so it runs in
virtual time as well.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio

from xtalk.audio import RATE_IN, RATE_OUT, AudioFrame
from xtalk.wire import messages as m
from xtalk.wire.protocol import ClientProtocol

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from xtalk.testing.transport import MemoryTransport

__all__ = [
    "FRAME_SAMPLES",
    "Connection",
    "Loudspeaker",
    "MemoryConnection",
    "Output",
    "Received",
    "Sound",
    "WireClient",
    "connect",
]

FRAME_SAMPLES = 512
FRAME_S = FRAME_SAMPLES / RATE_IN
PING_S = 15.0

T = TypeVar("T")
M = TypeVar("M", bound=m.ServerMessage)


# --- connections --------------------------------------------------------------------------------


class Connection(Protocol):
    """The client's end of a connection."""

    async def send(self, item: str | bytes) -> None:
        """ConnectionError when the server is gone."""

    async def receive(self) -> str | bytes | None:
        """The next message; None when the server has closed."""

    async def close(self) -> None: ...

    @property
    def close_reason(self) -> str:
        """Why the connection ended, for people; "" while it lasts."""
        ...


class SocketConnection:
    """A real WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, item: str | bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await self._socket.send(item)
        except ConnectionClosed:
            raise ConnectionResetError(self.close_reason) from None

    async def receive(self) -> str | bytes | None:
        from websockets.exceptions import ConnectionClosed

        try:
            return await self._socket.recv()
        except ConnectionClosed:
            return None

    async def close(self) -> None:
        await self._socket.close()

    @property
    def close_reason(self) -> str:
        if self._socket.close_code is None:
            return ""
        return f"closed with {self._socket.close_code} {self._socket.close_reason or ''}".rstrip()


class MemoryConnection:
    """The far end of a `MemoryTransport`."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport

    async def send(self, item: str | bytes) -> None:
        if self._transport.closed is not None:
            raise ConnectionResetError(self.close_reason)
        self._transport.push(item)

    async def receive(self) -> str | bytes | None:
        return await self._transport.next()

    async def close(self) -> None:
        self._transport.vanish()

    @property
    def close_reason(self) -> str:
        closed = self._transport.closed
        return "" if closed is None else f"closed with {closed[0]} {closed[1]}".rstrip()


@asynccontextmanager
async def connect(url: str, **options: Any) -> AsyncIterator[Connection]:
    """A WebSocket to this address; OSError or websockets' InvalidHandshake when it fails."""
    from websockets.asyncio.client import connect as connect_socket

    async with connect_socket(url, compression=None, max_size=None, **options) as socket:
        yield SocketConnection(socket)


# --- the loudspeaker ----------------------------------------------------------------------------


class Output(Protocol):
    """A real loudspeaker beside the virtual one."""

    def put(self, pcm: bytes) -> None:
        """Play this after what was put before."""

    def clear(self) -> None:
        """Fall silent and forget what was put."""


@dataclass(frozen=True, slots=True)
class Sound:
    """PCM16 at 48 kHz that began to sound at this time (s) of the loop."""

    at: float
    pcm: bytes


class Loudspeaker:
    """Plays chunks back to back on the loop's clock; `heard` is what has really sounded."""

    def __init__(self, played: Callable[[int], None], output: Output | None = None) -> None:
        self.heard: list[Sound] = []
        self.suspended = False
        self._played = played
        self._output = output
        self._queue: deque[m.TtsChunk] = deque()
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def empty(self) -> bool:
        return not self._queue

    @property
    def last_sound(self) -> float:
        """When the last piece that was heard had ended (s, the loop's clock); 0 before any."""
        if not self.heard:
            return 0.0
        last = self.heard[-1]
        return last.at + AudioFrame(last.pcm, RATE_OUT).seconds

    def play(self, chunk: m.TtsChunk) -> None:
        if not chunk.pcm:
            return
        self._queue.append(chunk)
        if self.suspended:
            return
        self._put([chunk])
        if self._timer is None:
            self._begin(asyncio.get_running_loop().time())

    def suspend(self) -> None:
        """Fall silent at this very sample; `resume` goes on with the next one."""
        if not self.suspended:
            self.suspended = True
            self._cut()

    def resume(self) -> None:
        if self.suspended:
            self.suspended = False
            self._put(self._queue)
            if self._queue:
                self._begin(asyncio.get_running_loop().time())

    def stop(self) -> None:
        """Fall silent and drop what was not heard; the next chunk sounds at once."""
        self._cut()
        self._queue.clear()
        self.suspended = False

    def _put(self, chunks: Iterable[m.TtsChunk]) -> None:
        if self._output is not None:
            for chunk in chunks:
                self._output.put(chunk.pcm)

    def _begin(self, at: float) -> None:
        self._began = at
        seconds = AudioFrame(self._queue[0].pcm, RATE_OUT).seconds
        self._timer = asyncio.get_running_loop().call_at(at + seconds, self._end, at + seconds)

    def _end(self, at: float) -> None:
        self._timer = None
        chunk = self._queue.popleft()
        self.heard.append(Sound(self._began, chunk.pcm))
        if self._queue:
            self._begin(at)
        self._played(chunk.chunk_index)

    def _cut(self) -> None:
        if self._output is not None:
            self._output.clear()
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        chunk = self._queue.popleft()
        elapsed = asyncio.get_running_loop().time() - self._began
        cut = min(2 * max(0, round(elapsed * RATE_OUT)), len(chunk.pcm))
        if cut:
            self.heard.append(Sound(self._began, chunk.pcm[:cut]))
        self._queue.appendleft(m.TtsChunk(chunk.chunk_index, chunk.pcm[cut:]))


# --- the caller ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """Something that came from the server, and when (s, the loop's clock)."""

    at: float
    message: m.ServerMessage | m.Signal | m.TtsChunk


@dataclass(slots=True)
class _Utterance:
    """Audio that waits for the microphone; `sent` is set when its last frame has left."""

    pcm: bytes
    place: int = 0
    began: float | None = None
    sent: anyio.Event = field(default_factory=anyio.Event)


class WireClient:
    """One caller in one conversation, from `async with` to its end.

    The microphone streams from the start, silence when nobody speaks, a frame of 512 samples
    each 32 ms. `acknowledges=False` is a device that never says what it has played.
    `pauses_itself=True` is a client like the original's page: it marks its speech and suspends
    its loudspeaker by itself.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        pauses_itself: bool = False,
        acknowledges: bool = True,
        decisions: bool = False,
        microphone: bool = True,
        output: Output | None = None,
    ) -> None:
        self.timeline: list[Received] = []
        self.spoken: list[tuple[float, bytes]] = []
        self.speaker = Loudspeaker(self._chunk_played, output)
        self.closed = False
        self._connection = connection
        self._pauses_itself = pauses_itself
        self._acknowledges = acknowledges
        self._decisions = decisions
        self._microphone = microphone
        self._protocol = ClientProtocol()
        self._utterances: deque[_Utterance] = deque()
        self._failure: Exception | None = None
        self._told = False
        self._finish_pending = False
        self._news = anyio.Event()
        self._outbox: deque[str | bytes] = deque()
        self._outgoing = anyio.Event()
        self._epoch = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> WireClient:
        # Clients stamp their messages with wall-clock time; taken once, it moves with the loop.
        self._epoch = time.time() - anyio.current_time()
        work = [self._write(), self._read(), self._ping()]
        if self._microphone:
            work.append(self._stream())
        self._tasks = [asyncio.create_task(self._guard(task)) for task in work]
        traits = m.ClientTraits(pauses_itself=self._pauses_itself, decisions=self._decisions)
        self.send(m.ConversationStart(timestamp=self._now_ms(), client=traits))
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.speaker.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with anyio.CancelScope(shield=True):
            await self._connection.close()
        if self._failure is not None and not self._told and error is None:
            raise self._failure

    # --- speaking -------------------------------------------------------------------------------

    async def say(self, pcm: bytes) -> float:
        """Speak this into the microphone, after what is being said; PCM16 mono at 16 kHz.

        Returns when its last frame has been sent, with the time at which its first sample was.
        """
        if not pcm:
            return anyio.current_time()
        utterance = _Utterance(pcm)
        self._utterances.append(utterance)
        await utterance.sent.wait()
        if utterance.began is None or self.closed:
            raise self._ended()
        return utterance.began

    async def say_with_marks(self, pcm: bytes, *, end_delay_s: float = 0.0) -> float:
        """`say` between the marks of a client that detects speech by itself."""
        self.mark_start()
        began = await self.say(pcm)
        await anyio.sleep(end_delay_s)
        self.mark_end()
        return began

    def mark_start(self) -> None:
        """The user begins to speak, as the client's own detector says."""
        if self._pauses_itself:
            self.speaker.suspend()
        self.send(m.VadSpeechStart(timestamp=self._now_ms()))

    def mark_end(self) -> None:
        self.send(m.VadSpeechEnd(timestamp=self._now_ms()))

    def send(self, message: m.ClientMessage | AudioFrame | str | bytes) -> None:
        """Send a message, microphone audio, or something raw; in order, without waiting."""
        raw = isinstance(message, (str, bytes))
        self._outbox.extend([message] if raw else self._protocol.send(message))  # type: ignore[list-item, arg-type]
        self._outgoing.set()

    # --- hearing --------------------------------------------------------------------------------

    def received(self, kind: type[M], *, after: int = 0) -> list[M]:
        """All messages of this class, from the timeline's entry `after` on."""
        return [e.message for e in self.timeline[after:] if isinstance(e.message, kind)]

    async def wait_for(self, kind: type[M], *, after: int = 0, timeout: float = 10.0) -> M:
        """The first message of this class; TimeoutError, or ConnectionError when it ends."""
        found = await self.until(lambda: self.received(kind, after=after), timeout=timeout)
        return found[0]

    async def wait_until_heard(self, *, after: int = 0, timeout: float = 30.0) -> None:
        """Until a reply that began after that entry has been sent whole and played."""

        def over() -> bool:
            return bool(self.received(m.TtsFinished, after=after)) and self.speaker.empty

        await self.until(over, timeout=timeout)

    async def until(self, condition: Callable[[], T], *, timeout: float = 10.0) -> T:
        """What the condition gives as soon as it is true; it is asked after each event."""
        with anyio.fail_after(timeout):
            while not (value := condition()):
                self.check()
                self._news = anyio.Event()
                await self._news.wait()
        return value

    def check(self) -> None:
        """Raise what ended the conversation, if it has ended; else do nothing."""
        if self.closed:
            raise self._ended()

    # --- the tasks ------------------------------------------------------------------------------

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        """A task that ends or fails ends the conversation; whoever waits for it is told why."""
        try:
            await work
        except ConnectionError as error:
            self._failure, self._told = error, True
        except Exception as error:
            self._failure = error
        self._end()

    def _ended(self) -> Exception:
        self._told = True
        return self._failure or ConnectionResetError(self._connection.close_reason or "closed")

    async def _write(self) -> None:
        while True:
            while self._outbox:
                await self._connection.send(self._outbox.popleft())
            self._outgoing = anyio.Event()
            await self._outgoing.wait()

    async def _read(self) -> None:
        while (item := await self._connection.receive()) is not None:
            if isinstance(item, str):
                self._take(self._protocol.receive_text(item))
            else:
                self._take(self._protocol.receive_bytes(item))

    async def _ping(self) -> None:
        while True:
            await anyio.sleep(PING_S)
            self.send(m.Ping(timestamp=self._now_ms()))

    async def _stream(self) -> None:
        """The microphone: a frame leaves when its last sample has been recorded."""
        began = anyio.current_time()
        frame = 0
        while True:
            frame += 1
            await anyio.sleep_until(began + frame * FRAME_S)
            self.send(AudioFrame(self._frame(began + (frame - 1) * FRAME_S), RATE_IN))

    def _frame(self, at: float) -> bytes:
        size = 2 * FRAME_SAMPLES
        pcm = b""
        while self._utterances and len(pcm) < size:
            speech = self._utterances[0]
            if speech.began is None:
                speech.began = at + len(pcm) / (2 * RATE_IN)
                self.spoken.append((speech.began, speech.pcm))
            part = speech.pcm[speech.place : speech.place + size - len(pcm)]
            speech.place += len(part)
            pcm += part
            if speech.place >= len(speech.pcm):
                self._utterances.popleft().sent.set()
        return pcm.ljust(size, b"\0")

    # --- what arrives ---------------------------------------------------------------------------

    def _take(self, message: m.ServerMessage | m.Signal | m.TtsChunk) -> None:
        if not isinstance(message, m.TtsChunkMeta):
            self.timeline.append(Received(anyio.current_time(), message))
        if isinstance(message, m.TtsChunk):
            self.speaker.play(message)
        elif isinstance(message, m.PauseTts):
            self.speaker.suspend()
        elif isinstance(message, m.ResumeTts):
            self.speaker.resume()
        elif isinstance(message, (m.StopTts, m.StartTts)):
            self._finish_pending = False
            if isinstance(message, m.StopTts):
                self.speaker.stop()
        elif isinstance(message, m.TtsFinished):
            self._finish_pending = True
        elif isinstance(message, m.Pong):
            self._sync(message)
        self._news.set()

    def _chunk_played(self, index: int) -> None:
        if self._acknowledges:
            self.send(m.TtsChunkPlayed(chunk_index=index, timestamp=self._now_ms()))
            # As the original's page does: only the end of a chunk looks at the flag.
            if self._finish_pending and self.speaker.empty:
                self._finish_pending = False
                self.send(m.TtsPlaybackFinished(timestamp=self._now_ms()))
        self._news.set()

    def _sync(self, pong: m.Pong) -> None:
        self.send(
            m.ClockSync(
                client_send_ts=pong.client_timestamp / 1000,
                server_recv_ts=pong.server_recv_timestamp / 1000,
                client_recv_ts=self._now_ms() / 1000,
            )
        )

    def _end(self) -> None:
        self.closed = True
        for utterance in self._utterances:
            utterance.sent.set()
        self._news.set()

    def _now_ms(self) -> int:
        # Timers call this too, outside every task, where anyio does not know its loop.
        return round((asyncio.get_running_loop().time() + self._epoch) * 1000)
