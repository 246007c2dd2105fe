"""The real WebSocket servers of `sherpa-onnx-bin`, and fake ones for what those cannot be made do.

real_server    a C++ server on a free port
FakeServer     replies as the Python servers do, and has faults
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from xtalk.testing.services import FakeService, Fault

ATTEMPTS = 3  # another process may take the port that was free a moment ago
READY_S = 20.0


@contextmanager
def real_server(kind: str, folder: Path, **options: object) -> Iterator[int]:
    """The port of a server, `online` or `offline`, with these options of its command line."""
    for _ in range(ATTEMPTS):
        process, port = _start(kind, folder, options)
        try:
            if _is_listening(process):
                yield port
                return
        finally:
            process.terminate()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()
    raise AssertionError(f"the {kind} server did not start")


def _start(
    kind: str, folder: Path, options: dict[str, object]
) -> tuple[subprocess.Popen[str], int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name(f"sherpa-onnx-{kind}-websocket-server")
    arguments = {"port": port, "log-file": folder / f"{kind}-{port}.log", **options}
    command = [str(program), *(f"--{name}={value}" for name, value in arguments.items())]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    return process, port


def _is_listening(process: subprocess.Popen[str]) -> bool:
    """Whether it says so before it ends; what it writes later is read, or it would block."""
    assert process.stderr is not None
    overdue = threading.Timer(READY_S, process.terminate)
    overdue.start()
    try:
        listening = any("Listening on" in line for line in process.stderr)
    finally:
        overdue.cancel()
        overdue.join()
    if listening:
        threading.Thread(target=_drain, args=(process.stderr,), daemon=True).start()
    return listening


def _drain(stream: Any) -> None:
    try:
        for _ in stream:
            pass
    except ValueError:  # closed meanwhile
        return


class FakeServer(FakeService):
    """Hears nothing; it says `texts`, a segment each, the first as soon as there is sound.

    Streaming as the Python server: JSON with text and segment, and it closes when all is said.
    `messages` holds how many samples each message had, for each connection.
    """

    texts: Iterable[str] = ("hello", "world")
    closes_early = False

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[list[int]] = []

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.get("/", self.handle)]

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        await self.begin(request)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await self.converse(request, ws)
        await ws.close()
        return ws

    async def converse(self, request: web.Request, ws: web.WebSocketResponse) -> None:
        received: list[int] = []
        said = 0
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                assert message.data == "Done"
                break
            if not received:
                self.messages.append(received)
            received.append(len(message.data) // 4)
            if said == 0 and self.fault not in (Fault.EMPTY, Fault.GARBAGE):
                await self.say(request, ws, 0)
                said = 1
                if self.closes_early:
                    return
        else:
            return
        if self.fault is Fault.GARBAGE:
            await ws.send_str('{"words": []}')
        elif self.fault is not Fault.EMPTY:
            for number in range(said, len(tuple(self.texts))):
                await self.say(request, ws, number)

    async def say(self, request: web.Request, ws: web.WebSocketResponse, number: int) -> None:
        await self.piece(request, number)
        text = tuple(self.texts)[number]
        await ws.send_str(json.dumps({"text": text, "segment": number}))


class FakeOldServer(FakeServer):
    """Says `Done!` and leaves the connection open, but never that a reply was the last."""

    async def converse(self, request: web.Request, ws: web.WebSocketResponse) -> None:
        await super().converse(request, ws)
        await ws.send_str("Done!")
        async for _ in ws:
            raise AssertionError("a second segment came over the connection")


class FakePlainServer(FakeServer):
    """Says what it hears without JSON."""

    async def say(self, request: web.Request, ws: web.WebSocketResponse, number: int) -> None:
        await ws.send_str(tuple(self.texts)[number])


class FakeSlowServer(FakeServer):
    """Takes a twentieth of a second for each message, and has heard nothing but in the last."""

    async def converse(self, request: web.Request, ws: web.WebSocketResponse) -> None:
        async for message in ws:
            over = message.type is WSMsgType.TEXT
            await asyncio.sleep(0.05)
            await ws.send_str(json.dumps({"text": "hello" if over else "", "segment": 0}))
            if over:
                return


class FakeOfflineServer(FakeServer):
    """Answers each recording with one bare text, as the Python server does."""

    texts = ("hello world",)

    async def converse(self, request: web.Request, ws: web.WebSocketResponse) -> None:
        data = b""
        received: list[int] = []
        self.messages.append(received)
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                return
            received.append(len(message.data))
            data += message.data
            if len(data) < 8 or len(data) < 8 + struct.unpack("<ii", data[:8])[1]:
                continue
            data = b""
            if not await self.answer(request, ws):
                return

    async def answer(self, request: web.Request, ws: web.WebSocketResponse) -> bool:
        """Whether the connection goes on."""
        if self.fault is Fault.GARBAGE:
            await ws.send_str('{"words": []}')
        elif self.fault is Fault.EMPTY:
            return False
        else:
            await self.piece(request, 1)
            await ws.send_str(*self.texts)
        return True
