"""ElevenLabsTTS: whose voice it asks for, and when it says that each word sounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest
from fake_elevenlabs import SECONDS_PER_CHARACTER, FakeElevenLabs, alignment, speech
from xtalk_elevenlabs.tts import ElevenLabsTTS
from xtalk_elevenlabs.words import WordTimes

from xtalk import schema
from xtalk.calls import synthesize
from xtalk.errors import ConfigError, ModelError
from xtalk.heard import Heard
from xtalk.speech.interfaces import Sentence, SpeechChunk, Word
from xtalk.threads import Guard, run_in_thread

pytestmark = pytest.mark.real_time

VOICES = {"Anna": "voice-of-anna", "Ben": "voice-of-ben"}
TEXT = "Every word of it has a time."
TRANSPORTS = ["http", "websocket"]


def tts(at: dict[str, Any], **params: Any) -> ElevenLabsTTS:
    built: ElevenLabsTTS = schema.build(ElevenLabsTTS, {**at, "voices": VOICES, **params})
    return built


@asynccontextmanager
async def in_session(voice: ElevenLabsTTS) -> AsyncIterator[ElevenLabsTTS]:
    await voice.open()
    try:
        with anyio.fail_after(10):
            yield voice
    finally:
        await voice.close()


async def said(voice: ElevenLabsTTS, text: str = TEXT) -> list[SpeechChunk]:
    """What the engine gets of a sentence."""
    async with Guard(voice).lease() as lease, aclosing(synthesize(lease, text)) as chunks:
        return [chunk async for chunk in chunks]


def spoken(voice: ElevenLabsTTS, text: str = TEXT) -> list[SpeechChunk]:
    async def run() -> list[SpeechChunk]:
        async with in_session(voice):
            return await said(voice, text)

    return anyio.run(run)


# --- voices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("voice", ["Ben", "voice-of-ben"])
def test_trap_58_a_voice_by_name_or_id(
    service: FakeElevenLabs, at: Any, transport: str, voice: str
) -> None:
    """Also when there is a connection for another one."""

    async def run() -> None:
        async with in_session(tts(at, transport=transport)) as model:
            await said(model)
            model.set_voice(["nobody", voice])
            await said(model)

    anyio.run(run)
    paths = [request.split("/")[3] for request in service.requests]
    assert paths[0] == "JBFqnCBsd6RMkjVDRZzb"
    assert paths[-1] == "voice-of-ben"


def test_the_voice_to_begin_with_may_be_a_name(service: FakeElevenLabs, at: Any) -> None:
    spoken(tts(at, voice_id="Anna"))
    assert "/voice-of-anna/" in service.requests[0]


@pytest.mark.parametrize("voice", ["another-id", "anna", "../voices", ""])
def test_a_voice_that_is_not_configured_is_refused(at: Any, voice: str) -> None:
    with pytest.raises(ValueError, match=r"no voice .* here; its configuration names Anna, Ben"):
        tts(at).set_voice([voice])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_the_service_is_asked_for(service: FakeElevenLabs, at: Any, transport: str) -> None:
    settings = {"stability": 0.4, "use_speaker_boost": True}
    voice = tts(
        at,
        transport=transport,
        model_id="eleven_flash_v2_5",
        output_format="pcm_24000",
        voice_settings=settings,
    )
    assert voice.output_rate == 24_000
    length = sum(chunk.audio.seconds for chunk in spoken(voice))
    assert length == pytest.approx(SECONDS_PER_CHARACTER * len(TEXT), abs=0.1)
    asked = {**service.asked[0], **service.asked[1]} if transport != "http" else service.asked[0]
    assert asked["model_id"] == "eleven_flash_v2_5"
    assert asked["voice_settings"] == settings


# --- sound and words ------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_trap_95_no_sample_is_cut_in_half(at: Any, transport: str) -> None:
    """The fake cuts in the middle of samples: a tone stays a tone."""
    chunks = spoken(tts(at, transport=transport))
    pcm = b"".join(chunk.audio.check().pcm for chunk in chunks)
    assert len(chunks) > 1
    whole = speech("JBFqnCBsd6RMkjVDRZzb", TEXT, 48_000)
    assert pcm[: len(whole)] == whole


def test_each_word_has_its_time(at: Any) -> None:
    """The fake gives each character the same time."""
    offset, found = 0.0, []
    for chunk in spoken(tts(at, transport="websocket")):
        found += [(word.text, offset + word.start, offset + word.end) for word in chunk.words]
        offset += chunk.audio.seconds
    assert [text for text, _, _ in found] == TEXT.split()
    place = 0
    for text, start, end in found:
        place = TEXT.index(text, place)
        assert start == pytest.approx(place * SECONDS_PER_CHARACTER, abs=0.1)
        place += len(text)
        assert end == pytest.approx(place * SECONDS_PER_CHARACTER, abs=0.1)


def test_the_times_reach_what_was_heard(at: Any) -> None:
    """A barge-in in the middle: the words that had sounded are remembered, and no more."""
    sentence = Sentence(index=0, text=TEXT, spoken=TEXT, span=(0, len(TEXT)))
    heard = Heard()
    total = 0
    for chunk in spoken(tts(at, transport="websocket")):
        heard.made(sentence, chunk.audio.samples, chunk.words)
        total += chunk.audio.samples
    heard.complete()
    half = TEXT.index(" has") * SECONDS_PER_CHARACTER
    heard.sent(1, 0, int(48_000 * (half + 0.1)), half + 0.1, 0.0)
    heard.ack(1, None, half + 0.2)
    assert heard.reply(half + 0.3, acks=True).text == "Every word of it"


def test_over_http_there_are_no_times(at: Any) -> None:
    assert not any(chunk.words for chunk in spoken(tts(at)))


@pytest.mark.parametrize("starts", ["charStartTimesMs", "char_start_times_ms"])
@pytest.mark.parametrize("durations", ["charDurationsMs", "charsDurationsMs", "chars_durations_ms"])
def test_all_names_that_the_service_has_for_times(starts: str, durations: str) -> None:
    times = {"chars": ["H", "i"], starts: [0, 100], durations: [100, 150]}
    assert WordTimes("Hi").push(times, 0.25) == (Word(text="Hi", start=0.0, end=0.25),)


def test_a_word_over_two_chunks_ends_in_the_second() -> None:
    times = WordTimes("to day")
    assert times.push(alignment("to d", 0.4), 0.4) == (Word(text="to", start=0.0, end=0.2),)
    (word,) = times.push(alignment("ay", 0.2), 0.2)
    assert word.text == "day"
    assert (word.start, word.end) == (pytest.approx(-0.1), pytest.approx(0.2))


def test_ideographs_are_words_of_their_own() -> None:
    words = WordTimes("你好 ok").push(alignment("你好 ok ", 0.6), 0.6)
    assert [word.text for word in words] == ["你", "好", "ok"]


@pytest.mark.parametrize(
    "times",
    [
        None,
        {},
        [1],
        "a",
        {"chars": ["a"], "charStartTimesMs": []},
        {"chars": ["a"], "charStartTimesMs": ["x"], "charDurationsMs": [1]},
        {"chars": ["a"], "charStartTimesMs": [1], "charDurationsMs": [1, 2]},
    ],
)
def test_times_that_do_not_fit_are_left_out(times: Any) -> None:
    assert WordTimes("a").push(times, 1.0) == ()


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    "code, says",
    [
        ("quota_exceeded", r"no credit left \(402\)"),
        ("invalid_api_key", r"refused the key \(401\)"),
        ("voice_not_found", r"refused the request \(404\)"),
        ("system_busy", r"is overloaded \(429\)"),
    ],
)
def test_what_the_service_says_no_to(
    service: FakeElevenLabs, at: Any, transport: str, code: str, says: str
) -> None:
    service.says = code
    with pytest.raises(ModelError, match=f"ElevenLabs.*{says}"):
        spoken(tts(at, transport=transport))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_wrong_key_is_told(at: Any, transport: str) -> None:
    with pytest.raises(ModelError, match=r"refused the key \(401\)"):
        spoken(tts(at, transport=transport, api_key="sk-wrong"))


def test_it_needs_a_key() -> None:
    with pytest.raises(ConfigError, match="ElevenLabs needs a key"):
        ElevenLabsTTS()


def test_trap_84_sentences_share_one_connection(service: FakeElevenLabs, at: Any) -> None:
    async def run() -> None:
        async with in_session(tts(at)) as voice:
            for _ in range(3):
                await said(voice)

    anyio.run(run)
    assert (len(service.requests), service.connections) == (3, 1)


def test_the_next_connection_is_there_before_it_is_needed(service: FakeElevenLabs, at: Any) -> None:
    """Greeted already: the service has got everything but the text."""

    async def run() -> None:
        async with in_session(tts(at, transport="websocket")) as voice:
            await said(voice)
            for _ in range(2):
                assert await run_in_thread(service.ready.acquire, timeout=5)

    anyio.run(run)
    assert service.connections == 2
