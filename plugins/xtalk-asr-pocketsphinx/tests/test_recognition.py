"""What is understood: in the grammar, outside of it, and nothing at all."""

from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
from xtalk_asr_pocketsphinx.asr import PocketSphinx

from xtalk.audio import RATE_IN, AudioFrame, resample, silence
from xtalk.speech.interfaces import Transcript
from xtalk.testing.recordings import TEXTS, recording

pytestmark = pytest.mark.real_time

Make = Callable[..., PocketSphinx]
PEOPLE = Path(__file__).parents[4] / "shared" / "speech"


def of_people(name: str) -> bytes:
    """PCM16 at 16 kHz of a recording that the project does not contain."""
    if not (PEOPLE / name).exists():
        pytest.skip(f"the recording of a person {name} is not here")
    with wave.open(str(PEOPLE / name)) as file:
        return file.readframes(file.getnframes())


async def frames(pcm: bytes, size: int, rate: int = RATE_IN) -> AsyncIterator[AudioFrame]:
    for start in range(0, len(pcm), size):
        yield AudioFrame(pcm[start : start + size], rate)
        await asyncio.sleep(0)


def transcripts(
    recogniser: PocketSphinx, pcm: bytes, size: int = 640, rate: int = RATE_IN
) -> list[Transcript]:
    async def run() -> list[Transcript]:
        return [each async for each in recogniser.transcribe(frames(pcm, size, rate))]

    found = asyncio.run(run())
    assert [each.final for each in found] == [False] * (len(found) - 1) + [True]
    return found


@pytest.mark.parametrize("name", TEXTS)
def test_the_recordings_that_come_with_xtalk(make: Make, name: str) -> None:
    found = transcripts(make(), recording(name).pcm)[-1]
    assert found.text == TEXTS[name]
    assert [word.text for word in found.words] == TEXTS[name].split()
    assert 0.3 < found.words[0].start < found.words[-1].end < recording(name).seconds - 0.7


@pytest.mark.parametrize("size", [1, 3, 641, 32_000, 1 << 20])
def test_pieces_of_any_size(make: Make, size: int) -> None:
    recogniser = make()
    assert transcripts(recogniser, recording("what-time-is-it").pcm, size)[-1].text == (
        "what time is it"
    )


def test_another_rate(make: Make) -> None:
    frame = resample(recording("what-time-is-it"), 48_000)
    assert transcripts(make(), frame.pcm, 1920, 48_000)[-1].text == "what time is it"


async def partials_of(recogniser: PocketSphinx, pcm: bytes) -> list[str]:
    """The partials of speech and the silence behind it, which lasts until one has come."""
    heard: list[str] = []

    async def until_heard() -> AsyncIterator[AudioFrame]:
        async for frame in frames(pcm, 640):
            yield frame
        while not heard:
            await asyncio.sleep(0.05)
            yield silence(0.01, RATE_IN)

    with anyio.fail_after(60):
        async for each in recogniser.transcribe(until_heard()):
            if not each.final:
                heard.append(each.text)
    return heard


def test_partials_are_beginnings_of_what_was_said(make: Make) -> None:
    heard = asyncio.run(partials_of(make(), recording("what-time-is-it").pcm))
    assert all("what time is it".startswith(each) for each in heard)


@pytest.mark.parametrize(
    "pcm", [b"", b"\x00", silence(2.0, RATE_IN).pcm], ids=["none", "odd", "zero"]
)
def test_nothing_said_is_no_text(make: Make, pcm: bytes) -> None:
    recogniser = make()
    assert [each.text for each in transcripts(recogniser, pcm)] == [""]
    assert recogniser.recognize(pcm) == ""
    assert recogniser.recognize(recording("what-time-is-it").pcm) == "what time is it"


def test_a_segment_of_thirty_seconds(make: Make) -> None:
    recogniser = make(language_model=False)
    pcm = silence(28.0, RATE_IN).pcm + recording("what-time-is-it").pcm
    assert transcripts(recogniser, pcm)[-1].text == "what time is it"


@pytest.mark.parametrize("lead", [0, 3201, 6400])
def test_a_person_outside_the_grammar_is_understood(make: Make, lead: int) -> None:
    pcm = of_people("go-forward-ten-meters.wav")[2 * lead :]
    assert transcripts(make(), pcm)[-1].text == "go forward ten meters"


@pytest.mark.parametrize(
    "name", ["austen-0870", "austen-0880", "austen-0930", "go-forward-ten-meters", "jfk"]
)
def test_people_who_say_no_command_give_none(make: Make, name: str) -> None:
    assert make(language_model=False).recognize(of_people(f"{name}.wav")) == ""


def test_long_foreign_speech_has_partials_before_it_ends(make: Make) -> None:
    heard = asyncio.run(partials_of(make(), of_people("austen-0870.wav")))
    said = json.loads((PEOPLE / "austen-0870.json").read_text())["text"].split()
    assert set(heard[-1].split()) & set(said)


def test_the_agents_grammar_is_taken_unless_there_is_one(make: Make, commands: str) -> None:
    recogniser = make(grammar=None, language_model=False)
    recogniser.open()
    pcm = recording("what-time-is-it").pcm
    assert recogniser.recognize(pcm) == ""
    recogniser.set_grammar(commands)
    assert recogniser.recognize(pcm) == "what time is it"
    mine = make(phrases=["hello there"], grammar=None, language_model=False)
    mine.set_grammar(commands)
    assert mine.recognize(pcm) == ""


def test_a_sentence_that_stops_half_way_is_not_the_command(make: Make) -> None:
    recogniser = make(language_model=False)
    pcm = recording("two-plus-three").pcm
    words = transcripts(recogniser, pcm)[-1].words
    assert words[-2].text == "plus"
    assert recogniser.recognize(pcm[: 2 * int(words[-2].end * RATE_IN)]) == ""
