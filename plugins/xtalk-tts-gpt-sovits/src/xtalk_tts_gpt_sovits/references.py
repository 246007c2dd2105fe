"""The reference recordings of a configuration: what a voice speaks after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

from xtalk.errors import ConfigError

__all__ = ["Reference", "read_references"]

SUFFIXES = {".wav", ".mp3", ".ogg", ".flac", ".m4a"}
KEYS = {"ref_audio_path", "aux_ref_audio_paths", "prompt_text", "prompt_lang"}


@dataclass(frozen=True)
class Reference:
    """Paths as the server knows them; what is said in the recording, "" where nobody knows."""

    ref_audio_path: str
    prompt_text: str
    prompt_lang: str
    aux_ref_audio_paths: tuple[str, ...] = ()

    def asked(self) -> dict[str, Any]:
        """As the server is asked for it."""
        return {**vars(self), "aux_ref_audio_paths": list(self.aux_ref_audio_paths)}


def read_references(
    paths: Sequence[str],
    voices: Mapping[str, str | Mapping[str, Any]],
    prompt_text: str,
    prompt_lang: str,
) -> tuple[Reference, dict[str, Reference]]:
    """The one to begin with, and all by name. ConfigError when there is none.

    The first of `paths` is spoken after, the others lend their tone; each is also a voice of its
    own, by the name of its file. A folder on this machine stands for its recordings.
    """
    files = [file for path in paths for file in _recordings(path)]
    named = {name: _voice(name, how, prompt_text, prompt_lang) for name, how in voices.items()}
    for file in files:
        named.setdefault(_stem(file), Reference(file, prompt_text, prompt_lang))
    if files:
        return Reference(files[0], prompt_text, prompt_lang, tuple(files[1:])), named
    if not named:
        raise ConfigError(
            "GPTSoVITS has no recording to speak after; give ref_audio_paths, or voices by name, "
            "with paths on its server"
        )
    return next(iter(named.values())), named


def _voice(
    name: str, how: str | Mapping[str, Any], prompt_text: str, prompt_lang: str
) -> Reference:
    if isinstance(how, str):
        return Reference(how, prompt_text, prompt_lang)
    if "ref_audio_path" not in how or not set(how) <= KEYS:
        raise ConfigError(
            f"voices.{name} has {', '.join(how) or 'nothing'}; expected ref_audio_path and, "
            f"if you like, {', '.join(sorted(KEYS - {'ref_audio_path'}))}"
        )
    return Reference(
        str(how["ref_audio_path"]),
        str(how.get("prompt_text", prompt_text)),
        str(how.get("prompt_lang", prompt_lang)),
        tuple(map(str, how.get("aux_ref_audio_paths", ()))),
    )


def _recordings(path: str) -> Iterator[str]:
    folder = Path(path)
    if not folder.is_dir():
        yield path
        return
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise ConfigError(
            f"the folder {path} of ref_audio_paths holds no recording "
            f"({', '.join(sorted(SUFFIXES))})"
        )
    yield from map(str, files)


def _stem(path: str) -> str:
    """The name of a file, also of one on a server with Windows."""
    return (PureWindowsPath(path) if "\\" in path else PurePath(path)).stem
