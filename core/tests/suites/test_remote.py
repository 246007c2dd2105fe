"""How long an adaptor waits for its service, in virtual time; keys; who keeps a client open."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from xtalk.audio import RATE_IN, AudioFrame, silence
from xtalk.errors import ConfigError, ModelError, ModelTimeout
from xtalk.remote import FINAL_S, SOUND_S, Refusal, Remote, Replay, Shared, read_key
from xtalk.settings import ServiceConfig
from xtalk.speech.interfaces import Transcript
from xtalk.speech.remote import Growth, redecoded


def test_by_default_an_adaptor_gives_up_before_the_engine_does() -> None:
    engine = ServiceConfig()
    assert engine.decode_timeout_sec > FINAL_S
    assert engine.tts_timeout_sec > SOUND_S


SECOND = silence(1.0, RATE_IN)


async def live(seconds: int) -> AsyncIterator[AudioFrame]:
    """As somebody speaks, behind half a second of pre-roll."""
    yield silence(0.5, RATE_IN)
    for _ in range(seconds):
        await anyio.sleep(1.0)
        yield SECOND


async def recorded(seconds: int) -> AsyncIterator[AudioFrame]:
    for _ in range(seconds):
        yield SECOND


async def heard(
    remote: Remote, source: AsyncIterator[AudioFrame], *pauses_s: float
) -> tuple[list[float], float | None]:
    """When each piece came that a service says after these pauses; when it was given up, if so."""

    async def answers() -> AsyncGenerator[int, None]:
        for pause_s in pauses_s:
            await anyio.sleep(pause_s)
            yield 1

    began, pieces = anyio.current_time(), []
    async with Replay(source) as spoken:
        try:
            async for _ in remote.stream(answers, spoken=spoken):
                pieces.append(round(anyio.current_time() - began, 3))
        except ModelTimeout:
            return pieces, round(anyio.current_time() - began, 3)
    return pieces, None


def test_a_service_may_be_silent_while_somebody_speaks(virtual_time: Any) -> None:
    remote = Remote(name="Acme", check="", timeout_s=3.0)
    assert virtual_time(heard(remote, live(100), 99, 3.5)) == ([99, 102.5], None)


def test_no_partial_text_puts_off_the_limit_of_the_final_one(virtual_time: Any) -> None:
    """Or the engine would give up before, without a word on which service it was."""
    remote = Remote(name="Acme", check="", timeout_s=3.0)
    assert virtual_time(heard(remote, live(100), 101, 1.5, 0.4, 60)) == ([101, 102.5, 102.9], 103)


@pytest.mark.parametrize("pauses_s", [(52.0,), (20.0, 20.0, 12.0)])
def test_a_recording_has_as_much_more_time_as_it_lasts(virtual_time: Any, pauses_s: Any) -> None:
    """To a service that is as fast as speech, though it comes at once."""
    remote = Remote(name="Acme", check="", timeout_s=3.0)
    assert virtual_time(heard(remote, recorded(50), *pauses_s))[1] is None
    assert virtual_time(heard(remote, recorded(50), *pauses_s, 60.0))[1] == 53


def test_what_waited_for_the_recogniser_is_no_recording(virtual_time: Any) -> None:
    remote = Remote(name="Acme", check="", timeout_s=3.0)
    assert virtual_time(heard(remote, recorded(3), 60.0)) == ([], 3)


@pytest.mark.parametrize(
    ("fails_after_s", "pauses_s", "attempts", "told_after_s"),
    [
        (0.0, 0.2, 4, 2.8),  # as many as there may be
        (0.0, 1.0, 2, 1.0),  # the pause before another would be too long
        (2.0, 0.2, 2, 3.0),  # the second takes too long
    ],
)
def test_repetitions_and_their_pauses_count_as_well(
    virtual_time: Any, fails_after_s: float, pauses_s: float, attempts: int, told_after_s: float
) -> None:
    begun = []

    async def ask() -> AsyncGenerator[int, None]:
        begun.append(anyio.current_time())
        await anyio.sleep(fails_after_s)
        raise ConnectionRefusedError
        yield 1

    async def check() -> None:
        remote = Remote(
            name="Acme",
            check="",
            timeout_s=3.0,
            retries=3,
            pause_s=lambda attempt: pauses_s * (attempt + 1) ** 2,
        )
        with pytest.raises(ModelError):
            assert [answer async for answer in remote.stream(ask)]
        assert anyio.current_time() - begun[0] == pytest.approx(told_after_s)

    virtual_time(check())
    assert len(begun) == attempts


def test_an_answer_that_breaks_off_is_not_asked_for_again(virtual_time: Any) -> None:
    """Or what was heard of it would be heard twice."""
    pieces = []

    async def ask() -> AsyncGenerator[int, None]:
        yield 1
        raise ConnectionResetError

    async def check() -> None:
        with pytest.raises(ModelError):
            async for piece in Remote(name="Acme", check="", retries=3).stream(ask):
                pieces.append(piece)

    virtual_time(check())
    assert pieces == [1]


def test_a_recording_longer_than_any_piece_of_speech_has_more_time() -> None:
    remote = Remote(name="Acme", check="", timeout_s=4.0)
    assert remote.patient(30.0) == remote
    assert remote.patient(100.0).timeout_s == pytest.approx(74.0)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Refusal(401), "Acme refused the key (401); check that the key is valid."),
        (ConnectionRefusedError(), "Acme cannot be reached; check the network."),
        (TimeoutError(), "Acme took too long to answer; check the network."),
    ],
)
def test_what_to_check_depends_on_whether_the_service_has_answered(
    error: Exception, says: str
) -> None:
    remote = Remote(name="Acme", check="check that the key is valid", reach="check the network")
    assert str(remote.failed(error)) == says


def test_an_empty_answer_is_logged_in_words(
    virtual_time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask() -> AsyncGenerator[int, None]:
        for number in ():
            yield number

    async def check() -> None:
        with pytest.raises(ModelError):
            assert [answer async for answer in Remote(name="Acme", check="").stream(ask)]

    virtual_time(check())
    assert set(caplog.messages) == {"Acme gave no answer that is not empty"}


@pytest.mark.parametrize("given", [" sk-1 ", SecretStr("sk-1")])
def test_a_key_may_be_given_in_two_ways(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", "sk-2\n")
    assert read_key("Acme", given, "ACME_KEY") == "sk-1"
    assert read_key("Acme", None, "ACME_KEY") == "sk-2"
    assert read_key("Acme", None) == ""


@pytest.mark.parametrize("key", ["sk-ключ", "sk-1\nsk-2", "sk\u2011-1"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="the key of Acme holds a character") as told:
        read_key("Acme", SecretStr(key))
    assert key not in str(told.value)


def test_a_key_that_is_needed_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_KEY", raising=False)
    with pytest.raises(ConfigError, match="set api_key or the environment's ACME_KEY"):
        read_key("Acme", SecretStr(" "), "ACME_KEY")


class Pool:
    """A client that says whether it is open."""

    open = 0

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Pool]:
        self.open += 1
        try:
            yield self
        finally:
            self.open -= 1


def test_who_never_held_a_client_takes_it_from_nobody(virtual_time: Any) -> None:
    """A model is closed without having been opened where another one of the session failed."""
    pool = Pool()

    async def check() -> None:
        shared = Shared(pool.__call__)
        await shared.release("never opened")
        await shared.hold("a")
        await shared.release("never opened")
        async with shared.use() as client:
            assert client.open == 1
        assert pool.open == 1
        for _ in range(2):
            await shared.release("a")
            assert pool.open == 0

    virtual_time(check())


def test_the_last_of_the_holders_closes_the_client(virtual_time: Any) -> None:
    pool = Pool()

    async def check() -> None:
        shared = Shared(pool.__call__)
        for name in ("a", "b", "a"):
            await shared.hold(name)
        for name, left in (("a", 1), ("b", 1), ("a", 0)):
            await shared.release(name)
            assert pool.open == left

    virtual_time(check())


class Decoder:
    """Hears how many seconds a recording has; takes, or fails after, what `waits_s` says next."""

    def __init__(self, *waits_s: float) -> None:
        self.waits_s = list(waits_s)
        self.asked: list[float] = []

    async def __call__(self, pcm: bytes) -> Transcript:
        self.asked.append(len(pcm) / (2 * RATE_IN))
        wait_s = self.waits_s.pop(0) if self.waits_s else 0.1
        await anyio.sleep(abs(wait_s))
        if wait_s < 0:
            raise ModelTimeout("too slow")
        return Transcript(text=f"{len(pcm) // (2 * RATE_IN)}", tag="<complete>")


async def redecoding(decoder: Decoder, seconds: int) -> list[tuple[float, Transcript]]:
    """The transcripts of so much live speech, and when each came."""
    began = anyio.current_time()
    async with aclosing(redecoded(pcm(seconds), decoder)) as transcripts:
        return [(round(anyio.current_time() - began, 3), each) async for each in transcripts]


async def pcm(seconds: int) -> AsyncIterator[bytes]:
    async for frame in live(seconds):
        yield frame.pcm


def test_a_whole_recording_is_decoded_each_time_it_has_grown_by_half(virtual_time: Any) -> None:
    decoder = Decoder()
    came = virtual_time(redecoding(decoder, 12))
    assert decoder.asked == [1.5, 2.5, 4.5, 7.5, 11.5, 12.5]
    assert [(each.text, each.final, each.tag) for _, each in came] == [
        *((text, False, None) for text in ("1", "2", "4", "7", "11")),
        ("12", True, "<complete>"),
    ]


def test_its_cost_grows_with_the_length_and_not_its_square() -> None:
    for seconds in (0.5, 5, 60, 600):
        growth, sent, total = Growth(), 0, round(2 * RATE_IN * seconds)
        for size in range(0, total + 1, 640):
            sent += size if growth.is_due(size) else 0
        assert sent <= 3 * total
        assert (sent > 0) == (seconds >= 1)


def test_a_slow_decoder_is_asked_for_partials_for_a_fifth_of_the_time(virtual_time: Any) -> None:
    decoder = Decoder(0.9, 0.9)
    virtual_time(redecoding(decoder, 12))
    assert decoder.asked == [1.5, 6.5, 11.5, 12.5]


@pytest.mark.parametrize("wait_s", [3.5, -3.5], ids=["late", "failed"])
def test_a_partial_that_is_late_or_fails_loses_nothing(virtual_time: Any, wait_s: float) -> None:
    came = virtual_time(redecoding(Decoder(wait_s), 9))
    assert came[-1][0] == 9.1
    assert came[-1][1].text == "9"
    assert [each.text for _, each in came[:-1]] == (["1"] if wait_s > 0 else [])


def test_the_final_text_waits_for_no_partial(virtual_time: Any) -> None:
    decoder = Decoder(60.0)
    ((at_s, final),) = virtual_time(redecoding(decoder, 3))
    assert (at_s, final.text, decoder.asked) == (3.1, "3", [1.5, 3.5])


def test_the_final_text_fails_as_its_request_does(virtual_time: Any) -> None:
    with pytest.raises(ModelTimeout):
        virtual_time(redecoding(Decoder(-0.1), 0))


def test_who_hangs_up_gives_up_the_partial(virtual_time: Any) -> None:
    """No task is left, which the clock of the tests would tell."""

    async def check() -> None:
        decoder = Decoder(60.0)
        with anyio.move_on_after(2.0):
            await redecoding(decoder, 9)
        assert decoder.asked == [1.5]

    virtual_time(check())
