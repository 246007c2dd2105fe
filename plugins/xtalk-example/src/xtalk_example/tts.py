"""A voice that plays a tone for each character."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import Any

from xtalk.speech.interfaces import TTS

PITCH = {"low": 220.0, "high": 440.0}  # Hz, of the lowest tone


class ToneTTS(TTS):
    """Every character sounds for `character_ms`, a space is silent: PCM16 mono at 48 kHz."""

    output_rate = 48_000
    voices = tuple(PITCH)

    def __init__(self, voice: str = "high", character_ms: int = 60) -> None:
        self._character_ms = character_ms
        self._speed = 1.0
        self.set_voice([voice])

    def synthesize(self, text: str) -> bytes:
        return b"".join(self.synthesize_stream(text))

    def synthesize_stream(self, text: str, **kwargs: Any) -> Iterator[bytes]:
        samples = round(self.output_rate * self._character_ms / 1000 / self._speed)
        for character in text:
            frequency = PITCH[self._voice] * (1 + ord(character.lower()) % 32 / 32)
            yield silence(samples) if character.isspace() else tone(frequency, samples)

    def set_voice(self, voice_names: list[str]) -> None:
        known = [name for name in voice_names if name in PITCH]
        if not known:
            raise ValueError(f"no voice is called {voice_names}; there are {list(PITCH)}")
        self._voice = known[0]

    def set_speed(self, speed: float) -> None:
        self._speed = speed

    def clone(self) -> ToneTTS:
        twin = ToneTTS(self._voice, self._character_ms)
        twin.set_speed(self._speed)
        return twin


def silence(samples: int) -> bytes:
    return bytes(2 * samples)


def tone(frequency: float, samples: int) -> bytes:
    """A sine that swells and fades, so that tones in a row do not click."""
    step = 2 * math.pi * frequency / ToneTTS.output_rate
    swell = math.pi / samples
    return array(
        "h", (round(8000 * math.sin(swell * i) * math.sin(step * i)) for i in range(samples))
    ).tobytes()
