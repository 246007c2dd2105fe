"""libespeak-ng through ctypes: one thread that owns it, and streams of samples out of that.

The library is one global state (voice, rate, callback), so there is one `Library` a process,
and its thread speaks one piece of text after the other, in the order in which they were asked
for. That thread spends its time in C without the GIL; a piece of 10 s takes about 7 ms.
"""

from __future__ import annotations

import ctypes
import functools
import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xtalk.errors import ModelError

__all__ = ["Delivery", "Library", "library"]

# From espeak-ng/speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
CHARS_UTF8 = 1
ENDPAUSE = 0x1000
POS_CHARACTER = 1
RATE, PITCH = 1, 3

BUFFER_MS = 60

Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class VoiceStruct(ctypes.Structure):
    """`espeak_VOICE`."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class Delivery:
    """How to say it: a voice that `Library.find` returned, words a minute, pitch 0 to 100."""

    voice: str
    words_per_minute: int
    pitch: int


@dataclass(eq=False)
class _Job:
    text: bytes
    delivery: Delivery
    # Bounded by the length of the text, which the caller bounds.
    chunks: queue.SimpleQueue[bytes | ModelError | None] = field(default_factory=queue.SimpleQueue)
    cancelled: bool = False


class Library:
    """The one libespeak-ng of this process; get it from `library()`."""

    def __init__(self) -> None:
        import espeakng_loader

        self._data = Path(espeakng_loader.get_data_path())
        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        self._lib.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(VoiceStruct))
        self.sample_rate: int = self._lib.espeak_Initialize(
            AUDIO_OUTPUT_SYNCHRONOUS, BUFFER_MS, str(self._data).encode(), INITIALIZE_DONT_EXIT
        )
        if self.sample_rate <= 0:
            raise ModelError(f"espeak-ng cannot start with its data in {self._data}")
        self._voices = self._list_voices()
        self._variants = {path.name for path in (self._data / "voices" / "!v").iterdir()}
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._job: _Job | None = None
        self._delivery: Delivery | None = None
        # ctypes frees a callback that nobody holds, though the library still calls it.
        self._callback = Callback(self._on_samples)
        self._lib.espeak_SetSynthCallback(self._callback)
        threading.Thread(target=self._serve, name="espeak-ng", daemon=True).start()

    def find(self, voice: str) -> str | None:
        """The library's own name of a voice ("en-us", "English (America)", "en-us+f3"), or None.

        Only listed voices and variants are found: the library itself would open any file.
        """
        name, plus, variant = voice.strip().partition("+")
        found = self._voices.get(name.lower())
        if found is None or (plus and variant not in self._variants):
            return None
        return f"{found}{plus}{variant}"

    def speak(self, text: str, delivery: Delivery) -> Generator[bytes, None, None]:
        """PCM16 as it is made, the first after 0.2 ms. Closing the iterator stops the making."""
        job = _Job(text.encode("utf-8", "replace") + b"\0", delivery)
        self._jobs.put(job)
        try:
            while (chunk := job.chunks.get()) is not None:
                if isinstance(chunk, ModelError):
                    raise chunk
                yield chunk
        finally:
            job.cancelled = True

    def _serve(self) -> None:
        while True:
            self._job = job = self._jobs.get()
            if not job.cancelled and not self._synthesize(job):
                job.chunks.put(ModelError("espeak-ng refused to speak a text"))
            job.chunks.put(None)

    def _synthesize(self, job: _Job) -> bool:
        if job.delivery != self._delivery:
            self._set_delivery(job.delivery)
        status = self._lib.espeak_Synth(
            job.text,
            ctypes.c_size_t(len(job.text)),
            0,
            POS_CHARACTER,
            0,
            CHARS_UTF8 | ENDPAUSE,
            None,
            None,
        )
        return bool(status == 0)

    def _set_delivery(self, delivery: Delivery) -> None:
        # Rate and pitch after the voice, whose file may set its own.
        self._lib.espeak_SetVoiceByName(delivery.voice.encode())
        self._lib.espeak_SetParameter(RATE, delivery.words_per_minute, 0)
        self._lib.espeak_SetParameter(PITCH, delivery.pitch, 0)
        self._delivery = delivery

    def _on_samples(self, samples: Any, count: int, _events: Any) -> int:
        """Called in C for each buffer; 1 stops the synthesis."""
        job = self._job
        assert job is not None
        if job.cancelled:
            return 1
        if samples and count > 0:
            job.chunks.put(ctypes.string_at(samples, 2 * count))
        return 0

    def _list_voices(self) -> dict[str, str]:
        """Name, languages and identifier, in lower case, of every voice -> its identifier."""
        voices: dict[str, str] = {}
        listed = self._lib.espeak_ListVoices(None)
        index = 0
        while listed[index]:
            voice = listed[index].contents
            names = [voice.name, voice.identifier, *_languages(voice.languages)]
            for name in names:
                voices.setdefault(name.decode().lower(), voice.identifier.decode())
            index += 1
        return voices


def _languages(address: int) -> Iterator[bytes]:
    """The library's list: a byte of priority, a zero-terminated name, ..., a zero byte."""
    while ctypes.string_at(address, 1) != b"\0":
        language = ctypes.string_at(address + 1)
        yield language
        address += len(language) + 2


_loading = threading.Lock()


def library() -> Library:
    """The library, loaded at the first call; later calls are free."""
    with _loading:
        return _load()


@functools.cache
def _load() -> Library:
    return Library()
