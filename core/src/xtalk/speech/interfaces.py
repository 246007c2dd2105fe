"""What a speech model must offer, and what travels between the models.

A model overrides as little as it can. The engine calls the most specific method that the
class overrides: async before sync, streaming before one-shot. A sync method runs in a thread,
so it may block; an `inline = True` class promises that its calls take well under 5 ms and are
made on the event loop.

Every model may offer `open()` and `close()`, sync or async: called after it was built or
cloned for a session, and when that session ends.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from xtalk.audio import RATE_OUT, AudioFrame

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "ASR",
    "TTS",
    "VAD",
    "Captioner",
    "EndOfTurn",
    "PuntRestorer",
    "Sentence",
    "SpeakerEncoder",
    "Speech",
    "SpeechChunk",
    "SpeechEnhancer",
    "SpeechSpeedController",
    "Transcript",
    "TurnDetector",
    "Word",
]

# --- what travels: change these with dataclasses.replace, never by calling the constructor ------


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """One word and when it sounds, in seconds from the start of its segment or chunk."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcript:
    """What was understood of one segment of speech.

    `text` is the whole segment so far; a final one is followed by nothing. `stable` is the
    number of leading characters that will not change. `tag` is a semantic tag of the
    recogniser (`<complete>`, `<incomplete>`, `<wait>`, `<backchannel>`) or None.
    """

    text: str
    final: bool = False
    tag: str | None = None
    words: tuple[Word, ...] = ()
    lang: str | None = None
    confidence: float = 0.0
    stable: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Speech:
    """Somebody began or stopped to speak. `at` is the loop's time in seconds."""

    kind: Literal["start", "candidate_end", "end"]
    at: float
    source: Literal["client", "server"] = "server"
    probability: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """One piece of the reply that is synthesised in one go.

    `text` is what the page shows, `spoken` what the voice says, `span` the place of `text` in
    the whole reply (start and end, in characters).
    """

    index: int
    text: str
    spoken: str
    span: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeechChunk:
    """Audio of the reply and the sentence that it says; `words` with times where known."""

    audio: AudioFrame
    sentence: Sentence | None = None
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class EndOfTurn:
    """A turn detector's verdict on what was said so far."""

    kind: Literal["complete", "incomplete", "wait", "backchannel", "reject"]
    confidence: float = 1.0
    wait_ms: int | None = None
    reason: str = ""


# --- the models ---------------------------------------------------------------------------------


class ASR(ABC):
    """Speech recognition: PCM16 mono at 16 kHz in, text out.

    The smallest recogniser overrides `recognize`, `reset` and `clone`. A streaming one
    overrides `recognize_stream` (or its async twin). One that decodes a whole segment by itself
    overrides `transcribe`.
    """

    inline: ClassVar[bool] = False

    @abstractmethod
    def recognize(self, audio: bytes) -> str:
        """The text of a whole recording; "" when nothing was said. May block."""

    @abstractmethod
    def reset(self) -> None:
        """Forget the segment; the next audio belongs to a new one."""

    @abstractmethod
    def clone(self) -> ASR:
        """A recogniser for another session that shares nothing that changes."""

    def recognize_stream(self, audio: bytes, *, is_final: bool = False) -> str:
        """The text of the segment so far. Called in order, one call at a time; may block.

        With `is_final` the segment is over: the text is final, also when `audio` is empty.
        """
        self.__dict__.setdefault("_segment", bytearray()).extend(audio)
        if not is_final:
            return ""
        segment = bytes(self.__dict__.pop("_segment"))
        return self.recognize(segment) if segment else ""

    def stream_chunk_bytes_hint(self) -> int | None:
        """How many bytes at a time suit `recognize_stream`; None takes what there is."""
        return None

    async def async_recognize(self, audio: bytes) -> str:
        """`recognize` in a thread; override it when the recogniser is async by nature."""
        from xtalk.threads import run_in_thread

        return await run_in_thread(self.recognize, audio)

    async def async_recognize_stream(self, audio: bytes, *, is_final: bool = False) -> str:
        """`recognize_stream` in a thread; override it when the recogniser is async by nature."""
        from xtalk.threads import run_in_thread

        return await run_in_thread(self.recognize_stream, audio, is_final=is_final)

    def transcribe(self, frames: AsyncIterator[AudioFrame]) -> AsyncIterator[Transcript]:
        """One segment: frames until they end, partial transcripts, then exactly one final.

        A frame may hold any length: a slow recogniser finds all that has come since its last.
        """
        raise NotImplementedError

    def set_grammar(self, jsgf: str) -> None:
        """Expect what this grammar (JSpeech Grammar Format) says. Ignored where unsupported."""


class TTS(ABC):
    """Speech synthesis: text in, PCM16 mono at `output_rate` out.

    The smallest voice overrides `synthesize` and `clone`. A voice may also define
    `set_speed(speed: float)`, 0.5 to 1.5; without it the engine's speed controller is used.
    Streams may yield `bytes` at `output_rate`, `AudioFrame`s, or `SpeechChunk`s with words.
    """

    inline: ClassVar[bool] = False
    output_rate: int = RATE_OUT
    voices: Sequence[str] = ()
    emotions: Sequence[str] = ()

    @abstractmethod
    def synthesize(self, text: str) -> bytes:
        """The whole sentence. May block."""

    @abstractmethod
    def clone(self) -> TTS:
        """A voice for another session that shares nothing that changes."""

    def synthesize_stream(self, text: str, **kwargs: Any) -> Iterable[bytes]:
        """The sentence in pieces, the first as early as may be. Runs whole in one thread."""
        yield self.synthesize(text)

    async def async_synthesize(self, text: str, **kwargs: Any) -> bytes:
        """`synthesize` in a thread; override it when the voice is async by nature."""
        from xtalk.threads import run_in_thread

        return await run_in_thread(self.synthesize, text)

    def async_synthesize_stream(
        self, text: str, **kwargs: Any
    ) -> AsyncIterator[bytes | AudioFrame | SpeechChunk]:
        """`synthesize_stream` in a thread; override it when the voice is async by nature."""
        from xtalk.threads import iterate_in_thread

        return iterate_in_thread(lambda: self.synthesize_stream(text, **kwargs))

    def set_voice(self, voice_names: list[str]) -> None:
        """Speak with the first of these voices that exists; ValueError when none does.

        May block; like every change it is called between two sentences.
        """
        raise ValueError(f"{type(self).__name__} has only one voice")

    def set_emotion(self, emotion: str | list[float]) -> None:
        """Speak with this emotion, a name or a vector; ValueError when it is not known."""
        raise ValueError(f"{type(self).__name__} has no emotions")


class VAD(ABC):
    """Voice activity: is there speech in this frame of `frame_samples` samples at 16 kHz?

    One that is not `inline` is given up after 2 s, and what came meanwhile is not heard.
    """

    inline: ClassVar[bool] = False
    frame_samples: int = 512

    @abstractmethod
    def is_speech(self, frame: bytes) -> bool:
        """Whether this frame holds speech. Frames come in order, one call at a time."""

    def speech_probability(self, frame: bytes) -> float:
        """0 to 1. Override it where the model knows; the default says 1 or 0."""
        return float(self.is_speech(frame))

    def reset(self) -> None:
        """Forget what was heard."""

    def clone(self) -> VAD:
        """A detector for another session. The default copies everything that it holds."""
        return copy.deepcopy(self)

    async def async_is_speech(self, frame: bytes) -> bool:
        from xtalk.threads import run_in_thread

        return await run_in_thread(self.is_speech, frame)


class TurnDetector(ABC):
    """Has the speaker finished? Judged on the text so far.

    One that may take longer than a millisecond says `inline = False`. It then works in a thread,
    or on the loop where it overrides `async_judge`, and gets 200 ms; after that the turn counts
    as complete.
    """

    inline: ClassVar[bool] = True

    @abstractmethod
    def judge(self, text: str, *, silence_ms: float, agent_speaking: bool) -> EndOfTurn:
        """The verdict. Called with partial transcripts and with each final one.

        `silence_ms` is what has followed the text, by the energy of the audio; 0 for partial
        transcripts, whose `wait_ms` is all of the silence that is to end the turn.
        `agent_speaking` is true from the moment at which a reply is asked for until it is over.
        """

    async def async_judge(self, text: str, *, silence_ms: float, agent_speaking: bool) -> EndOfTurn:
        """`judge` in a thread; override it when the detector is async by nature."""
        from xtalk.threads import run_in_thread

        return await run_in_thread(
            self.judge, text, silence_ms=silence_ms, agent_speaking=agent_speaking
        )

    def clone(self) -> TurnDetector:
        return copy.deepcopy(self)


class SpeechEnhancer(ABC):
    """Noise suppression: PCM16 mono at 16 kHz in and out, in order, no sample lost or invented.

    One that is not `inline` is passed by when a call takes 2 s or it falls so far behind; `reset`
    is called before it is asked again.
    """

    inline: ClassVar[bool] = False

    @abstractmethod
    def enhance(self, audio: bytes) -> bytes:
        """What is ready after this audio; it may be behind."""

    @abstractmethod
    def clone(self) -> SpeechEnhancer:
        """An enhancer for another session that shares nothing that changes."""

    def flush(self) -> bytes:
        """What was held back."""
        return b""

    def reset(self) -> None:
        """Forget what was heard."""

    async def async_enhance(self, audio: bytes) -> bytes:
        from xtalk.threads import run_in_thread

        return await run_in_thread(self.enhance, audio)

    async def async_flush(self) -> bytes:
        from xtalk.threads import run_in_thread

        return await run_in_thread(self.flush)


class SpeakerEncoder(ABC):
    """Who speaks: a vector for a recording, and how alike two vectors are."""

    @abstractmethod
    def extract(self, audio: bytes) -> npt.NDArray[np.float32]:
        """The embedding of PCM16 at 16 kHz, shape (dimensions,). May block."""

    def similarity(self, a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
        """Cosine similarity, -1 to 1."""
        import numpy as np

        norm = float(np.linalg.norm(a) * np.linalg.norm(b))
        return float(np.dot(a, b)) / norm if norm else 0.0

    async def async_extract(self, audio: bytes) -> npt.NDArray[np.float32]:
        from xtalk.threads import run_in_thread

        return await run_in_thread(self.extract, audio)


class Captioner(ABC):
    """Describes how something sounds, in words."""

    @abstractmethod
    def caption(self, audio: bytes) -> str:
        """A sentence on PCM16 at 16 kHz. May block."""

    def caption_stream(self, audio: bytes) -> Iterable[str]:
        yield self.caption(audio)

    async def async_caption(self, audio: bytes) -> str:
        from xtalk.threads import run_in_thread

        return await run_in_thread(self.caption, audio)

    def async_caption_stream(self, audio: bytes) -> AsyncIterator[str]:
        from xtalk.threads import iterate_in_thread

        return iterate_in_thread(lambda: self.caption_stream(audio))


class PuntRestorer(ABC):
    """Puts punctuation into a recogniser's bare words."""

    @abstractmethod
    def restore(self, text: str) -> str:
        """The same words, punctuated. May block."""

    async def async_restore(self, text: str) -> str:
        from xtalk.threads import run_in_thread

        return await run_in_thread(self.restore, text)


class SpeechSpeedController(ABC):
    """Makes speech faster or slower without changing its pitch: PCM16 mono at 48 kHz."""

    inline: ClassVar[bool] = False

    @abstractmethod
    def process(self, audio: bytes, speed: float) -> bytes:
        """The audio at `speed` times its pace, 0.5 to 1.5; it may be behind."""

    def flush(self) -> bytes:
        """What was held back."""
        return b""

    def clone(self) -> SpeechSpeedController:
        return copy.deepcopy(self)

    async def async_process(self, audio: bytes, speed: float) -> bytes:
        from xtalk.threads import run_in_thread

        return await run_in_thread(self.process, audio, speed)
