"""DashScope's speech synthesis on a loopback port: the duplex protocol, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import aiohttp
from aiohttp import web
from tones import tone

from xtalk.audio import float_to_pcm
from xtalk.testing.services import KEY, FakeService, Fault

__all__ = ["VOICES", "FakeDashScope"]

VOICES = ("longanyang", "longanhuan", "longxiaochun")
PIECE = 19_201  # odd, as nothing promises whole samples
EARLY_S = 0.005
SENTENCE = re.compile(r".*?[.!?。！？]", re.DOTALL)
CODES = {
    Fault.UNAUTHORIZED: "InvalidApiKey",
    Fault.TOO_MANY: "Throttling.RateQuota",
    Fault.BROKEN: "InternalError",
}


class Refused(Exception):
    """The task fails, with DashScope's word for the reason."""


class FakeDashScope(FakeService):
    """Speaks each sentence as soon as it is whole, the rest at `finish-task`.

    `tasks` holds the parameters and the texts of every task. `failure` is the code with which
    the next tasks fail. `arrivals` counts the connections.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[tuple[dict[str, Any], list[str]]] = []
        self.headers: list[dict[str, str]] = []
        self.arrivals = threading.Semaphore(0)
        self.failure = ""

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.get("/api-ws/v1/inference", self.inference)]

    async def inference(self, request: web.Request) -> web.StreamResponse:
        await self.begin(request)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            raise web.HTTPUnauthorized
        self.headers.append(dict(request.headers))
        self.arrivals.release()
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            try:
                await Task(self, request, socket).run(message)
            except Refused as refused:
                await socket.send_str(failed(str(refused)))
                await socket.close()
        return socket


def failed(code: str) -> str:
    header = {
        "event": "task-failed",
        "error_code": code,
        "error_message": f"no, {KEY}",
        "attributes": {},
    }
    return json.dumps({"header": header, "payload": {}})


class Task:
    """One task on a connection."""

    def __init__(
        self, service: FakeDashScope, request: web.Request, socket: web.WebSocketResponse
    ) -> None:
        self.service = service
        self.request = request
        self.socket = socket
        self.id = ""
        self.sent = 0
        self.parameters: dict[str, Any] = {}

    async def run(self, first: aiohttp.WSMessage) -> None:
        payload = self.instruction(first, "run-task")
        self.parameters = checked(payload)
        await self.fault()
        await self.nothing_before_the_start()
        await self.event("task-started")
        texts: list[str] = []
        self.service.tasks.append((self.parameters, texts))
        rest = ""
        while True:
            name, payload = self.read(await self.socket.receive())
            if name == "finish-task":
                break
            if name != "continue-task" or set(payload) != {"input"}:
                raise Refused("InvalidParameter")
            texts.append(payload["input"]["text"])
            rest = await self.speak_sentences(rest + texts[-1])
        if payload != {"input": {}}:
            raise Refused("InvalidParameter")
        await self.speak(rest)
        await self.event("task-finished")

    async def fault(self) -> None:
        fault = self.service.fault
        if self.service.failure or fault in CODES:
            raise Refused(self.service.failure or CODES[fault])  # type: ignore[index]
        if fault is Fault.STALL:
            await asyncio.get_running_loop().create_future()
        if fault is Fault.GARBAGE:
            await self.socket.send_str("{")

    async def nothing_before_the_start(self) -> None:
        try:
            await self.socket.receive(timeout=EARLY_S)
        except asyncio.TimeoutError:
            return
        raise Refused("InvalidParameter.BeforeTaskStarted")

    async def speak_sentences(self, text: str) -> str:
        end = 0
        for sentence in SENTENCE.finditer(text):
            await self.speak(sentence[0])
            end = sentence.end()
        return text[end:]

    async def speak(self, text: str) -> None:
        if self.service.fault is Fault.EMPTY:
            return
        parameters = self.parameters
        samples = tone(parameters["voice"], text, parameters["sample_rate"], parameters["rate"])
        for piece in cut(float_to_pcm(samples)):
            await self.event("result-generated")
            await self.service.piece(self.request, self.sent)
            await self.socket.send_bytes(piece)
            self.sent += 1

    async def event(self, name: str) -> None:
        header = {"task_id": self.id, "event": name, "attributes": {}}
        await self.socket.send_str(json.dumps({"header": header, "payload": {}}))

    def instruction(self, message: aiohttp.WSMessage, expected: str) -> dict[str, Any]:
        name, payload = self.read(message)
        if name != expected:
            raise Refused("InvalidParameter")
        return payload

    def read(self, message: aiohttp.WSMessage) -> tuple[str, dict[str, Any]]:
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionResetError
        read = json.loads(message.data)
        header = read["header"]
        self.id = self.id or header["task_id"]
        if header["streaming"] != "duplex" or not self.id or header["task_id"] != self.id:
            raise Refused("InvalidParameter")
        return header["action"], read["payload"]


def checked(payload: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a task that DashScope would begin."""
    parameters: dict[str, Any] = payload["parameters"]
    kind = (payload["task_group"], payload["task"], payload["function"], payload["input"])
    right = (
        kind == ("audio", "tts", "SpeechSynthesizer", {})
        and parameters["voice"] in VOICES
        and (parameters["format"], parameters["text_type"]) == ("pcm", "PlainText")
        and parameters["sample_rate"] in (8000, 16_000, 22_050, 24_000, 44_100, 48_000)
        and 0.5 <= parameters["rate"] <= 2
        and 0 <= parameters["volume"] <= 100
    )
    if not payload["model"].startswith("cosyvoice-"):
        raise Refused("ModelNotFound")
    if not right:
        raise Refused("InvalidParameter")
    return parameters


def cut(pcm: bytes) -> Iterator[bytes]:
    for start in range(0, len(pcm), PIECE):
        yield pcm[start : start + PIECE]
