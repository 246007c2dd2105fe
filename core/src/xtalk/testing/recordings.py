"""The recordings that come with xtalk: one short English sentence each, spoken by flite.

They are synthetic; `data/README.md` says how they were made. 16 kHz, mono, PCM16, with 0.3 s of
silence in front and 0.8 s behind.
"""

from __future__ import annotations

import wave
from pathlib import Path

from xtalk.audio import AudioFrame

__all__ = ["TEXTS", "path", "recording"]

TEXTS = {
    "what-time-is-it": "what time is it",
    "two-plus-three": "what is two plus three",
    "what-can-you-do": "what can you do",
}
"""What is said, by the name of the recording."""


def path(name: str) -> Path:
    """The WAV file; KeyError with the names that exist when there is none of this name."""
    if name not in TEXTS:
        raise KeyError(f"no recording named {name!r}; there are: {', '.join(TEXTS)}")
    return Path(__file__).parent / "data" / f"{name}.wav"


def recording(name: str) -> AudioFrame:
    """The whole recording as one frame."""
    with wave.open(str(path(name))) as file:
        return AudioFrame(file.readframes(file.getnframes()), file.getframerate())
