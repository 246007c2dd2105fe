"""Grammars before they reach the recogniser: made from phrases, and checked word by word."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from xtalk.errors import ConfigError

__all__ = ["check_words", "from_phrases", "words"]

_NOT_WORDS = re.compile(
    r"""
      /\*.*?\*/ | //[^\n]*           # comments
    | ^\s*\#JSGF[^;]*;               # the header
    | \b(?:grammar|import)\s[^;]*;   # what the grammar is called and uses
    | \{[^}]*\}                      # tags
    | /\s*[\d.]+(?:[eE][+-]?\d+)?\s*/  # weights
    | <[^>]*>                        # rules
    | \bpublic\b
    """,
    re.VERBOSE | re.DOTALL,
)


def from_phrases(phrases: Iterable[str]) -> str:
    """JSGF that accepts exactly these phrases; ConfigError when there is none."""
    said = [" ".join(re.findall(r"[\w']+", phrase.lower())) for phrase in phrases]
    said = [phrase for phrase in said if phrase]
    if not said:
        raise ConfigError("PocketSphinx: `phrases` holds no words")
    return f"#JSGF V1.0;\ngrammar phrases;\npublic <phrase> = {' | '.join(said)};\n"


def words(jsgf: str) -> list[str]:
    """The words that a grammar wants to hear, each once, in order."""
    return list(dict.fromkeys(re.findall(r"[^\s=|;()\[\]*+\"]+", _NOT_WORDS.sub(" ", jsgf))))


def check_words(jsgf: str, known: Collection[str] = ()) -> None:
    """ConfigError that names the words which are neither in the dictionary nor `known`."""
    missing = {word for word in words(jsgf) if word not in known}
    with _dictionary().open(encoding="utf-8") as lines:
        for line in lines:
            missing.discard(line.split(" ", 1)[0])
    if missing:
        raise ConfigError(
            "PocketSphinx cannot expect words that its dictionary does not have: "
            f"{', '.join(sorted(missing))}. Write words in lower case, or say how they sound in "
            "`pronunciations`, such as {'xtalk': 'EH K S T AO K'}"
        )


def _dictionary() -> Path:
    """Found without importing pocketsphinx, which would load its library into this process."""
    spec = importlib.util.find_spec("pocketsphinx")
    if spec is None or spec.origin is None:
        raise ConfigError("PocketSphinx needs the package pocketsphinx: pip install pocketsphinx")
    return Path(spec.origin).parent / "model" / "en-us" / "cmudict-en-us.dict"
