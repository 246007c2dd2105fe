"""DashScope's realtime recognition on a loopback port: its events, its pauses, its refusals.

It knows some recordings by heart, sample by sample, and nothing else. Audio that is lost, doubled
or out of order is therefore heard as `???`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
from aiohttp import web

from xtalk.testing.recordings import TEXTS, recording
from xtalk.testing.services import KEY, FakeService, Fault

__all__ = ["FakeRealtime"]

MODEL = "qwen3-asr-flash-realtime"
TRANSCRIPTION = "conversation.item.input_audio_transcription"
HEAD = 6400  # bytes of a recording that tell it from all others
CODES = {
    Fault.UNAUTHORIZED: "InvalidApiKey",
    Fault.TOO_MANY: "Throttling.RateQuota",
    Fault.BROKEN: "InternalError",
}


@dataclass(frozen=True)
class Known:
    """The speech of a recording, without the silence around it."""

    core: bytes
    text: str
    lang: str


def known(name: str, text: str, lang: str = "en") -> Known:
    pcm = recording(name).pcm
    loud = np.flatnonzero(np.abs(np.frombuffer(pcm, "<i2").astype(int)) > 200)
    return Known(pcm[2 * loud[0] : 2 * loud[-1]], text, lang)


class FakeRealtime(FakeService):
    """`sessions` holds the settings of every session and the names of the events it was sent.

    `texts` says what each recording is heard as. `failure` is an `error` that the next segment
    ends in. Without turn detection a buffer of more than `longest` bytes is cut.
    `ready` counts the sessions that are set up; `heard` is set once there is audio. With `rambles`
    it says one partial text after the other and never the last.
    """

    def __init__(self, texts: Mapping[str, str] = TEXTS, lang: str = "en") -> None:
        super().__init__()
        self.known = [known(name, text, lang) for name, text in texts.items()]
        self.sessions: list[tuple[dict[str, Any], list[str]]] = []
        self.failure: dict[str, Any] | None = None
        self.rambles = False
        self.longest = 2**31
        self.audio: list[bytearray] = []
        self.ready = threading.Semaphore(0)
        self.heard = threading.Event()

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.get("/api-ws/v1/realtime", self.realtime)]

    async def realtime(self, request: web.Request) -> web.StreamResponse:
        await self.begin(request)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            raise web.HTTPUnauthorized
        if request.query.getall("model") != [MODEL]:
            raise web.HTTPNotFound
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await Session(self, request, socket).run()
        return socket


@dataclass
class Utterance:
    """Speech between two pauses, as far as it has come."""

    id: str
    said: Known
    start: int
    wrong: bool = False
    words: int = 0


@dataclass
class Session:
    service: FakeRealtime
    request: web.Request
    socket: web.WebSocketResponse
    audio: bytearray = field(default_factory=bytearray)
    place: int = 0  # before this nothing is looked for any more
    open: Utterance | None = None
    told: int = 0
    ids: set[str] = field(default_factory=set)
    settings: dict[str, Any] = field(default_factory=dict)

    async def run(self) -> None:
        await self.send("session.created", session={"id": "s", "model": MODEL})
        first = await self.receive()
        if first is None:
            return
        if first["type"] != "session.update" or not right(first["session"]):
            await self.error("invalid_value")
            return
        self.settings = first["session"]
        names = ["session.update"]
        self.service.sessions.append((self.settings, names))
        self.service.audio.append(self.audio)
        await self.send("session.updated", session=self.settings)
        self.service.ready.release()
        while (event := await self.receive()) is not None:
            names.append(event["type"])
            if not await self.obey(event):
                return

    async def obey(self, event: Mapping[str, Any]) -> bool:
        """Whether the session goes on."""
        kind, detects = event["type"], self.settings["turn_detection"] is not None
        if await self.faulty():
            return False
        if kind == "input_audio_buffer.append":
            self.audio += base64.b64decode(event["audio"], validate=True)
            self.service.heard.set()
            if detects:
                await self.listen()
            elif len(self.audio) > self.service.longest:
                return await self.commit()
        elif kind == "input_audio_buffer.commit" and not detects and self.audio:
            return await self.commit()
        elif kind == "session.finish":
            await self.finish()
        else:
            await self.error("invalid_event")
            return False
        return True

    async def faulty(self) -> bool:
        fault = self.service.fault
        if self.service.failure is not None:
            await self.send("error", error=self.service.failure)
        elif fault in CODES:
            await self.error(CODES[fault])
        elif fault is Fault.STALL:
            await asyncio.get_running_loop().create_future()
        elif fault is Fault.GARBAGE:
            await self.socket.send_str("[]")
        elif fault is Fault.EMPTY:
            await self.socket.close()
        else:
            return False
        return True

    # --- with turn detection --------------------------------------------------------------------

    async def listen(self) -> None:
        while await self.begin() or await self.go_on():
            pass

    async def begin(self) -> bool:
        if self.open is not None:
            return False
        found = self.find()
        if found is None:
            return False
        said, start = found
        self.open = Utterance(new_id(), said, start)
        await self.send("input_audio_buffer.speech_started", item_id=self.open.id)
        return True

    def find(self) -> tuple[Known, int] | None:
        """The first recording whose head is there, and where."""
        found = [
            (start, said)
            for said in self.service.known
            if (start := self.audio.find(said.core[:HEAD], self.place)) >= 0
        ]
        return min(((said, start) for start, said in found), key=lambda f: f[1], default=None)

    async def go_on(self) -> bool:
        """Tell another word, or that the utterance is over."""
        now = self.open
        if now is None:
            return False
        core, words = now.said.core, now.said.text.split(" ")
        there = min(len(self.audio) - now.start, len(core))
        now.wrong = now.wrong or self.audio[now.start : now.start + there] != core[:there]
        if now.words < there * (len(words) - 1) // len(core):
            now.words += 1
            await self.partial(now, words[: now.words])
            return True
        pause = 32 * self.settings["turn_detection"]["silence_duration_ms"]
        if len(self.audio) - now.start - len(core) < pause:
            return False
        await self.complete(now)
        return True

    async def partial(self, now: Utterance, words: list[str]) -> None:
        """All but the last word are certain."""
        certain = " ".join(words[:-1])
        stash = (" " if certain else "") + words[-1]
        await self.tell("text", now, text=certain, stash=stash)

    async def complete(self, now: Utterance) -> None:
        await self.send("input_audio_buffer.speech_stopped", item_id=now.id)
        await self.send("input_audio_buffer.committed", item_id=now.id)
        self.place = min(len(self.audio), now.start + len(now.said.core))
        self.open = None
        await self.tell("completed", now, transcript="???" if now.wrong else now.said.text)

    async def finish(self) -> None:
        now = Utterance(new_id(), self.service.known[0], 0)
        while self.service.rambles:
            now.words += 1
            await self.partial(now, ["well"] * now.words)
            await asyncio.sleep(0.1)
        if self.open is not None:
            cut = len(self.audio) - self.open.start < len(self.open.said.core)
            self.open.wrong = self.open.wrong or cut
            await self.complete(self.open)
        await self.send("session.finished")

    # --- without it -----------------------------------------------------------------------------

    async def commit(self) -> bool:
        """All that the buffer holds, as one part."""
        said = []
        while (found := self.find()) is not None:
            known, start = found
            whole = self.audio[start : start + len(known.core)] == known.core
            said.append(known.text if whole else "???")
            self.place = start + len(known.core)
        now = Utterance(new_id(), Known(b"", " ".join(said), self.service.known[0].lang), 0)
        await self.send("input_audio_buffer.committed", item_id=now.id)
        if said:
            await self.partial(now, now.said.text.split(" ")[:2])
        await self.tell("completed", now, transcript=now.said.text)
        self.audio.clear()
        self.place = 0
        return True

    # --- events ---------------------------------------------------------------------------------

    async def tell(self, kind: str, now: Utterance, **content: str) -> None:
        await self.service.piece(self.request, self.told)
        self.told += 1
        await self.send(
            f"{TRANSCRIPTION}.{kind}",
            item_id=now.id,
            content_index=0,
            language=now.said.lang,
            emotion="neutral",
            **content,
        )

    async def error(self, code: str) -> None:
        kind = "invalid_request_error" if code.startswith("invalid_") else "server_error"
        await self.send("error", error={"type": kind, "code": code, "message": f"no, {KEY}"})

    async def send(self, kind: str, **content: Any) -> None:
        await self.socket.send_str(json.dumps({"event_id": new_id(), "type": kind, **content}))

    async def receive(self) -> dict[str, Any] | None:
        """The next event; None when the client has gone."""
        message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            return None
        event: dict[str, Any] = json.loads(message.data)
        if not event.get("event_id") or event["event_id"] in self.ids:
            await self.error("invalid_event_id")
        self.ids.add(event["event_id"])
        return event


def new_id() -> str:
    return f"event_{uuid.uuid4().hex}"


def right(session: Mapping[str, Any]) -> bool:
    """Whether the service would take these settings."""
    detection = session["turn_detection"]
    return (
        session["modalities"] == ["text"]
        and session["input_audio_format"] == "pcm"
        and session["sample_rate"] in (8000, 16_000)
        and session["input_audio_transcription"].keys() <= {"language", "corpus"}
        and (
            detection is None
            or (
                detection["type"] == "server_vad"
                and -1 <= detection["threshold"] <= 1
                and 200 <= detection["silence_duration_ms"] <= 6000
            )
        )
    )
