"""A server of index-tts-vllm with a tone for a voice: both versions of `POST /tts_url`.

It takes what the real ones take and nothing else, and answers what they refuse as they do: with
status 500 and a traceback as JSON. The real servers send their WAV file whole; this one sends it
in pieces of odd sizes, as a network may.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiohttp import web

from xtalk.audio import AudioFrame
from xtalk.testing.fakes import hum, pitch
from xtalk.testing.services import FakeService, Fault
from xtalk.wav import write_wav

SECONDS_PER_CHARACTER = 0.06
PIECES = 4


class FakeIndexTTS(FakeService):
    """`recordings` are the paths that exist on the server; `asked` holds every request."""

    rate = 24_000

    def __init__(self, folder: Path, recordings: Iterable[str]) -> None:
        super().__init__()
        self.asked: list[dict[str, Any]] = []
        self._file = folder / "answer.wav"
        self._recordings = set(recordings)

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        return [web.post("/tts_url", self.tts_url)]

    async def tts_url(self, request: web.Request) -> web.StreamResponse:
        await self.begin(request)
        try:
            asked = await request.json()
            self.asked.append(asked)
            hertz = self.hertz(asked)
            self.speakable(asked["text"])
        except Exception:
            error = {"status": "error", "error": traceback.format_exc()}
            return web.json_response(error, status=500)
        response = web.StreamResponse(headers={"Content-Type": "audio/wav"})
        if self.fault is Fault.GARBAGE:
            return web.json_response({"status": "well"})
        content = b"" if self.fault is Fault.EMPTY else self.wav(asked["text"], hertz)
        response.content_length = len(content)
        await response.prepare(request)
        size = len(content) // PIECES | 1
        for number in range(0, len(content), size):
            await self.piece(request, number // size)
            await response.write(content[number : number + size])
        return response

    def speakable(self, text: str) -> None:
        if not text.strip() or not text.isprintable():
            raise RuntimeError("torch.cat(): expected a non-empty list of Tensors")

    def wav(self, text: str, hertz: float) -> bytes:
        """A WAV file as soundfile writes it."""
        pcm = hum(SECONDS_PER_CHARACTER * len(text), hertz=round(hertz), rate=self.rate)
        write_wav(self._file, AudioFrame(pcm, self.rate))
        return self._file.read_bytes()

    def hertz(self, asked: dict[str, Any]) -> float:
        """The pitch that tells which recordings were spoken after."""
        _only(asked, {"text", "audio_paths"})
        paths = asked["audio_paths"]
        if not isinstance(paths, list) or not paths:
            raise ValueError("need at least one array to concatenate")
        return sum(map(self.pitch, paths)) / len(paths)

    def pitch(self, path: str) -> float:
        if path not in self._recordings:
            raise FileNotFoundError(path)
        return pitch(path)


class FakeIndexTTS2(FakeIndexTTS):
    """The second version: one voice, and an emotion by one of four methods."""

    rate = 22_050

    def hertz(self, asked: dict[str, Any]) -> float:
        method = asked.get("emo_control_method", 0)
        needed: set[str] = [set(), {"emo_ref_path"}, {"emo_vec"}, {"emo_text"}][method]
        _only(asked, {"text", "spk_audio_path", "emo_control_method", *needed})
        hertz = self.pitch(asked["spk_audio_path"])
        if method == 1:
            hertz += self.pitch(asked["emo_ref_path"])
        elif method == 2:
            vector = asked["emo_vec"]
            if len(vector) != 8 or sum(vector) > 1.5:
                raise ValueError("emo_vec")
            hertz += sum(50 * (place + 1) * value for place, value in enumerate(vector))
        elif method == 3:
            hertz += pitch(asked["emo_text"])
        return hertz


def _only(asked: dict[str, Any], keys: set[str]) -> None:
    if set(asked) != keys:
        raise KeyError(sorted(set(asked) ^ keys))
