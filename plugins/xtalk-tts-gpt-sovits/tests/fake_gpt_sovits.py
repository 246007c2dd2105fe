"""GPT-SoVITS's `api_v2.py` with a tone for a voice: `POST /tts`.

It refuses what the real server refuses, with its status and its JSON, and takes no parameter
that the real one does not know. With `streaming_mode` it sends the header of a WAV file of
unknown size, as the real one does, and then part after part.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Iterable, Iterator
from typing import Any

from aiohttp import web

from xtalk.testing.fakes import hum, pitch
from xtalk.testing.services import FakeService, Fault

RATE = 32_000
SECONDS_PER_CHARACTER = 0.06
PARTS = 3

LANGUAGES = {"auto", "auto_yue", "zh", "en", "ja", "yue", "ko"}
LANGUAGES |= {f"all_{language}" for language in ("zh", "ja", "yue", "ko")}
CUTS = {f"cut{number}" for number in range(6)}
TYPES: dict[str, type | tuple[type, ...]] = {
    "text": str,
    "text_lang": str,
    "ref_audio_path": str,
    "aux_ref_audio_paths": list,
    "prompt_text": str,
    "prompt_lang": str,
    "top_k": int,
    "top_p": (int, float),
    "temperature": (int, float),
    "text_split_method": str,
    "batch_size": int,
    "batch_threshold": float,
    "split_bucket": bool,
    "speed_factor": float,
    "fragment_interval": float,
    "seed": int,
    "media_type": str,
    "streaming_mode": (bool, int),
    "parallel_infer": bool,
    "repetition_penalty": float,
    "sample_steps": int,
    "super_sampling": bool,
}


class FakeGPTSoVITS(FakeService):
    """`recordings` are the paths that exist on the server; `asked` holds every request."""

    def __init__(self, recordings: Iterable[str]) -> None:
        super().__init__()
        self.asked: list[dict[str, Any]] = []
        self._recordings = set(recordings)

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.post("/tts", self.tts)]

    async def tts(self, request: web.Request) -> web.StreamResponse:
        await self.begin(request)
        asked = await request.json()
        self.asked.append(asked)
        wrong = {name for name, value in asked.items() if not isinstance(value, TYPES[name])}
        if wrong:
            return web.json_response({"detail": sorted(wrong)}, status=422)
        refusal = self.refusal(asked)
        if refusal is not None:
            return web.json_response(refusal, status=400)
        response = web.StreamResponse(headers={"Content-Type": "audio/wav"})
        await response.prepare(request)
        for number, part in enumerate(self.answer(asked)):
            if number:  # the header is nothing yet
                await self.piece(request, number - 1)
            await response.write(part)
        return response

    def refusal(self, asked: dict[str, Any]) -> dict[str, str] | None:
        for name in ("ref_audio_path", "text", "text_lang", "prompt_lang"):
            if not asked.get(name):
                return {"message": f"{name} is required"}
        for name in ("text_lang", "prompt_lang"):
            if asked[name].lower() not in LANGUAGES:
                return {"message": f"{name}: {asked[name]} is not supported in version v2"}
        if asked["media_type"] != "wav" or asked["text_split_method"] not in CUTS:
            return {"message": f"text_split_method:{asked['text_split_method']} is not supported"}
        if int(asked["streaming_mode"]) not in range(4):
            return {"message": "the value of streaming_mode must be 0, 1, 2, 3(int) or true/false"}
        missing = {asked["ref_audio_path"], *asked["aux_ref_audio_paths"]} - self._recordings
        if missing:
            return {"message": "tts failed", "Exception": f"{missing.pop()} not exists"}
        return None

    def answer(self, asked: dict[str, Any]) -> Iterator[bytes]:
        """A header, and parts behind it; one part, with the right size in front, if whole."""
        if self.fault is Fault.EMPTY:
            return
        if self.fault is Fault.GARBAGE:
            yield b'{"message": "well"}'
            return
        pcm = self.speech(asked)
        if not asked["streaming_mode"]:
            yield b""
            yield header(pcm)
            return
        yield header(b"")
        size = (len(pcm) // PARTS | 1) + 2  # odd: a network cuts where it likes
        for start in range(0, len(pcm), size):
            yield pcm[start : start + size]

    def speech(self, asked: dict[str, Any]) -> bytes:
        """A tone whose pitch tells after whom it speaks."""
        paths = [asked["ref_audio_path"], *asked["aux_ref_audio_paths"]]
        hertz = sum(map(pitch, paths)) // len(paths)
        seconds = SECONDS_PER_CHARACTER * len(asked["text"]) / asked["speed_factor"]
        return hum(seconds, hertz=hertz, rate=RATE)


def header(pcm: bytes) -> bytes:
    """A WAV file of these samples; with none, the header that the real server streams behind."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm)
    return buffer.getvalue()
