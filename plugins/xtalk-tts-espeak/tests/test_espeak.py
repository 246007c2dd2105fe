"""What is particular to eSpeak NG: its voices, its one library, and its commands in the text."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from itertools import pairwise

import pytest
from xtalk_tts_espeak.espeak import PIECE, VOICES, Espeak
from xtalk_tts_espeak.library import Delivery, library

from xtalk.errors import ConfigError

TEXT = "The weather in London will be cloudy with light rain this afternoon."


def length(pcm: bytes) -> float:
    return len(pcm) / 2 / Espeak.output_rate


@pytest.mark.parametrize("name", VOICES)
def test_every_named_voice_speaks(name: str) -> None:
    voice = Espeak(voice=name)
    assert length(voice.synthesize("1 2 3")) > 0.5


@pytest.mark.parametrize(
    ("voice", "text", "least", "most"),
    [
        ("Mandarin", "今天下午伦敦多云有小雨。", 2, 6),
        ("Cantonese", "今日下晝有雨。", 1, 4),
        ("German", "Heute Nachmittag regnet es.", 1, 4),
        ("Russian", "Сегодня днём дождь.", 1, 4),
    ],
)
def test_languages_are_spoken_and_not_spelled(
    voice: str, text: str, least: float, most: float
) -> None:
    assert least < length(Espeak(voice=voice).synthesize(text)) < most


@pytest.mark.parametrize("voice", ["en-us", "EN-GB", "en-us+f3", "gmw/en", "fr", "british WOMAN"])
def test_voices_are_found_by_name_language_or_file(voice: str) -> None:
    Espeak().set_voice([voice])


@pytest.mark.parametrize("voice", ["", "+f3", "en-us+", "en-us+../x", "../../etc/passwd", "a\0b"])
def test_only_listed_voices_are_opened(voice: str) -> None:
    with pytest.raises(ConfigError, match="American"):
        Espeak(voice=voice)
    with pytest.raises(ValueError, match="no voice"):
        Espeak().set_voice([voice])


def test_the_first_chunk_comes_before_the_sentence_is_done() -> None:
    chunks = list(Espeak().synthesize_stream(TEXT))
    assert len(chunks) > 10
    assert length(chunks[0]) < 0.2


def test_closing_the_stream_stops_the_library() -> None:
    voice = Espeak()
    whole = length(voice.synthesize(TEXT))
    for _ in range(5):
        stream = library().speak(TEXT * 100, voice._delivery)
        next(stream)
        stream.close()
    began = time.monotonic()
    assert length(voice.synthesize(TEXT)) == pytest.approx(whole, rel=0.02)
    assert time.monotonic() - began < 0.3, "each of the five would take 0.25 s to its end"


def test_a_stream_that_nobody_reads_blocks_nobody() -> None:
    idle = Espeak().synthesize_stream(TEXT * 100)
    next(idle)
    assert length(Espeak().synthesize(TEXT)) > 2
    idle.close()


def test_a_long_text_lets_others_speak() -> None:
    """Eight sessions: seven read a book, one says a sentence."""
    stop = threading.Event()

    def read() -> None:
        for _ in Espeak().synthesize_stream(TEXT * 2000):
            if stop.is_set():
                return

    readers = [threading.Thread(target=read) for _ in range(7)]
    for reader in readers:
        reader.start()
    began = time.monotonic()
    spoken = Espeak().synthesize(TEXT)
    waited = time.monotonic() - began
    stop.set()
    for reader in readers:
        reader.join()
    assert length(spoken) > 2
    assert waited < 2, "each of the seven books alone would take 5 s"


def test_sessions_do_not_speak_with_each_others_voices() -> None:
    alone = {name: length(Espeak(voice=name).synthesize(TEXT)) for name in list(VOICES)[:8]}
    heard: dict[str, list[float]] = {name: [] for name in alone}

    def speak(name: str) -> None:
        voice = Espeak(voice=name)
        heard[name] = [length(voice.synthesize(TEXT)) for _ in range(5)]

    sessions = [threading.Thread(target=speak, args=(name,)) for name in alone]
    for session in sessions:
        session.start()
    for session in sessions:
        session.join()
    for name, lengths in heard.items():
        assert lengths == pytest.approx([alone[name]] * 5, rel=0.02)


def test_the_pace_follows_the_speed() -> None:
    usual = length(Espeak().synthesize(TEXT))
    assert length(Espeak(speed=0.5).synthesize(TEXT)) > 1.5 * usual
    assert length(Espeak(speed=1.5).synthesize(TEXT)) < 0.8 * usual


@pytest.mark.parametrize("speed", [0.49, 1.51, -1.0, float("nan")])
def test_a_speed_out_of_range_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match=r"between 0\.5 and 1\.5"):
        Espeak().set_speed(speed)


def test_the_pitch_is_heard() -> None:
    def crossings(pcm: bytes) -> float:
        signs = [sample < 0 for sample in memoryview(pcm).cast("h")]
        return sum(one != other for one, other in pairwise(signs)) / len(signs)

    low, high = (Espeak(pitch=pitch).synthesize("Oh, oh, oh.") for pitch in (0, 99))
    assert crossings(high) > 1.1 * crossings(low)


@pytest.mark.parametrize("text", ["", "  \n", "...", "?!", "\x00\x01", "👋", "\ud800"])
def test_without_words_there_is_no_sound(text: str) -> None:
    assert Espeak().synthesize(text) == b""


@pytest.mark.parametrize("text", ["\x01 30P hello", "hello\0there", "hello \x1b[0m"])
def test_control_characters_are_no_commands(text: str) -> None:
    plain = "".join(character if character.isprintable() else " " for character in text)
    voice = Espeak()
    spoken = length(voice.synthesize(text))
    assert spoken == pytest.approx(length(voice.synthesize(plain)), rel=0.02)


def test_markup_is_read_and_not_obeyed() -> None:
    voice = Espeak()
    plain = length(voice.synthesize("hello"))
    assert length(voice.synthesize("<break time='9s'/> hello")) < 9
    assert length(voice.synthesize("<b>hello</b>")) > plain
    assert length(voice.synthesize("[[h@'loU]]")) > plain


@pytest.mark.parametrize(
    "text",
    [
        "a" * 5000,
        "你好，" * 900,
        "One sentence. " * 300,
        "no stop at all " * 300,
        "3.14 " * 500,
        "A line.\n" * 200,
    ],
)
def test_pieces_are_short_and_lose_nothing(text: str) -> None:
    pieces = PIECE.findall(text)
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= 400


def test_pieces_end_with_sentences_where_they_can() -> None:
    pieces = PIECE.findall("It is 3.14, not three. " * 40)
    assert len(pieces) > 1
    assert all(piece.strip().endswith("three.") for piece in pieces)


def test_a_book_is_spoken_whole() -> None:
    assert length(Espeak().synthesize("This is a long story. " * 400)) > 400


def test_there_is_one_library_though_many_ask_at_once() -> None:
    code = """
import threading
from xtalk_tts_espeak.library import library
found, together = [], threading.Barrier(8)
def ask():
    together.wait()
    found.append(library())
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(found), len(set(map(id, found))))
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["8", "1"]


def test_a_process_ends_while_it_speaks() -> None:
    code = """
import threading
from xtalk_tts_espeak.espeak import Espeak
began = threading.Event()
def speak():
    for _ in Espeak().synthesize_stream("This is a long story. " * 20000):
        began.set()
threading.Thread(target=speak, daemon=True).start()
began.wait()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_the_library_goes_on_after_a_voice_that_it_cannot_open() -> None:
    list(library().speak("hello", Delivery("no/such", 175, 50)))
    assert length(Espeak().synthesize(TEXT)) > 2
