"""ElevenLabs on a loopback port: recognition and synthesis, each over HTTP and over a WebSocket.

It checks key, paths, options and the order of messages, and refuses as the service does. It
speaks in tones, one for each voice. It hears by comparing: what it got must be, sample by sample,
the recordings of `xtalk.testing`, or its answer is another text.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from xtalk.audio import RATE_IN
from xtalk.testing.fakes import hum, pitch
from xtalk.testing.recordings import TEXTS, recording
from xtalk.testing.services import KEY, FakeService, Fault

SECONDS_PER_CHARACTER = 0.06
VOICES = {"JBFqnCBsd6RMkjVDRZzb", "voice-of-anna", "voice-of-ben"}
FORMATS = {"pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000"}
MODELS = {"eleven_multilingual_v2", "eleven_flash_v2_5", "eleven_turbo_v2_5"}
PIECES = 3

SECOND = 2 * RATE_IN
PAUSE = int(0.6 * SECOND)  # what the service takes for the end of a piece, bytes
LONG = 90 * SECOND  # after so much it commits in any case
ANOTHER = "this is not what was said"

# aiohttp warns of itself where a boundary of the form comes in two pieces, as on a busy machine.
SPLIT = pytest.mark.filterwarnings(r"ignore:unread_data\(\) is deprecated:DeprecationWarning")


class FakeElevenLabs(FakeService):
    """`asked` holds bodies and options, `received` counts the bytes of audio that came in.

    `says`, if not "", is the refusal that it answers with. `other` takes the place of those fields
    in what it has heard. `ready` is released for each WebSocket
    that awaits nothing but the audio or the text.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[str, Any]] = []
        self.says = ""
        self.other: dict[str, Any] = {}
        self.received = 0
        self.ready = threading.Semaphore(0)

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [
            web.post("/v1/text-to-speech/{voice}/stream", self.speak),
            web.get("/v1/text-to-speech/{voice}/stream-input", self.speak_with_words),
            web.post("/v1/speech-to-text", self.transcribe),
            web.get("/v1/speech-to-text/realtime", self.transcribe_live),
        ]

    # --- synthesis ------------------------------------------------------------------------------

    async def speak(self, request: web.Request) -> web.StreamResponse:
        await self.begin(request)
        body = await request.json()
        self.asked.append(body)
        refusal = self._refusal(request, body)
        if refusal is not None:
            return refusal
        if self.fault is Fault.GARBAGE:
            return web.json_response({"text": "well"})
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        await response.prepare(request)
        if self.fault is not Fault.EMPTY:
            pcm = speech(request.match_info["voice"], body["text"], rate_of(request))
            for number, piece in enumerate(cut(pcm, PIECES)):
                await self.piece(request, number)
                await response.write(piece)
        return response

    def _refusal(self, request: web.Request, body: dict[str, Any]) -> web.Response | None:
        if request.headers.get("xi-api-key") != KEY:
            return detail(401, "invalid_api_key")
        if self.says:
            return detail(401, self.says)
        if request.match_info["voice"] not in VOICES:
            return detail(404, "voice_not_found")
        known = {"text", "model_id", "voice_settings"}
        fits = set(body) <= known and body["model_id"] in MODELS and body["text"].strip()
        if not fits or request.query.get("output_format") not in FORMATS:
            return detail(400, "invalid_request")
        return None

    async def speak_with_words(self, request: web.Request) -> web.WebSocketResponse:
        if self.fault is not Fault.STALL:
            await self.begin(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.asked.append(dict(request.query))
        wrong = self._wrong(request) or await self._introduced(socket)
        text = "" if wrong else await self._text(socket)
        if not wrong and text is None:
            return socket  # the client left before it said anything
        if wrong or not text:
            wrong = wrong or "invalid_input_message"
            await socket.send_json({"message": f"no, {KEY}", "error": wrong, "code": 1008})
            await socket.close(code=1008)
            return socket
        await self.begin(request)
        await self._speak_text(request, socket, text)
        return socket

    def _wrong(self, request: web.Request) -> str:
        query = dict(request.query)
        if request.headers.get("xi-api-key") != KEY:
            return "invalid_api_key"
        if request.match_info["voice"] not in VOICES:
            return "voice_id_does_not_exist"
        fits = query.pop("model_id", "") in MODELS and query.pop("output_format", "") in FORMATS
        times = {"sync_alignment": "true", "auto_mode": "true", "inactivity_timeout": "180"}
        return self.says or ("" if fits and query == times else "invalid_request")

    async def _introduced(self, socket: web.WebSocketResponse) -> str:
        message = await socket.receive()
        if message.type is not WSMsgType.TEXT:
            return "input_timeout_exceeded"
        first = json.loads(message.data)
        self.asked.append(first)
        self.ready.release()
        return "" if first.pop("text") == " " and set(first) <= {"voice_settings"} else "invalid"

    async def _text(self, socket: web.WebSocketResponse) -> str | None:
        """All that is said up to an empty text; "" when a piece does not end in a space."""
        text = ""
        async for message in socket:
            piece = json.loads(message.data)
            if piece == {"text": ""}:
                return text
            if set(piece) != {"text"} or not piece["text"].endswith(" "):
                return ""
            text += piece["text"]
        return None

    async def _speak_text(
        self, request: web.Request, socket: web.WebSocketResponse, text: str
    ) -> None:
        rate = rate_of(request)
        pcm = speech(request.match_info["voice"], text, rate)
        if self.fault is Fault.GARBAGE:
            await socket.send_json({"audio": [1], "isFinal": None})
        if self.fault not in (Fault.EMPTY, Fault.GARBAGE):
            for number, (piece, characters) in enumerate(
                zip(cut(pcm, PIECES), cut(text, PIECES), strict=True)
            ):
                await self.piece(request, number)
                times = alignment(characters, len(piece) / 2 / rate)
                audio = base64.b64encode(piece).decode()
                both = {"alignment": times, "normalizedAlignment": times}
                await socket.send_json({"audio": audio, "isFinal": None, **both})
        await socket.send_json({"audio": None, "isFinal": True})
        await socket.close()

    # --- recognition ----------------------------------------------------------------------------

    async def transcribe(self, request: web.Request) -> web.StreamResponse:
        await self.begin(request)
        if request.headers.get("xi-api-key") != KEY:
            return detail(401, "invalid_api_key")
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        fields = {name: value for name, value in form.items() if name != "file"}
        self.asked.append({**fields, **request.query})
        fits = fields.get("model_id") in ("scribe_v1", "scribe_v2") and not self.says
        if not fits or fields.get("file_format") != "pcm_s16le_16":
            return detail(400, self.says or "invalid_request")
        text = understood(file.file.read())
        whole = {"language_code": "eng", "text": text, "words": timed(text), **self.other}
        if self.fault is Fault.GARBAGE:
            whole["text"] = None
        return web.json_response({} if self.fault is Fault.EMPTY else whole)

    async def transcribe_live(self, request: web.Request) -> web.WebSocketResponse:
        if self.fault is not Fault.STALL:
            await self.begin(request)
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        self.asked.append(dict(request.query))
        wrong = self._wrong_options(request)
        if wrong:
            await refuse(socket, wrong)
            return socket
        if self.fault is Fault.STALL:
            await self.begin(request)
        await socket.send_json({"message_type": "session_started", "session_id": "1", "config": {}})
        self.ready.release()
        await Listener(self, request, socket).listen()
        return socket

    def _wrong_options(self, request: web.Request) -> str:
        query = dict(request.query)
        if request.headers.get("xi-api-key") != KEY:
            return "auth_error"
        fits = query.pop("model_id", "") == "scribe_v2_realtime"
        fits &= query.pop("audio_format", "") == "pcm_16000"
        fits &= query.pop("commit_strategy", "") in ("manual", "vad")
        more = {"language_code", "include_timestamps", "include_language_detection"}
        fits &= set(query) <= more | {"enable_logging"}
        return "" if fits else "invalid_request"


class Listener:
    """One realtime session: audio in, partial and committed transcripts out."""

    def __init__(
        self, service: FakeElevenLabs, request: web.Request, socket: web.WebSocketResponse
    ) -> None:
        self.service = service
        self.request = request
        self.socket = socket
        self.pcm = b""
        self.partial = ""
        self.sent = 0

    async def listen(self) -> None:
        async for message in self.socket:
            chunk = json.loads(message.data)
            if set(chunk) != {"message_type", "audio_base_64", "commit", "sample_rate"}:
                return await refuse(self.socket, "input_error")
            audio = base64.b64decode(chunk["audio_base_64"])
            if chunk["sample_rate"] != RATE_IN or len(audio) > 10 * SECOND or len(audio) % 2:
                return await refuse(self.socket, "chunk_size_exceeded")
            if self.service.says:
                return await refuse(self.socket, self.service.says)
            self.pcm += audio
            self.service.received += len(audio)
            if not await self.hear(commit=chunk["commit"]):
                return None
        return None

    async def hear(self, *, commit: bool) -> bool:
        """Whether the session goes on."""
        pause = len(self.pcm) - len(self.pcm.rstrip(b"\0")) >= PAUSE
        if commit and len(self.pcm) < 0.3 * SECOND:
            await refuse(self.socket, "commit_throttled")
            return False
        if self.service.fault is Fault.EMPTY and commit:
            await self.socket.close()
            return False
        by_pause = self.request.query["commit_strategy"] == "vad" and pause and words(self.pcm)
        long = len(self.pcm) >= LONG
        if commit or by_pause or long:
            await self.commit()
        elif (text := partly(self.pcm)) not in ("", self.partial):
            self.partial = text
            await self.send({"message_type": "partial_transcript", "text": text})
        return True

    async def commit(self) -> None:
        text = understood(self.pcm)
        self.pcm, self.partial = b"", ""
        await self.send({"message_type": "committed_transcript", "text": text})
        if "include_timestamps" in self.request.query:
            more = {"words": timed(text), "language_code": "eng"}
            kind = "committed_transcript_with_timestamps"
            await self.send({"message_type": kind, "text": text, **more})

    async def send(self, message: dict[str, Any]) -> None:
        if self.service.fault is Fault.EMPTY:
            return
        await self.service.piece(self.request, self.sent)
        self.sent += 1
        if self.service.fault is Fault.GARBAGE:
            message["text"] = None
        await self.socket.send_json({**message, **self.service.other})


async def refuse(socket: web.WebSocketResponse, code: str) -> None:
    await socket.send_json({"message_type": code, "error": f"no, {KEY}"})
    await socket.close()


def detail(status: int, code: str) -> web.Response:
    body = {"detail": {"status": code, "message": f"no, {KEY}"}}
    return web.json_response(body, status=status)


def rate_of(request: web.Request) -> int:
    return int(request.query["output_format"].removeprefix("pcm_"))


# --- what it says ---------------------------------------------------------------------------------


def speech(voice: str, text: str, rate: int) -> bytes:
    """A tone whose pitch tells the voice."""
    return hum(SECONDS_PER_CHARACTER * len(text), hertz=pitch(voice), rate=rate)


def cut(whole: Any, count: int) -> Iterator[Any]:
    """As many pieces of about one size; of bytes, they end in the middle of a sample."""
    size = len(whole) // count
    ends = [(size | 1) * number if isinstance(whole, bytes) else size * number for number in (1, 2)]
    for start, end in zip([0, *ends], [*ends, len(whole)], strict=True):
        yield whole[start:end]


def alignment(characters: str, seconds: float) -> dict[str, Any]:
    """Each character takes as long as any other."""
    each = 1000 * seconds / max(1, len(characters))
    starts = [round(each * number) for number in range(len(characters))]
    durations = [round(each)] * len(characters)
    return {
        "chars": list(characters),
        "charStartTimesMs": starts,
        "charDurationsMs": durations,
    }


# --- what it hears --------------------------------------------------------------------------------


def words(pcm: bytes) -> bytes:
    """The samples that are not silence at either end."""
    start = len(pcm) - len(pcm.lstrip(b"\0"))
    return pcm[start - start % 2 :].rstrip(b"\0")


def understood(pcm: bytes) -> str:
    """The text of the recording that this is, with any silence around it."""
    said = words(pcm)
    if not said:
        return ""
    for name, text in TEXTS.items():
        if words(recording(name).pcm) == said:
            return text
    return ANOTHER


def partly(pcm: bytes) -> str:
    """The words of the recording of which this is the beginning, by its share."""
    said = words(pcm)
    for name, text in TEXTS.items():
        whole = words(recording(name).pcm)
        if said and whole.startswith(said):
            spoken = text.split()
            return " ".join(spoken[: int(len(spoken) * len(said) / len(whole))])
    return ANOTHER if said else ""


def timed(text: str) -> list[dict[str, Any]]:
    """Half a second for each word, and the spaces between them as the service tells them."""
    found: list[dict[str, Any]] = []
    for number, word in enumerate(text.split()):
        start = 0.5 * number
        found.append({"text": word, "start": start, "end": start + 0.4, "type": "word"})
        found.append({"text": " ", "start": start + 0.4, "end": start + 0.5, "type": "spacing"})
    return found[:-1]
