"""One segment of speech in a recogniser of the process: samples in, what is heard so far out.

    OnlineSegment     decoded as it comes, over the recogniser's own endpoints
    OfflineSegment    decoded as a whole, and again each time it has grown by half

Both block while they decode, and belong to one thread at a time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from xtalk.audio import RATE_IN, pcm_to_float
from xtalk.errors import ModelError
from xtalk.speech.interfaces import Transcript, Word
from xtalk.speech.remote import Growth
from xtalk_sherpa_onnx.recognisers import Recogniser

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["OfflineSegment", "OnlineSegment", "Segment", "begin", "joined", "timed_words"]


class Segment(Protocol):
    """PCM16 at 16 kHz goes in; out comes the whole text so far."""

    def push(self, pcm: bytes) -> Transcript:
        """What is heard so far."""

    def end(self, pcm: bytes = b"") -> Transcript:
        """The final text, with this audio as the last."""


def begin(recogniser: Recogniser, tail_s: float | None = None) -> Segment:
    """A new segment. `tail_s` replaces the silence that the recogniser says it needs at the end."""
    if recogniser.online:
        return OnlineSegment(recogniser.sherpa, recogniser.tail_s if tail_s is None else tail_s)
    return OfflineSegment(recogniser.sherpa)


class OnlineSegment:
    """A stream. At an endpoint the recogniser begins anew; the text before it is kept here."""

    def __init__(self, sherpa: Any, tail_s: float) -> None:
        self._sherpa = sherpa
        self._stream = sherpa.create_stream()
        self._tail_s = tail_s
        self._before = Transcript(text="")
        self._empty = True

    def push(self, pcm: bytes) -> Transcript:
        self._accept(pcm)
        with _told():
            return self._decode()

    def end(self, pcm: bytes = b"") -> Transcript:
        self._accept(pcm)
        if self._empty:
            return Transcript(text="", final=True)
        self._stream.accept_waveform(RATE_IN, _silence(self._tail_s))
        self._stream.input_finished()
        with _told():
            return replace(self._decode(), final=True)

    def _accept(self, pcm: bytes) -> None:
        if pcm:
            self._empty = False
            self._stream.accept_waveform(RATE_IN, pcm_to_float(pcm))

    def _decode(self) -> Transcript:
        while self._sherpa.is_ready(self._stream):
            self._sherpa.decode_stream(self._stream)
            if self._sherpa.is_endpoint(self._stream):
                self._before = self._heard()
                self._sherpa.reset(self._stream)
        return self._heard()

    def _heard(self) -> Transcript:
        result = self._sherpa.get_result_all(self._stream)
        text = joined(self._before.text, result.text.strip())
        words = timed_words(result.tokens, result.timestamps, result.start_time)
        stable = len(self._before.text)
        return Transcript(text=text, words=self._before.words + words, stable=stable)


class OfflineSegment:
    """A recording."""

    def __init__(self, sherpa: Any) -> None:
        self._sherpa = sherpa
        self._pcm = bytearray()
        self._growth = Growth()
        self._last = Transcript(text="")

    def push(self, pcm: bytes) -> Transcript:
        self._pcm += pcm
        if self._growth.is_due(len(self._pcm)):
            began = time.perf_counter()
            self._last = self._decode()
            self._growth.took_s = time.perf_counter() - began
        return self._last

    def end(self, pcm: bytes = b"") -> Transcript:
        self._pcm += pcm
        return replace(self._decode() if self._pcm else self._last, final=True)

    def _decode(self) -> Transcript:
        with _told():
            stream = self._sherpa.create_stream()
            stream.accept_waveform(RATE_IN, pcm_to_float(bytes(self._pcm)))
            self._sherpa.decode_stream(stream)
            result = stream.result
        words = timed_words(result.tokens, result.timestamps)
        return Transcript(text=result.text.strip(), words=words, lang=_language(result))


class _told:
    """Turns what sherpa-onnx raises while it decodes into a sentence."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (RuntimeError, IndexError)) and not isinstance(error, ModelError):
            raise ModelError(
                "sherpa-onnx cannot decode with this model; check that its files and its tokens "
                "belong together and that the kind is right."
            ) from error


def _silence(seconds: float) -> npt.NDArray[np.float32]:
    import numpy as np

    return np.zeros(round(seconds * RATE_IN), np.float32)


def _language(result: Any) -> str | None:
    """What the model says that it heard: SenseVoice writes it `<|en|>`."""
    return str(getattr(result, "lang", "")).strip("<|>") or None


# --- words --------------------------------------------------------------------------------------


def joined(before: str, after: str) -> str:
    """Two texts that follow each other, with a space unless one is written without."""
    if not before or not after:
        return before or after
    return before + after if _has_no_spaces(before[-1] + after[0]) else f"{before} {after}"


def _has_no_spaces(letters: str) -> bool:
    """Whether these are of a script without spaces between words: Chinese, kana, Thai."""
    return all(_is_east_asian(letter) for letter in letters)


def _is_east_asian(letter: str) -> bool:
    return "\u0e00" <= letter <= "\u0eff" or "\u2e80" <= letter <= "\ua4cf" or letter >= "\uf900"


def timed_words(
    tokens: Sequence[str], times: Sequence[float], offset: float = 0.0
) -> tuple[Word, ...]:
    """The words that the tokens make, each with its time; none where the model gives no times.

    A model tells when a token begins: a word ends here where its last token begins.
    """
    if len(tokens) != len(times):
        return ()
    words: list[Word] = []
    for token, begin_s in zip(tokens, times, strict=True):
        text = token.replace("▁", " ").strip()
        at = offset + begin_s
        if not text or text.startswith("<|"):
            continue
        if words and not _begins_word(token, text, words[-1].text):
            words[-1] = replace(words[-1], text=words[-1].text + text, end=at)
        else:
            words.append(Word(text=text, start=at, end=at))
    return tuple(words)


def _begins_word(token: str, text: str, last: str) -> bool:
    return token[0] in " ▁" or _is_east_asian(text[0]) or _is_east_asian(last[-1])
