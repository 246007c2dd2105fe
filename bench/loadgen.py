"""The load: N callers in a process of their own, each with a microphone that never stops.

A cycle of a caller lasts 7.5 s: 0.3 s of silence, 1 s of speech, the reply; 0.25 s after its
first byte the caller barges in with 1 s of speech, and hears the second reply to its end. The
cycles of N callers are spread evenly. The first cycle warms up and is not counted.

The client is written by hand, with frames made beforehand, so that it costs the measurement
as little as can be. Its clock is `time.monotonic`: uvloop's own has whole milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import socket
import struct
from collections import deque
from dataclasses import asdict, dataclass, field
from functools import partial
from time import monotonic

import scenario
import uvloop
from machine import quantile

TICK_S = 0.02
CYCLE = 375  # ticks
QUIET = 15
SPEECH = 50
BARGE_IN_S = 0.25
OPEN_LIMIT_S = 10.0
STALE_S = 0.2  # audio this soon after the second question may still belong to the first reply

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(opcode: int, payload: bytes) -> bytes:
    """A client's WebSocket frame; a mask of zeros is a mask."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    else:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    return head + bytes(4) + payload


def message(action: str, **fields: object) -> bytes:
    return frame(TEXT, json.dumps({"action": action, **fields}).encode())


START = message("conversation_start", client={"pauses_itself": False})
SPEECH_START = message("vad_speech_start", timestamp=0)
SPEECH_END = message("vad_speech_end", timestamp=0)
LOUD = frame(BINARY, scenario.tone(TICK_S, scenario.RATE_IN, 150, 8000))
SILENT = frame(BINARY, bytes(round(2 * TICK_S * scenario.RATE_IN)))


class WebSocket(asyncio.Protocol):
    """The client's end of one connection."""

    def __init__(self, port: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = self.loop.create_future()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.closed = False
        self._port = port
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self.done.set_result(None)
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("no WebSocket"))

    def data_received(self, data: bytes) -> None:
        now = monotonic()
        buffer = self._buffer
        buffer += data
        if not self.opened.done():
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if b" 101 " not in buffer[:20]:
                self.transport.close()
                return
            del buffer[: end + 4]
            self.opened.set_result(None)
        at = 0
        while (body := self._body(at)) is not None:
            start, end = body
            self._received(now, buffer[at] & 15, start, end)
            at = end
        del buffer[:at]

    def _body(self, at: int) -> tuple[int, int] | None:
        """Where the payload of the frame at `at` lies, once it is there whole."""
        buffer = self._buffer
        if len(buffer) < at + 2:
            return None
        size, start = buffer[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(buffer[start : start + 2], "big"), start + 2
        elif size == 127:
            size, start = int.from_bytes(buffer[start : start + 8], "big"), start + 8
        return (start, start + size) if len(buffer) >= start + size else None

    def _received(self, now: float, opcode: int, start: int, end: int) -> None:
        if opcode == BINARY:
            self.audio(now, end - start)
        elif opcode == TEXT:
            self.text(now, bytes(self._buffer[start:end]))
        elif opcode == PING:
            self.transport.write(frame(PONG, bytes(self._buffer[start:end])))
        elif opcode == CLOSE:
            self.transport.close()

    def audio(self, now: float, size: int) -> None:
        """A binary message."""

    def text(self, now: float, body: bytes) -> None:
        """A text message."""

    def leave(self) -> None:
        self.closed = True
        self.transport.write(frame(CLOSE, struct.pack("!H", 1000)))
        self.transport.close()


@dataclass
class Result:
    """What one run saw; times in seconds."""

    callers: int
    first: list[float] = field(default_factory=list)  # end of speech to first byte
    second: list[float] = field(default_factory=list)  # the same after a barge-in
    barge_in: list[float] = field(default_factory=list)  # its start to pause_tts or stop_tts
    missed: int = 0
    lost: int = 0
    lag_p99: float = 0.0
    cpu_s_per_minute: float = 0.0


class Caller(WebSocket):
    """One caller. What it waits for stands in `_phase`."""

    def __init__(self, port: int, begins: float, cycles: int, result: Result) -> None:
        super().__init__(port)
        self._next = begins
        self._cycles = cycles
        self._result = result
        self._phase = "idle"
        self._tick = 0
        self._asked = 0.0
        self._barge_at = 0.0
        self._spoke_from = 0
        self._signalled = False
        self._chunk = 0
        self._finished = False
        self._played = 0.0
        self._playing: deque[tuple[float, bytes]] = deque()
        self.lags: list[float] = []

    async def begin(self) -> None:
        await asyncio.wait_for(self.opened, OPEN_LIMIT_S)
        self.transport.write(START)
        self.loop.call_at(self._next, self._step)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed:
            self._result.lost += 1
        super().connection_lost(error)

    @property
    def _counts(self) -> bool:
        return self._tick >= CYCLE

    # --- what the server says -------------------------------------------------------------------

    def text(self, now: float, body: bytes) -> None:
        head = body[:32]
        if b"tts_chunk_meta" in head:
            self._chunk = json.loads(body)["data"]["chunk_index"]
        elif b"pause_tts" in head or b"stop_tts" in head:
            if self._phase == "interrupts" and not self._signalled:
                self._signalled = True
                if self._counts:
                    self._result.barge_in.append(now - self._asked)
            if b"stop_tts" in head:
                self._playing.clear()
        elif b"start_tts" in head:
            self._finished = False
        elif b"tts_finished" in head:
            self._finished = True

    def audio(self, now: float, size: int) -> None:
        if self._phase == "waits first":
            self._note(self._result.first, now)
            self._phase = "hears"
            self._barge_at = now + BARGE_IN_S
        elif self._phase == "waits second" and now > self._asked + STALE_S:
            self._note(self._result.second, now)
            self._phase = "idle"
        self._played = max(self._played, now) + size / 2 / scenario.RATE_OUT
        self._playing.append((self._played, message("tts_chunk_played", chunk_index=self._chunk)))

    def _note(self, latencies: list[float], now: float) -> None:
        if self._counts:
            latencies.append(now - self._asked)

    # --- what the caller does -------------------------------------------------------------------

    def _step(self) -> None:
        if self.closed:
            return
        now = monotonic()
        self.lags.append(now - self._next)
        cycle, tick = divmod(self._tick, CYCLE)
        if tick == 0 and self._phase != "idle":
            self._result.missed += self._counts
            self._phase = "idle"
        if cycle == self._cycles:
            self.leave()
            return
        if tick == QUIET:
            self._speak("asks")
        elif self._phase == "hears" and now >= self._barge_at:
            self._asked = now
            self._signalled = False
            self._speak("interrupts")
        elif self._speaking and self._tick == self._spoke_from + SPEECH:
            self.transport.write(SPEECH_END)
            self._asked = now
            self._phase = "waits first" if self._phase == "asks" else "waits second"
        self.transport.write(LOUD if self._speaking else SILENT)
        self._acknowledge(now)
        self._tick += 1
        self._next += TICK_S
        self.loop.call_at(self._next, self._step)

    @property
    def _speaking(self) -> bool:
        return self._phase in ("asks", "interrupts")

    def _speak(self, phase: str) -> None:
        self._phase = phase
        self._spoke_from = self._tick
        self.transport.write(SPEECH_START)

    def _acknowledge(self, now: float) -> None:
        while self._playing and self._playing[0][0] <= now:
            self.transport.write(self._playing.popleft()[1])
            if self._finished and not self._playing:
                self._finished = False
                self.transport.write(message("tts_playback_finished", timestamp=0))


def cpu_s(pid: int) -> float:
    """Processor time that a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def run(port: int, callers: int, cycles: int, pid: int) -> Result:
    """One run against a server that is up; it takes `cycles` times 7.5 s and another 7.5 s."""
    loop = asyncio.get_running_loop()
    result = Result(callers)
    cycle_s = CYCLE * TICK_S
    begins = monotonic() + 0.5
    all_callers = []
    for index in range(callers):
        at = begins + cycle_s * index / callers
        await asyncio.sleep(at - 0.3 - monotonic())
        _, caller = await loop.create_connection(
            partial(Caller, port, at, cycles, result), "127.0.0.1", port
        )
        await caller.begin()
        all_callers.append(caller)
    await asyncio.sleep(begins + cycle_s - monotonic())
    used, since = cpu_s(pid), monotonic()
    await asyncio.sleep(begins + cycles * cycle_s - monotonic())
    minutes = callers * (monotonic() - since) / 60
    result.cpu_s_per_minute = (cpu_s(pid) - used) / minutes
    for caller in all_callers:
        await caller.done
    result.lag_p99 = quantile([lag for c in all_callers for lag in c.lags], 0.99)
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--cycles", type=int, default=4)
    parser.add_argument("--pid", type=int, required=True, help="the server's")
    arguments = parser.parse_args()
    result = uvloop.run(run(arguments.port, arguments.callers, arguments.cycles, arguments.pid))
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
