"""Phonemes for the voices that read them, by the library of the extra `espeak`."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading

import espeakng_loader
import pytest
from tone_models import ToneModels
from xtalk_sherpa_onnx.phonemes import Phonemizer
from xtalk_sherpa_onnx.tts import SherpaOnnxTTS

from xtalk.errors import ConfigError


def spelt(text: str, voice: str = "en-us") -> list[str]:
    return ["".join(map(chr, sentence)) for sentence in Phonemizer(voice)(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello", ["həlˈoʊ"]),
        ("Hello, world. How are you?", ["həlˈoʊ, wˈɜːld.", "hˈaʊ ɑːɹ juː?"]),
        ("It is 3.14!", ["ɪɾ ɪz θɹˈiː pɔɪnt wˈʌn fˈɔːɹ!"]),
        ("Really?!", ["ɹˈiəli!"]),
        ("", []),
        ("  \n", []),
    ],
)
def test_marks_stay_and_end_sentences(text: str, expected: list[str]) -> None:
    assert spelt(text) == expected


def test_a_language_has_its_own_phonemes() -> None:
    assert spelt("Grüße, Welt.", "de") == ["ɡɾˈyːsə, vˈɛlt."]
    assert spelt("你好。世界！", "cmn") != spelt("你好。世界！")
    assert len(spelt("你好。世界！", "cmn")) == 2


@pytest.mark.parametrize(
    "text", ["a\0b", "\x01\x1b[0m", "\ud800", "👋", "<b>[[x]]</b>", "x" * 5000]
)
def test_no_text_does_harm(text: str) -> None:
    spelt(text)
    assert spelt("Hello") == ["həlˈoʊ"]


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(ConfigError, match="espeak-ng has no voice 'xx-none'"):
        Phonemizer("xx-none")


def test_many_threads_do_not_mix_their_languages() -> None:
    voices = ["en-us", "de", "fr", "es"] * 4
    alone = {voice: spelt("Hello, Berlin. Paris!", voice) for voice in voices}
    heard: list[tuple[str, list[str]]] = []

    def speak(voice: str) -> None:
        for _ in range(20):
            heard.append((voice, spelt("Hello, Berlin. Paris!", voice)))

    threads = [threading.Thread(target=speak, args=(voice,)) for voice in voices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(heard) == 320 and all(found == alone[voice] for voice, found in heard)


def test_another_user_of_the_library_is_not_disturbed() -> None:
    """xtalk-tts-espeak has the same library in the same process."""
    theirs = ctypes.CDLL(str(espeakng_loader.get_library_path()))
    data = str(espeakng_loader.get_data_path()).encode()
    assert theirs.espeak_Initialize(2, 60, data, 0x8000) > 0
    assert theirs.espeak_SetVoiceByName(b"de") == 0
    assert spelt("Hello") == ["həlˈoʊ"]
    theirs.espeak_TextToPhonemes.restype = ctypes.c_char_p
    text = ctypes.c_char_p("Grüße".encode())
    found = theirs.espeak_TextToPhonemes(ctypes.byref(text), 1, 2)
    assert found.decode() == "ɡɾˈyːsə"


def test_a_voice_that_reads_phonemes_speaks(tone_models: ToneModels) -> None:
    piper = SherpaOnnxTTS(str(tone_models.piper))
    short, long = piper.synthesize("Hello."), piper.synthesize("Hello, my dear old friend.")
    assert 0 < len(short) < len(long)


def test_without_the_library_it_says_what_to_install(tone_models: ToneModels) -> None:
    code = f"""
import sys
sys.modules["espeakng_loader"] = None
from xtalk.errors import ConfigError
from xtalk_sherpa_onnx.tts import SherpaOnnxTTS
try:
    SherpaOnnxTTS({str(tone_models.piper)!r})
except ConfigError as error:
    print(error)
"""
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert "pip install 'xtalk-sherpa-onnx[espeak]'" in said
    assert "xtalk models get lexicon-en-us" in said
