"""The lane in front of a recogniser that hangs: what is said again is heard, and it stays short."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from xtalk.managers.asr import ASRManager
from xtalk.speech.interfaces import Transcript
from xtalk.testing.fakes import ScriptedAgent, ScriptedASR
from xtalk.wire import messages as m


class Hanging(ScriptedASR):
    """Never comes back from the first segments, before or after their end."""

    def __init__(self, first: float = float("inf"), *, middle: bool = False) -> None:
        super().__init__()
        self.first = first
        self.middle = middle
        self.segments = 0

    def clone(self) -> Hanging:
        return self

    async def transcribe(self, frames: AsyncIterator[Any]) -> AsyncIterator[Transcript]:
        self.segments += 1
        number = self.segments
        async for _ in frames:
            if number <= self.first and self.middle:
                break
        if number <= self.first:
            await anyio.sleep_forever()
        yield Transcript(text=f"this is number {number}", final=True)


async def repeat(call: Any, times: int) -> tuple[int, float]:
    """Say something every 4.5 s; the most segments and undecoded seconds that the lane held."""
    await call.session.ready.wait()
    listening = call.session.find(ASRManager)._listening
    segments, seconds = 0, 0.0
    for _ in range(times):
        await call.say(1.0)
        segments = max(segments, len(listening._live))
        seconds = max(seconds, sum(each.waiting_s for each in listening._live))
        await anyio.sleep(3.5)
    return segments, seconds


def test_what_is_said_again_within_the_patience_is_answered(talk: Any, run: Any) -> None:
    agent = ScriptedAgent()

    async def main() -> None:
        async with talk(asr=Hanging(first=1), agent=agent) as call:
            await repeat(call, 2)
            await call.client.wait_for(m.FinishAsr, timeout=0)
            assert call.actions().count("error") == 1

    run(main)
    assert [input["content"] for input in agent.inputs] == ["this is number 2"]


@pytest.mark.parametrize("middle", [False, True])
def test_a_recogniser_that_always_hangs_is_told_and_the_lane_stays_short(
    talk: Any, run: Any, middle: bool
) -> None:
    async def main() -> None:
        async with talk(asr=Hanging(middle=middle)) as call:
            segments, seconds = await repeat(call, 40)
            assert segments < 10
            assert seconds < 20.0
            message = "Speech recognition did not answer in time."
            assert {error.message for error in call.client.received(m.Error)} == {message}
            await anyio.sleep(40)
            assert call.actions()[-1] == "invalid_asr_result"

    run(main)


@pytest.mark.parametrize("config", [{}, {"sim_gen": True}])
def test_a_final_text_that_comes_too_late_is_told_once_and_names_its_recogniser_in_the_log(
    talk: Any, run: Any, config: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with talk(asr=Hanging(first=1), config=config) as call:
            await call.say(1.0)
            await anyio.sleep(6.0)
            errors = call.client.received(m.Error)
            assert [error.message for error in errors] == ["Speech recognition took too long."]
            await call.say(1.0)
            await call.client.wait_for(m.FinishAsr)
            assert call.actions().count("error") == 1

    run(main)
    assert "Hanging gave no final text within 5 s" in caplog.messages


@pytest.mark.parametrize("middle", [False, True])
def test_a_recogniser_that_fails_in_the_last_piece_costs_that_piece(
    talk: Any, run: Any, middle: bool
) -> None:
    agent = ScriptedAgent()

    class Failing(Hanging):
        async def transcribe(self, frames: AsyncIterator[Any]) -> AsyncIterator[Transcript]:
            self.segments += 1
            number, heard_s = self.segments, 0.0
            async for frame in frames:
                heard_s += frame.seconds
                if number == 3 and middle and heard_s > 3:
                    break
            if number == 3:
                raise RuntimeError("the service is down")
            yield Transcript(text=f"this is number {number}", final=True)

    async def main() -> None:
        async with talk(asr=Failing(), agent=agent, config={"segment_sec": 10.0}) as call:
            await call.say(25.0)
            await call.client.wait_for(m.FinishAsr)
            assert call.actions().count("error") == 1

    run(main)
    assert [input["content"] for input in agent.inputs] == ["this is number 1 this is number 2"]


class Ending(ScriptedASR):
    """Takes `most_s` of audio for all, and 0.3 s to say so; tells how much it heard."""

    def __init__(self, most_s: float) -> None:
        super().__init__()
        self.most_s = most_s

    def clone(self) -> Ending:
        return self

    async def transcribe(self, frames: AsyncIterator[Any]) -> AsyncIterator[Transcript]:
        heard_s = 0.0
        if self.most_s:
            async for frame in frames:
                heard_s += frame.seconds
                if heard_s > self.most_s:
                    break
        await anyio.sleep(0.3 if self.most_s else 0.0)
        self.heard.append(heard_s)
        yield Transcript(text=f"this is number {len(self.heard)}", final=True)


def test_a_recogniser_that_ends_a_segment_by_itself_hears_the_rest_in_another(
    talk: Any, run: Any
) -> None:
    agent, asr = ScriptedAgent(), Ending(2.0)

    async def main() -> None:
        async with talk(asr=asr, agent=agent) as call:
            await call.say(5.0)
            await call.client.wait_for(m.FinishAsr)
            assert "error" not in call.actions()

    run(main)
    assert len(asr.heard) == 3
    assert sum(asr.heard) > 5.0, "nothing is lost while it decides"
    said = " ".join(f"this is number {number}" for number in (1, 2, 3))
    assert [input["content"] for input in agent.inputs] == [said]


@pytest.mark.parametrize("config", [{}, {"sim_gen": True}])
def test_a_recogniser_that_listens_to_nothing_is_told(talk: Any, run: Any, config: Any) -> None:
    async def main() -> None:
        async with talk(asr=Ending(0.0), config=config) as call:
            await call.say(2.0)
            await anyio.sleep(2)
            assert [error.message for error in call.client.received(m.Error)] == [
                "the recogniser gave a final transcript before it took any audio"
            ]

    run(main)


def test_the_backlog_is_that_of_all_segments(talk: Any, run: Any) -> None:
    config = {"asr_backlog_sec": 6.0, "decode_timeout_sec": 60.0}

    async def main() -> None:
        async with talk(asr=Hanging(), config=config) as call:
            _, seconds = await repeat(call, 16)
            assert seconds < 6.1

    run(main)
