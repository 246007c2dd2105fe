"""The voice of eSpeak NG: names of voices, pace and pitch, and text made safe for it."""

from __future__ import annotations

import copy
import re
from collections.abc import Generator
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from xtalk.errors import ConfigError, ModelError
from xtalk.speech.interfaces import TTS
from xtalk_tts_espeak.library import Delivery, library

__all__ = ["VOICES", "Espeak"]

# What a person would ask for -> what espeak-ng calls it.
VOICES = {
    "American": "en-us",
    "American woman": "en-us+f3",
    "British": "en-gb",
    "British woman": "en-gb+f3",
    "Scottish": "en-gb-scotland",
    "Mandarin": "cmn",
    "Cantonese": "yue",
    "French": "fr-fr",
    "German": "de",
    "Spanish": "es",
    "Italian": "it",
    "Portuguese": "pt-br",
    "Russian": "ru",
    "Japanese": "ja",
    "Hindi": "hi",
    "Arabic": "ar",
}

WORDS_PER_MINUTE = 175

# espeak-ng takes control characters for commands; the lone halves of a surrogate pair are no text.
UNSPEAKABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")

# One session speaks at most this much before another one gets its turn: at most 400 characters,
# up to the end of the text, else of a sentence, else of a clause or word, else wherever we are.
PIECE = re.compile(
    r".{1,400}\Z | .{1,398}(?:[.!?](?=\s)|[。！？\n]) | .{1,399}[\s,;:，；：、] | .{1,400}",
    re.VERBOSE | re.DOTALL,
)


class Espeak(TTS):
    """eSpeak NG. A sentence of 3 s takes 2 ms, its first chunk 0.2 ms."""

    output_rate = 22_050
    voices = tuple(VOICES)

    def __init__(
        self,
        voice: Annotated[
            str, Field(description="a name such as British, or an espeak-ng voice such as en-us+f3")
        ] = "en-us",
        speed: Annotated[float, Field(ge=0.5, le=1.5, description="1 is 175 words a minute")] = 1.0,
        pitch: Annotated[int, Field(ge=0, le=100, description="how high the voice is")] = 50,
    ) -> None:
        if library().sample_rate != self.output_rate:
            raise ModelError(
                f"espeak-ng speaks at {library().sample_rate} Hz, expected {self.output_rate}"
            )
        found = _find(voice)
        if found is None:
            raise ConfigError(f"espeak-ng has no voice {voice!r}; try {', '.join(VOICES)}")
        self._delivery = Delivery(found, WORDS_PER_MINUTE, pitch)
        self.set_speed(speed)

    def synthesize(self, text: str) -> bytes:
        return b"".join(self.synthesize_stream(text))

    def synthesize_stream(self, text: str, **kwargs: Any) -> Generator[bytes, None, None]:
        """Chunks of 60 ms as the library makes them; nothing for a text without words."""
        speakable = UNSPEAKABLE.sub(" ", text)
        for piece in PIECE.finditer(speakable):
            if any(character.isalnum() for character in piece[0]):
                yield from library().speak(piece[0], self._delivery)

    def set_voice(self, voice_names: list[str]) -> None:
        for name in voice_names:
            found = _find(name)
            if found is not None:
                self._delivery = replace(self._delivery, voice=found)
                return
        raise ValueError(f"espeak-ng has no voice {' or '.join(map(repr, voice_names))}")

    def set_speed(self, speed: float) -> None:
        """0.5 to 1.5 times the usual pace; ValueError outside."""
        if not 0.5 <= speed <= 1.5:
            raise ValueError(f"a speed lies between 0.5 and 1.5, got {speed:g}")
        self._delivery = replace(self._delivery, words_per_minute=round(WORDS_PER_MINUTE * speed))

    def clone(self) -> Espeak:
        return copy.copy(self)


def _find(voice: str) -> str | None:
    by_name = {name.lower(): identifier for name, identifier in VOICES.items()}
    return library().find(by_name.get(voice.strip().lower(), voice))
