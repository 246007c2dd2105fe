"""What ElevenLabsASR sends and when, what it makes of the answers, and what it is told no to."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import anyio
import pytest
from fake_elevenlabs import ANOTHER, SECOND, SPLIT, FakeElevenLabs
from xtalk_elevenlabs.asr import COMMITTED, ElevenLabsASR, _Segment

from xtalk import schema
from xtalk.audio import RATE_IN, AudioFrame, silence
from xtalk.errors import ConfigError, ModelError
from xtalk.speech.interfaces import Transcript, Word
from xtalk.testing.fakes import tone
from xtalk.testing.recordings import TEXTS, recording
from xtalk.testing.services import KEY
from xtalk.threads import run_in_thread

pytestmark = [pytest.mark.real_time, SPLIT]

FIRST, SECOND_ONE = "what-time-is-it", "two-plus-three"
BOTH = f"{TEXTS[FIRST]} {TEXTS[SECOND_ONE]}"


def sound(*names: str) -> bytes:
    """Recordings, with a pause of more than a second between two."""
    return b"".join(recording(name).pcm for name in names)


def asr(at: dict[str, Any], **params: Any) -> ElevenLabsASR:
    built: ElevenLabsASR = schema.build(ElevenLabsASR, {"mode": "streaming", **at, **params})
    return built


async def frames(pcm: bytes) -> AsyncIterator[AudioFrame]:
    for start in range(0, len(pcm), 1024):
        yield AudioFrame(pcm[start : start + 1024], RATE_IN)


def heard(model: ElevenLabsASR, pcm: bytes) -> list[Transcript]:
    """All transcripts of one segment."""
    return in_session(model, lambda: gather(model, frames(pcm)))


async def gather(model: ElevenLabsASR, spoken: AsyncIterator[AudioFrame]) -> list[Transcript]:
    async with aclosing(model.transcribe(spoken)) as transcripts:
        return [transcript async for transcript in transcripts]


def in_session(model: ElevenLabsASR, work: Callable[[], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        await model.open()
        try:
            with anyio.fail_after(10):
                return await work()
        finally:
            await model.close()

    return anyio.run(run)


# --- streaming ------------------------------------------------------------------------------------


def test_trap_56_the_key_goes_with_the_websocket(service: FakeElevenLabs, at: Any) -> None:
    """The fake takes no session without it."""
    assert heard(asr(at), sound(FIRST))[-1].text == TEXTS[FIRST]


def test_audio_is_sent_while_one_speaks(service: FakeElevenLabs, at: Any) -> None:
    """The user goes on only after the first words were understood."""
    understood = anyio.Event()

    async def speak() -> AsyncIterator[AudioFrame]:
        pcm = sound(FIRST)
        yield AudioFrame(pcm[: len(pcm) // 2], RATE_IN)
        await understood.wait()
        yield AudioFrame(pcm[len(pcm) // 2 :], RATE_IN)

    async def listen() -> list[str]:
        texts = []
        async with aclosing(model.transcribe(speak())) as transcripts:
            async for transcript in transcripts:
                understood.set()
                texts.append(transcript.text)
        return texts

    model = asr(at)
    texts = in_session(model, listen)
    assert texts[-1] == TEXTS[FIRST]
    assert all(TEXTS[FIRST].startswith(text) for text in texts)


def test_the_connection_is_there_before_one_speaks(service: FakeElevenLabs, at: Any) -> None:
    async def work() -> None:
        for _ in range(2):
            assert await run_in_thread(service.ready.acquire, timeout=5)
            assert (await gather(model, frames(sound(FIRST))))[-1].text == TEXTS[FIRST]

    model = asr(at)
    in_session(model, work)


def test_trap_77_audio_is_sent_once(service: FakeElevenLabs, at: Any) -> None:
    pcm = sound(FIRST)
    heard(asr(at), pcm)
    assert service.received == len(pcm)


def test_trap_63_what_the_service_commits_at_pauses_is_kept(
    service: FakeElevenLabs, at: Any
) -> None:
    transcripts = heard(asr(at, commit_strategy="vad"), sound(FIRST, SECOND_ONE))
    assert transcripts[-1].text == BOTH
    assert TEXTS[FIRST] in [transcript.text for transcript in transcripts[:-1]]
    assert [t.final for t in transcripts] == [False] * (len(transcripts) - 1) + [True]


def test_what_the_service_commits_of_a_long_segment_is_kept(
    service: FakeElevenLabs, at: Any
) -> None:
    """By itself at 90 s, though the segment is ended by us."""
    pcm = sound(FIRST) + silence(90, RATE_IN).pcm + sound(SECOND_ONE)
    model = asr(at)
    assert in_session(model, lambda: gather(model, _seconds(pcm)))[-1].text == BOTH


def test_a_recording_that_ends_with_a_word(service: FakeElevenLabs, at: Any) -> None:
    """The last commit holds text, and there is nothing to tell that it is the last."""
    pcm = sound(FIRST, SECOND_ONE).rstrip(b"\0")
    assert heard(asr(at, commit_strategy="vad"), pcm + b"\0" * (len(pcm) % 2))[-1].text == BOTH


def test_what_is_committed_is_stable(service: FakeElevenLabs, at: Any) -> None:
    transcripts = heard(asr(at, commit_strategy="vad"), sound(FIRST, SECOND_ONE))
    for before, after in pairwise(transcripts):
        assert after.text.startswith(before.text[: before.stable])
    assert {t.stable for t in transcripts} == {0, len(TEXTS[FIRST]), len(BOTH)}


@pytest.mark.parametrize("strategy", ["manual", "vad"])
@pytest.mark.parametrize(
    "pcm, text", [(silence(0.1, RATE_IN).pcm, ""), (tone(0.1, rate=RATE_IN), ANOTHER)]
)
def test_a_short_segment_is_committed_too(
    service: FakeElevenLabs, at: Any, strategy: str, pcm: bytes, text: str
) -> None:
    """The service commits no less than 0.3 s."""
    assert heard(asr(at, commit_strategy=strategy), pcm)[-1] == Transcript(
        text=text, final=True, stable=len(text)
    )
    assert service.received >= COMMITTED


def test_a_segment_without_audio_costs_nothing(service: FakeElevenLabs, at: Any) -> None:
    assert heard(asr(at), b"") == [Transcript(text="", final=True)]
    assert service.received == 0


def test_nothing_new_after_the_last_pause() -> None:
    """The service then refuses to commit; what it has committed is what was said."""
    segment = _Segment(timed=False)
    segment.push('{"message_type": "committed_transcript", "text": "yes"}')
    segment.ending = "with the next"
    told = segment.push('{"message_type": "commit_throttled", "error": "only 0.00s"}')
    assert told == Transcript(text="yes", final=True, stable=3)


def test_each_word_and_its_time(service: FakeElevenLabs, at: Any) -> None:
    model = asr(at, include_timestamps=True, include_language_detection=True)
    final = heard(model, sound(FIRST))[-1]
    assert (final.text, final.lang) == (TEXTS[FIRST], "eng")
    assert final.words == tuple(
        Word(text=word, start=0.5 * number, end=0.5 * number + 0.4)
        for number, word in enumerate(TEXTS[FIRST].split())
    )


def test_every_option_reaches_the_service(service: FakeElevenLabs, at: Any) -> None:
    options = {
        "commit_strategy": "vad",
        "language_code": "en",
        "include_timestamps": True,
        "include_language_detection": True,
        "enable_logging": False,
        "mock_window_size": 3,
        "always_commit_stream": False,
        "request_timeout": 5,
    }
    heard(asr(at, **options), sound(FIRST))
    assert service.asked[0] == {
        "model_id": "scribe_v2_realtime",
        "audio_format": "pcm_16000",
        "commit_strategy": "vad",
        "language_code": "en",
        "include_timestamps": "true",
        "include_language_detection": "true",
        "enable_logging": "false",
    }


@pytest.mark.parametrize(
    "code, says",
    [
        ("auth_error", r"refused the key \(401\)"),
        ("quota_exceeded", r"no credit left \(402\)"),
        ("unaccepted_terms", r"refused the key \(403\)"),
        ("rate_limited", r"is overloaded \(429\)"),
        ("queue_overflow", r"is overloaded \(429\)"),
        ("resource_exhausted", r"is overloaded \(429\)"),
        ("session_time_limit_exceeded", r"failed \(408\)"),
        ("input_error", r"refused the request \(400\)"),
        ("transcriber_error", r"failed \(500\)"),
        ("an error that is new", r"failed \(500\)"),
    ],
)
def test_what_the_service_says_no_to(
    service: FakeElevenLabs, at: Any, caplog: pytest.LogCaptureFixture, code: str, says: str
) -> None:
    service.says = code
    with caplog.at_level(logging.DEBUG), pytest.raises(ModelError, match=f"ElevenLabs.*{says}"):
        heard(asr(at), sound(FIRST))
    assert KEY not in caplog.text


@pytest.mark.parametrize("mode", ["streaming", "offline"])
@pytest.mark.parametrize(
    "other",
    [
        {"text": None},
        {"text": ["what"]},
        {"words": "what"},
        {"words": [{"start": 0.1}]},
        {"words": [{"text": "what", "start": "soon", "end": 0.2}]},
        {"language_code": 5},
        {"transcripts": None},
        {"transcripts": [{"texts": ""}]},
    ],
)
def test_an_answer_of_another_shape_is_none(
    service: FakeElevenLabs, at: Any, mode: str, other: dict[str, Any]
) -> None:
    if mode == "streaming" and "transcripts" in other:
        pytest.skip("the service has several channels only offline")
    service.other = other
    with pytest.raises(ModelError, match="ElevenLabs gave no answer that can be used"):
        heard(asr(at, mode=mode, include_timestamps=True), sound(FIRST))


def test_several_channels_are_joined(service: FakeElevenLabs, at: Any) -> None:
    channels = [{"text": "one", "language_code": "eng"}, {"text": "two", "words": None}]
    service.other = {"transcripts": channels}
    (final,) = heard(asr(at, mode="offline"), sound(FIRST))
    assert (final.text, final.words, final.lang) == ("one two", (), "eng")


def test_a_wrong_key_is_told(service: FakeElevenLabs, at: Any) -> None:
    for mode in ("streaming", "offline"):
        with pytest.raises(ModelError, match=r"ElevenLabs refused the key \(401\)"):
            heard(asr(at, mode=mode, api_key="sk-wrong"), sound(FIRST))


# --- offline --------------------------------------------------------------------------------------


def test_offline_a_segment_is_sent_once(service: FakeElevenLabs, at: Any) -> None:
    model = asr(at, mode="offline", language_code="en", enable_logging=False)
    (final,) = heard(model, sound(FIRST))
    assert (final.text, final.lang, final.words[0].text) == (TEXTS[FIRST], "eng", "what")
    assert service.asked == [
        {
            "model_id": "scribe_v1",
            "file_format": "pcm_s16le_16",
            "language_code": "en",
            "enable_logging": "false",
        }
    ]


def test_a_recognition_that_blocks(service: FakeElevenLabs, at: Any) -> None:
    for mode in ("streaming", "offline"):
        assert asr(at, mode=mode).recognize(sound(FIRST)) == TEXTS[FIRST]


# --- the configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params, says",
    [
        ({}, "needs a key; set api_key or the environment's ELEVENLABS_API_KEY"),
        ({"api_key": " "}, "needs a key"),
        ({"api_key": "sk-ключ"}, "the key of ElevenLabs holds a character that no key has"),
        ({"api_key": KEY, "base_url": "ftp://x"}, "base_url of ElevenLabs must begin with http"),
        ({"api_key": KEY, "realtime_url": "http://x"}, "realtime_url of .* must begin with ws"),
    ],
)
def test_what_cannot_be_configured(params: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        schema.build(ElevenLabsASR, params)


def test_the_key_of_the_environment(monkeypatch: pytest.MonkeyPatch, at: Any) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", KEY)
    del at["api_key"]
    assert heard(asr(at), sound(FIRST))[-1].text == TEXTS[FIRST]


def test_the_key_is_not_shown() -> None:
    schema_of = json.dumps(schema.json_schema(ElevenLabsASR))
    assert '"writeOnly": true' in schema_of
    assert KEY not in repr(vars(schema.build(ElevenLabsASR, {"api_key": KEY})).get("api_key"))


async def _seconds(pcm: bytes) -> AsyncIterator[AudioFrame]:
    for start in range(0, len(pcm), SECOND):
        yield AudioFrame(pcm[start : start + SECOND], RATE_IN)
