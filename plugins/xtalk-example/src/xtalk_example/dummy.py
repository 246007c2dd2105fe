"""The dummies of the original X-Talk, with the arguments that they had there."""

from __future__ import annotations

import wave
from typing import Any

from xtalk.agent import Agent
from xtalk.errors import AudioError
from xtalk.speech.interfaces import TTS
from xtalk_example.asr import FixedASR


class DummyASR(FixedASR):
    """Any sound at all is `default_text`."""

    def __init__(self, default_text: str = "This is a dummy ASR test text") -> None:
        super().__init__(default_text)

    def clone(self) -> DummyASR:
        return DummyASR(self._text)


class DummyAgent(Agent):
    """Answers `default_response` to everything."""

    inline = True

    def __init__(self, default_response: str = "This is a dummy agent response") -> None:
        self._response = default_response

    def generate(self, input: str | dict[str, Any]) -> str:
        return self._response

    def clone(self) -> DummyAgent:
        return DummyAgent(self._response)


class DummyTTS(TTS):
    """Plays `audio_file`, a WAV file of PCM16 mono, or else one second of silence.

    The original sent the file with its header; this sends samples only, at `self.output_rate`.
    """

    def __init__(self, audio_file: str | None = None, sample_rate: int = 48_000) -> None:
        self._audio_file = audio_file
        self.output_rate = sample_rate
        self._pcm = bytes(2 * sample_rate)
        if audio_file is not None:
            self._pcm, self.output_rate = _read(audio_file)

    def synthesize(self, text: str) -> bytes:
        return self._pcm if text.strip() else b""

    def clone(self) -> DummyTTS:
        return DummyTTS(self._audio_file, self.output_rate)


def _read(path: str) -> tuple[bytes, int]:
    with wave.open(path, "rb") as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise AudioError(
                f"DummyTTS plays 16-bit mono, but {path} has {file.getnchannels()} channels "
                f"of {8 * file.getsampwidth()} bits"
            )
        return file.readframes(file.getnframes()), file.getframerate()
