"""Captions: only of new speech, not too often, and never in the way of a turn."""

from __future__ import annotations

import itertools
from typing import Any

import anyio
import pytest

from xtalk import events
from xtalk.rewriter import Rewriter
from xtalk.speech.interfaces import Captioner
from xtalk.wire import messages as m

SECOND = 32_000


class Listener(Captioner):
    """Notes when it was asked and how much it heard; answers after `wait_s`."""

    def __init__(self, wait_s: float = 0.0, error: Exception | None = None) -> None:
        self.wait_s = wait_s
        self.error = error
        self.asked: list[tuple[float, float]] = []

    def caption(self, audio: bytes) -> str:
        raise AssertionError("the async method is the more specific one")

    async def async_caption(self, audio: bytes) -> str:
        self.asked.append((anyio.current_time(), len(audio) / SECOND))
        await anyio.sleep(self.wait_s)
        if self.error is not None:
            raise self.error
        return f"caption {len(self.asked)}"


def test_new_speech_is_captioned_and_the_agent_knows_how_old_that_is(
    converse: Any, run: Any, noting: Any
) -> None:
    async def main() -> None:
        async with converse(captioner=Listener(), llm_agent=noting) as call:
            captions = call.watch(events.CaptionUpdated)
            finals = call.watch(events.ASRResultFinal)
            await call.turn(4.0)
            await anyio.sleep(1)
            await call.turn(0.6)
            for known, final in zip(noting.seen, finals, strict=True):
                last = [caption for caption in captions if caption.at < final.at][-1]
                assert known.context["caption"] == known.caption == last.text
                assert known.caption_age_s == pytest.approx(final.at - last.at, abs=0.001)
            assert [c.text for c in captions] == [
                c.text for c in call.client.received(m.CaptionUpdated)
            ]

    run(main)
    assert noting.seen[0].caption != noting.seen[1].caption


def test_it_is_asked_every_second_and_a_half_of_speech_and_not_in_silence(
    converse: Any, run: Any
) -> None:
    captioner = Listener()

    async def main() -> None:
        async with converse(captioner=captioner, config={"segment_sec": 60}) as call:
            await anyio.sleep(20)
            assert captioner.asked == []
            await call.say(20)
            await anyio.sleep(60)

    run(main)
    times = [at for at, _ in captioner.asked]
    assert 12 <= len(times) <= 15
    assert all(b - a >= 1.5 for a, b in itertools.pairwise(times))
    assert all(14.9 < heard <= 15 for _, heard in captioner.asked)


def test_less_than_two_and_a_half_seconds_are_not_captioned(converse: Any, run: Any) -> None:
    captioner = Listener()

    async def main() -> None:
        async with converse(captioner=captioner) as call:
            await call.say(0.6)
            await anyio.sleep(10)

    run(main)
    ((_, heard),) = captioner.asked
    assert heard >= 2.5


def test_a_slow_captioner_delays_no_turn_and_is_called_once_at_a_time(
    converse: Any, run: Any
) -> None:
    times = []

    async def main(captioner: Any) -> None:
        async with converse(captioner=captioner) as call:
            await anyio.sleep(3)
            for _ in range(3):
                before = len(call.client.timeline)
                await call.say(2)
                end = anyio.current_time()
                await call.client.wait_for(m.StartTts, after=before)
                times.append(round(anyio.current_time() - end, 3))
                await call.client.wait_until_heard(after=before)

    hanging = Listener(wait_s=1e6)
    run(lambda: main(hanging))
    run(lambda: main(None))
    assert times[:3] == times[3:]
    assert len(hanging.asked) == 1


def test_a_captioner_that_fails_is_logged_and_left_alone_for_a_while(
    converse: Any, run: Any, caplog: Any
) -> None:
    captioner = Listener(error=OSError("down"))

    async def main() -> None:
        async with converse(captioner=captioner, config={"segment_sec": 120}) as call:
            await call.say(62)
            assert not call.client.received(m.Error)

    run(main)
    assert len(captioner.asked) == 2
    assert len([r for r in caplog.records if r.exc_info]) == 2


def test_a_rewriter_has_the_last_word(converse: Any, run: Any) -> None:
    class Sync(Captioner):
        def caption(self, audio: bytes) -> str:
            return "a man, angry"

    class Shorter(Rewriter):
        def rewrite(self, text: str) -> str:
            return text.split()[-1]

    async def main() -> None:
        async with converse(captioner=Sync(), caption_rewriter=Shorter()) as call:
            await call.say(3)
            assert (await call.client.wait_for(m.CaptionUpdated)).text == "angry"

    run(main)
