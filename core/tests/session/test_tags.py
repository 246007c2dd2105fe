"""The tags of a recogniser: `<incomplete>`, `<wait>`, `<backchannel>`, in exact times."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from xtalk.agent import ToolCall
from xtalk.testing.fakes import ScriptedAgent, ScriptedASR, loud
from xtalk.wire import messages as m

LONG = ("The first sentence is here. ", "The second sentence follows it. ", "And a third one ends.")


@pytest.mark.parametrize("tag", ["<incomplete>", "<wait>"])
def test_half_a_sentence_is_answered_when_nothing_follows(talk: Any, run: Any, tag: str) -> None:
    agent = ScriptedAgent()

    async def main() -> None:
        asr = ScriptedASR([f"turn left now {tag}"], final_s=0.05)
        async with talk(asr=asr, agent=agent, vad=None) as call:
            await call.client.say_with_marks(b"".join(loud(1.0)))
            said = anyio.current_time()
            final = await call.client.wait_for(m.FinishAsr)
            assert anyio.current_time() - said == pytest.approx(0.05 + 0.5, abs=0.01)
            assert final.text == "turn left now"
            await call.client.wait_until_heard()

    run(main)
    assert [record.user for record in agent.records] == ["turn left now"]


@pytest.mark.parametrize("timer_s", [2.0, 1.0, 0.0, -1.0])
def test_the_timer_is_a_setting(talk: Any, run: Any, timer_s: float) -> None:
    async def main() -> None:
        asr = ScriptedASR(["turn left now <incomplete>"], final_s=0.05)
        async with talk(asr=asr, vad=None, config={"semantic_timeout_sec": timer_s}) as call:
            await call.client.say_with_marks(b"".join(loud(1.0)))
            said = anyio.current_time()
            await call.client.wait_for(m.FinishAsr)
            assert anyio.current_time() - said == pytest.approx(0.05 + max(0, timer_s), abs=0.01)

    run(main)


def test_a_new_start_stops_the_timer_and_the_halves_become_one(talk: Any, run: Any) -> None:
    agent = ScriptedAgent()

    async def main() -> None:
        asr = ScriptedASR(["turn left <incomplete>", "and then right"], final_s=0.05)
        async with talk(asr=asr, agent=agent, vad=None) as call:
            await call.client.say_with_marks(b"".join(loud(1.0)))
            await anyio.sleep(0.4)  # 100 ms before the timer
            await call.client.say_with_marks(b"".join(loud(2.0)))
            said = anyio.current_time()
            final = await call.client.wait_for(m.FinishAsr)
            assert anyio.current_time() - said == pytest.approx(0.05, abs=0.01)
            assert (final.text, final.turn_id) == ("turn left and then right", 1)
            shown = [update.text for update in call.client.received(m.UpdateAsr)]
            assert "turn left" in shown and not any("<" in text for text in shown)
            await call.client.wait_until_heard()

    run(main)
    assert [record.user for record in agent.records] == ["turn left and then right"]


def test_a_cough_in_the_pause_winds_the_timer_up_again(talk: Any, run: Any) -> None:
    async def main() -> None:
        asr = ScriptedASR(["turn left <incomplete>", ""], final_s=0.05)
        async with talk(asr=asr, vad=None) as call:
            await call.client.say_with_marks(b"".join(loud(1.0)))
            await anyio.sleep(0.4)
            await call.client.say_with_marks(b"".join(loud(0.2)))
            coughed = anyio.current_time()
            final = await call.client.wait_for(m.FinishAsr)
            assert anyio.current_time() - coughed == pytest.approx(0.05 + 0.5, abs=0.01)
            assert final.text == "turn left"

    run(main)


@pytest.mark.parametrize("text", ["I see <backchannel>", "uh-huh", "嗯", "um"])
def test_a_backchannel_in_silence_is_not_answered(talk: Any, run: Any, text: str) -> None:
    agent = ScriptedAgent()

    async def main() -> None:
        async with talk(asr=ScriptedASR([text]), agent=agent, vad=None) as call:
            await call.client.say_with_marks(b"".join(loud(1.0)))
            await anyio.sleep(5)
            assert "finish_asr" not in call.actions()
            assert "invalid_asr_result" in call.actions()

    run(main)
    assert agent.inputs == []


def test_a_backchannel_behind_a_question_is_an_answer(talk: Any, run: Any) -> None:
    agent = ScriptedAgent(("Shall I go on?",))

    async def main() -> None:
        asr = ScriptedASR(["tell me something", "mhm"])
        async with talk(asr=asr, agent=agent) as call:
            for _ in range(2):
                before = len(call.client.timeline)
                await call.say(1.0)
                await call.client.wait_until_heard(after=before)

    run(main)
    assert [input["content"] for input in agent.inputs] == ["tell me something", "mhm"]


@pytest.mark.parametrize("tool", [False, True], ids=["thinks", "runs a tool"])
@pytest.mark.parametrize("text", ["uh-huh", "okay", "嗯"])
def test_a_backchannel_leaves_the_answer_that_is_on_its_way(
    talk: Any, run: Any, text: str, tool: bool
) -> None:
    parts = (ToolCall("search", {}, effects=False), *LONG) if tool else LONG
    agent = ScriptedAgent(parts, first_s=0.2 if tool else 3.0, interval_s=3.0 if tool else 0.01)

    async def main() -> None:
        async with talk(asr=ScriptedASR(["what is the weather", text]), agent=agent) as call:
            await call.say(1.0)
            await call.client.wait_for(m.FinishAsr)
            await anyio.sleep(0.5)
            before = len(call.client.timeline)
            await call.say(0.5)
            await call.client.wait_for(m.InvalidAsrResult, after=before)
            assert "start_tts" not in call.actions()
            await call.client.wait_until_heard()
            assert len(call.client.received(m.FinishAsr)) == 1

    run(main)
    assert [(r.outcome, r.heard) for r in agent.records] == [("done", "".join(LONG))]


@pytest.mark.parametrize("text", ["I see <backchannel>", "uh-huh", "嗯", "right, okay"])
def test_a_backchannel_does_not_interrupt(talk: Any, run: Any, text: str) -> None:
    agent = ScriptedAgent(LONG)

    async def main() -> None:
        asr = ScriptedASR(["tell me something", text], word_s=2.0)
        async with talk(asr=asr, agent=agent) as call:
            await call.say(1.0)
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(1.0)
            before = len(call.client.timeline)
            await call.say(0.5)
            await call.client.wait_for(m.ResumeTts, after=before)
            assert not {"stop_tts", "finish_asr"} & set(call.actions(before))
            await call.client.wait_until_heard()
            await anyio.sleep(3)

    run(main)
    assert [(r.outcome, r.heard) for r in agent.records] == [("done", "".join(LONG))]


def test_a_tag_of_completeness_overrules_the_words(talk: Any, run: Any) -> None:
    async def main() -> None:
        asr = ScriptedASR(["go to the <complete>"], final_s=0.05)
        async with talk(asr=asr, vad=None) as call:
            await call.client.say_with_marks(b"".join(loud(1.0)))
            said = anyio.current_time()
            final = await call.client.wait_for(m.FinishAsr)
            assert anyio.current_time() - said == pytest.approx(0.05, abs=0.01)
            assert final.text == "go to the"

    run(main)


def test_half_a_sentence_stops_a_reply_at_once(talk: Any, run: Any) -> None:
    """Who begins to speak over the agent has its attention, though not yet its answer."""
    agent = ScriptedAgent(LONG)

    async def main() -> None:
        asr = ScriptedASR(["tell me something", "stop there <wait>"], final_s=0.05)
        async with talk(asr=asr, agent=agent, vad=None) as call:
            await call.client.say_with_marks(b"".join(loud(1.0)))
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(1.0)
            before = len(call.client.timeline)
            await call.client.say_with_marks(b"".join(loud(0.5)))
            said = anyio.current_time()
            await call.client.wait_for(m.StopTts, after=before)
            assert anyio.current_time() - said == pytest.approx(0.05, abs=0.01)
            await call.client.wait_for(m.FinishAsr, after=before)
            assert anyio.current_time() - said == pytest.approx(0.55, abs=0.01)
            await call.client.wait_until_heard(after=before)

    run(main)
    assert [record.outcome for record in agent.records] == ["interrupted", "done"]
