"""The recordings that the voices of a configuration speak after: by voice, then by emotion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from xtalk.errors import ConfigError

__all__ = ["DEFAULT", "NEUTRAL", "Recordings", "read_voices"]

NEUTRAL = "neutral"
SUFFIXES = {".wav", ".mp3", ".ogg", ".flac", ".m4a"}

Recordings = dict[str, str]
"""Emotion -> path of the recording, as the server knows it."""

# Comes with the server, relative to the folder in which it is started.
DEFAULT: dict[str, Recordings] = {"default": {NEUTRAL: "assets/jay_promptvn.wav"}}


def read_voices(
    voices: Sequence[Mapping[str, str]] | Mapping[str, str] | None,
) -> dict[str, Recordings]:
    """The voices by name; ConfigError when they cannot be read.

    A path that is a folder on this machine holds one recording for each emotion; any other
    path is the server's, and is not looked at.
    """
    if not voices:
        return DEFAULT
    found: dict[str, Recordings] = {}
    for name, path in _pairs(voices):
        if name in found:
            raise ConfigError(f"voices has two voices called {name!r}; give each a name of its own")
        found[name] = _recordings(name, path)
    return found


def _pairs(
    voices: Sequence[Mapping[str, str]] | Mapping[str, str],
) -> Iterator[tuple[str, str]]:
    if isinstance(voices, Mapping):
        yield from voices.items()
        return
    for number, voice in enumerate(voices):
        if set(voice) != {"name", "path"} or not voice["name"] or not voice["path"]:
            raise ConfigError(
                f"voices[{number}] has {', '.join(voice) or 'nothing'}; expected name and path"
            )
        yield voice["name"], voice["path"]


def _recordings(name: str, path: str) -> Recordings:
    folder = Path(path)
    if not folder.is_dir():
        return {NEUTRAL: path}
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise ConfigError(
            f"the voice {name!r} has the folder {path}, which holds no recording "
            f"({', '.join(sorted(SUFFIXES))})"
        )
    return dict(_by_emotion(name, files))


def _by_emotion(name: str, files: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """`anna.wav` is neutral, `anna_sad.wav` and `sad.wav` are sad."""
    for file in files:
        stem = NEUTRAL if file.stem == name else file.stem
        yield stem.removeprefix(f"{name}_") or NEUTRAL, str(file)
