"""Text to phonemes with eSpeak NG, for the models that read those.

sherpa-onnx has had no espeak-ng in it since 2.0 and takes the phonemes from its caller. The
extra `espeak` brings the library, which is under the GPL.
"""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import tempfile
import threading
import unicodedata
from pathlib import Path
from typing import Any

from xtalk.errors import ConfigError

__all__ = ["Phonemizer"]

# From espeak-ng/speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
CHARS_UTF8 = 1
PHONEMES_IPA = 2

# A clause and the mark at its end, which espeak-ng drops and the models read. A mark inside a word
# or a number ends nothing.
CLAUSE = re.compile(r"(.+?)(?:([.,;:!?])+(?=\s|\Z)|([。，；：！？])|\Z)", re.DOTALL)
ASCII_MARKS = str.maketrans("。，；：！？", ".,;:!?")
ENDS = ".!?"
PIECE = re.compile(r".{1,200}(?:\s|\Z)|.{1,200}", re.DOTALL)  # Kokoro cannot take 510
LANGUAGE_SWITCH = re.compile(r"\([^)]*\)")


class Phonemizer:
    """The phonemes of a text in the language of a voice of espeak-ng, such as en-us."""

    def __init__(self, voice: str) -> None:
        self._voice = voice.encode()
        with _LOCK:
            self._use_voice()

    def __call__(self, text: str) -> list[list[int]]:
        """One list of code points a sentence, marks included, as Piper spells them.

        A sentence of more than 200 is cut, where there is one at a space.
        """
        sentences, sentence = [], ""
        for clause, western, eastern in CLAUSE.findall(text):
            mark = (western or eastern).translate(ASCII_MARKS)
            sentence += self._say(clause) + mark
            if mark and mark in ENDS:
                sentences.append(sentence)
                sentence = ""
            else:
                sentence += " "
        spoken = [unicodedata.normalize("NFD", part.strip()) for part in (*sentences, sentence)]
        return [[*map(ord, piece)] for part in spoken for piece in PIECE.findall(part)]

    def _say(self, clause: str) -> str:
        """Without the flags of a change of language, which are no phonemes."""
        text = ctypes.create_string_buffer(clause.replace("\0", " ").encode("utf-8", "replace"))
        rest = ctypes.c_void_p(ctypes.addressof(text))
        said = []
        with _LOCK:
            self._use_voice()
            while rest.value:
                part = _library().espeak_TextToPhonemes(
                    ctypes.byref(rest), CHARS_UTF8, PHONEMES_IPA
                )
                said.append((part or b"").decode("utf-8", "replace"))
        return LANGUAGE_SWITCH.sub("", " ".join(filter(None, said)))

    def _use_voice(self) -> None:
        if _library().espeak_SetVoiceByName(self._voice) != 0:
            raise ConfigError(f"espeak-ng has no voice {self._voice.decode()!r}")


_LOCK = threading.Lock()  # the library is one global state


@functools.lru_cache(maxsize=1)
def _library() -> Any:
    """Our own copy, because the voice of another plugin may use the library at the same time."""
    try:
        import espeakng_loader
    except ImportError:
        raise ConfigError(
            "this model reads phonemes, and sherpa-onnx does not make them: run "
            "pip install 'xtalk-sherpa-onnx[espeak]', or for English run "
            'xtalk models get lexicon-en-us and give options = { lexicon = "lexicon-en-us" }'
        ) from None
    original = Path(espeakng_loader.get_library_path())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        library = ctypes.CDLL(shutil.copy(original, folder))
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    data = str(espeakng_loader.get_data_path()).encode()
    if library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, data, INITIALIZE_DONT_EXIT) <= 0:
        raise ConfigError("espeak-ng cannot start; is espeakng-loader installed whole?")
    return library
