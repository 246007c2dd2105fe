"""An agent that begins before the end of the turn is certain: sooner heard, or never heard of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from xtalk import events
from xtalk.agent import Agent, Text, ToolCall, ToolResult
from xtalk.answer import Answer
from xtalk.managers.agent import LLMAgentManager
from xtalk.speech.interfaces import Transcript
from xtalk.testing.fakes import ScriptedAgent, ScriptedASR, loud, quiet
from xtalk.wire import messages as m

ON = {"speculate": True}


def watch(call: Any) -> list[events.Decision]:
    seen: list[events.Decision] = []
    call.session.subscribe(events.Decision, seen.append)
    return seen


class Hearing(ScriptedASR):
    """Tells the partial texts at their times in the audio (seconds), then the final."""

    def __init__(self, partials: dict[float, str], final: str, *, final_s: float = 0.05) -> None:
        super().__init__([final], final_s=final_s)
        self.partials = partials

    def clone(self) -> Hearing:
        return Hearing(self.partials, self.texts[0], final_s=self.final_s)

    async def transcribe(self, frames: Any) -> AsyncIterator[Transcript]:
        seconds, told = 0.0, ""
        async for frame in frames:
            seconds += frame.seconds
            heard = [text for at, text in self.partials.items() if at <= seconds]
            if heard and heard[-1] != told:
                told = heard[-1]
                yield Transcript(text=told)
        await anyio.sleep(self.final_s)
        yield Transcript(text=self.texts[0], final=True)


def talk_over(call: Any) -> LLMAgentManager:
    manager = call.session.find(LLMAgentManager)
    assert manager is not None
    return manager


def first_chunk(run: Any, talk: Any, agent: Agent, asr: ScriptedASR, config: Any) -> float:
    """Seconds from the end of speech to the first audio."""

    async def main() -> float:
        async with talk(agent=agent, asr=asr, config=config) as call:
            await call.say(1.0)
            said = anyio.current_time()
            await call.client.wait_until_heard()
            chunk = next(e for e in call.client.timeline if isinstance(e.message, m.TtsChunk))
            return float(chunk.at - said)

    return float(run(main))


def test_a_reply_comes_earlier_by_the_time_from_the_candidate_to_the_final_text(
    talk: Any, run: Any
) -> None:
    asr = Hearing({0.6: "what time is it"}, "What time is it?")
    times = [first_chunk(run, talk, ScriptedAgent(first_s=1.0), asr, config) for config in ({}, ON)]
    # The detector hears the candidate 120 ms after the end of speech and the end 500 ms after
    # it, and decoding takes 50 ms.
    assert times[0] - times[1] == pytest.approx(0.5 - 0.12 + 0.05, abs=0.021)


def test_a_quick_agent_answers_at_once(talk: Any, run: Any) -> None:
    agent = ScriptedAgent(first_s=0.2)
    asr = Hearing({0.6: "what time is it"}, "What time is it?")
    # 500 ms of silence, 50 of decoding, 80 of synthesis
    assert first_chunk(run, talk, agent, asr, ON) == pytest.approx(0.63, abs=0.035)
    assert len(agent.inputs) == 1
    [record] = agent.records
    assert (record.user, record.heard) == ("What time is it?", "Hello. How are you?")


def test_a_wrong_guess_leaves_no_trace(talk: Any, run: Any) -> None:
    agent = ScriptedAgent(lambda input: [f"You said {input.text}."], first_s=0.05)

    async def main() -> None:
        asr = Hearing({0.6: "turn left", 2.0: "turn left now"}, "turn left now")
        async with talk(agent=agent, asr=asr, config=ON) as call:
            decisions = watch(call)
            await call.client.say(b"".join(loud(1.0) + quiet(0.4) + loud(0.5)))
            await call.client.wait_until_heard()
            outcomes = [d.outcome for d in decisions if d.rule == "4"]
            assert outcomes == ["speculate", "discard", "speculate"]
            assert talk_over(call).discarded == 1
            replies = {u.text for u in call.client.received(m.UpdateResp)}
            assert replies == {"You said turn left now."}
            assert len(call.client.received(m.StartTts)) == 1

    run(main)
    assert [(i.text, i.speculative) for i in agent.inputs] == [
        ("turn left", True),
        ("turn left now", True),
    ]
    assert len(agent.closings) == len(agent.inputs), "what was discarded has been stopped"
    assert [record.user for record in agent.records] == ["turn left now"]


def test_a_cough_behind_a_guess_discards_it(talk: Any, run: Any) -> None:
    agent = ScriptedAgent()

    async def main() -> None:
        asr = Hearing({0.6: "and what"}, "")
        async with talk(agent=agent, asr=asr, config=ON) as call:
            await call.say(1.0)
            await anyio.sleep(3)
            assert call.actions() == ["update_asr", "invalid_asr_result", "resume_tts"]

    run(main)
    assert agent.records == []


class Acting(ScriptedAgent):
    """Announces a tool and then runs it."""

    def __init__(self, effects: bool) -> None:
        super().__init__(first_s=0.02)
        self.effects = effects
        self.ran: list[float] = []

    def clone(self) -> Acting:
        twin = Acting(self.effects)
        twin.ran, twin.records, twin.inputs = self.ran, self.records, self.inputs
        return twin

    async def async_generate_stream(self, input: Any) -> AsyncIterator[Any]:
        self.inputs.append(input)
        await anyio.sleep(self.first_s)
        yield Text(text="Well. ")
        yield ToolCall("open_door", effects=self.effects)
        self.ran.append(anyio.current_time())
        yield ToolResult(id="", name="open_door", content="open")
        yield "It is open."


@pytest.mark.parametrize("effects", [True, False])
def test_a_tool_with_effects_waits_for_the_final_text(talk: Any, run: Any, effects: bool) -> None:
    agent = Acting(effects)

    async def main() -> float:
        asr = Hearing({0.6: "please open the door"}, "Please open the door!", final_s=0.3)
        async with talk(agent=agent, asr=asr, config=ON) as call:
            await call.say(1.0)
            final = await call.client.wait_for(m.FinishAsr)
            at = next(e.at for e in call.client.timeline if e.message is final)
            await call.client.wait_until_heard()
            assert len(call.client.received(m.ToolCalled)) == 1
            return float(at)

    accepted = run(main)
    assert len(agent.inputs) == len(agent.ran) == 1
    assert (agent.ran[0] >= accepted) is effects
    assert agent.records[0].tool_results[0].content == "open"


def test_a_tool_with_effects_of_a_wrong_guess_never_runs(talk: Any, run: Any) -> None:
    agent = Acting(True)

    async def main() -> None:
        asr = Hearing({0.6: "please open the door"}, "please open the door not")
        async with talk(agent=agent, asr=asr, config=ON) as call:
            await call.say(1.0)
            await call.client.wait_until_heard()

    run(main)
    assert len(agent.inputs) == 2 and len(agent.ran) == 1


def test_who_speaks_on_interrupts_what_was_speculated_as_any_reply(talk: Any, run: Any) -> None:
    agent = ScriptedAgent(("One two three four five six seven. ",) * 4)

    async def main() -> None:
        asr = Hearing({0.6: "tell me all"}, "tell me all")
        async with talk(agent=agent, asr=asr, config=ON) as call:
            await call.say(1.0)
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(1.0)
            before = len(call.client.timeline)
            await call.say(1.0)
            await call.client.wait_for(m.FinishAsr, after=before)
            assert "stop_tts" in call.actions(before)
            await call.client.wait_until_heard(after=before)

    run(main)
    assert [record.outcome for record in agent.records] == ["interrupted", "done"]
    assert len(agent.inputs) == 2, "while a reply sounds nothing is speculated"
    assert 0 < len(agent.records[0].heard) < len(agent.records[0].reply)


def test_a_right_guess_is_stopped_with_a_turn_that_is_stopped_before_it_says_a_word(
    talk: Any, run: Any
) -> None:
    agent = ScriptedAgent(first_s=60)

    async def main() -> None:
        asr = Hearing({0.6: "what time is it"}, "What time is it?")
        config = {**ON, "speaker_deadline_ms": 1000}
        async with talk(agent=agent, asr=asr, config=config) as call:
            call.session.before_turn.append(asyncio.get_running_loop().create_future)
            await call.say(1.0)
            await call.client.wait_for(m.FinishAsr)
            assert len(agent.inputs) == 1 and not agent.closings
            call.session.post(events.TurnLLMAgentStopRequested())
            await anyio.sleep(0.1)
            assert agent.closings == agent.inputs

    run(main)


def test_other_context_makes_the_guess_worthless(talk: Any, run: Any) -> None:
    agent = ScriptedAgent()

    async def main() -> None:
        asr = Hearing({0.6: "what is my name"}, "What is my name?", final_s=0.2)
        async with talk(agent=agent, asr=asr, config=ON) as call:
            decisions = watch(call)
            await call.say(1.0)
            await anyio.sleep(0.3)
            call.session.pipeline.context["speaker_id"] = "Anna"
            await call.client.wait_until_heard()
            assert talk_over(call).discarded == 1
            assert [d.evidence["reason"] for d in decisions if d.outcome == "discard"] == [
                "other context"
            ]

    run(main)
    assert [i.speculative for i in agent.inputs] == [True, False]
    assert len(agent.records) == 1


def test_an_agent_that_fails_ahead_is_asked_again(talk: Any, run: Any) -> None:
    def reply(input: Any) -> list[Any]:
        return [RuntimeError("too early")] if input.speculative else ["Fine."]

    agent = ScriptedAgent(reply)

    async def main() -> None:
        asr = Hearing({0.6: "how are you"}, "how are you")
        async with talk(agent=agent, asr=asr, config=ON) as call:
            await call.say(1.0)
            await call.client.wait_until_heard()
            assert "error" not in call.actions()

    run(main)
    assert agent.records[0].reply == "Fine."


def test_another_agent_does_not_say_what_the_one_before_speculated(talk: Any, run: Any) -> None:
    async def main() -> None:
        asr = Hearing({0.6: "what is my name"}, "What is my name?", final_s=0.2)
        async with talk(agent=ScriptedAgent(["I am the first."]), asr=asr, config=ON) as call:
            await call.say(1.0)
            await anyio.sleep(0.3)
            manager = talk_over(call)
            assert manager._guard is not None
            await manager._guard.change(ScriptedAgent(["I am the second."]))
            await call.client.wait_until_heard()
            assert call.client.received(m.UpdateResp)[-1].text == "I am the second."
            assert manager.discarded == 1

    run(main)


class Forgetful(Agent):
    """Keeps no history by `commit`, so what it was asked cannot be taken back."""

    asked: list[str]

    def __init__(self) -> None:
        self.asked = []

    def generate(self, input: Any) -> str:
        return "Yes."

    def clone(self) -> Forgetful:
        twin = Forgetful()
        twin.asked = self.asked
        return twin

    async def async_generate_stream(self, input: Any) -> AsyncIterator[Any]:
        self.asked.append(input.text)
        yield "Yes."


class InThread(Forgetful):
    """Runs ahead of what is asked of it."""

    def generate_stream(self, input: Any) -> list[str]:
        self.asked.append(input.text)
        return ["Yes."]

    async_generate_stream = Agent.async_generate_stream

    def clone(self) -> InThread:
        twin = InThread()
        twin.asked = self.asked
        return twin

    def commit(self, record: Any) -> None:
        pass


@pytest.mark.parametrize("agent", [Forgetful(), InThread()])
def test_an_agent_that_would_leave_a_trace_never_speculates(
    talk: Any, run: Any, agent: Forgetful
) -> None:
    async def main() -> None:
        asr = Hearing({0.6: "turn left"}, "turn right")
        async with talk(agent=agent, asr=asr, config=ON) as call:
            decisions = watch(call)
            await call.say(1.0)
            await call.client.wait_until_heard()
            assert "4" not in [decision.rule for decision in decisions]

    run(main)
    assert agent.asked == ["turn right"]


def test_it_is_off_unless_it_is_turned_on(talk: Any, run: Any) -> None:
    agent = ScriptedAgent()

    async def main() -> None:
        async with talk(agent=agent, asr=Hearing({0.6: "turn left"}, "turn right")) as call:
            await call.say(1.0)
            await call.client.wait_until_heard()

    run(main)
    assert [(i.text, i.speculative) for i in agent.inputs] == [("turn right", False)]


def test_who_is_not_wanted_yet_says_only_so_much(run: Any) -> None:
    made: list[int] = []

    async def source() -> AsyncIterator[Any]:
        for number in range(1000):
            made.append(number)
            yield Text(text=f"{number} ")

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            answer = Answer(None, {})
            tasks.start_soon(answer.run, source())
            await anyio.sleep(1)
            assert len(made) == 256
            text = "".join([part.text async for part in answer.parts()])  # type: ignore[union-attr]
            assert text == "".join(f"{number} " for number in range(1000))

    run(main)


# --- tools at an interruption --------------------------------------------------------------------


class Posting(ScriptedAgent):
    """Says a sentence, runs a tool of some seconds, and says another."""

    def __init__(self, effects: bool, tool_s: float = 4.0) -> None:
        super().__init__(first_s=0.02)
        self.effects = effects
        self.tool_s = tool_s
        self.done: list[str] = []
        self.began = 0.0

    def clone(self) -> Posting:
        twin = Posting(self.effects, self.tool_s)
        twin.done, twin.records = self.done, []
        self.twin = twin
        return twin

    async def async_generate_stream(self, input: Any) -> AsyncIterator[Any]:
        if "send" not in input.text:
            yield "Yes."
            return
        yield "I am about to send your letter to Anna. "
        yield ToolCall("send", effects=self.effects)
        try:
            await anyio.sleep(self.tool_s)
        except BaseException:
            self.done.append("cancelled")
            raise
        self.done.append("sent")
        yield ToolResult(id="", name="send", content="sent")
        yield "It is sent."
        self.done.append("went on")


@pytest.mark.parametrize(
    ("effects", "tool_s", "done"),
    [(True, 4.0, ["sent"]), (False, 4.0, ["cancelled"]), (True, 60.0, ["cancelled"])],
)
def test_a_tool_with_effects_survives_an_interruption_but_is_not_spoken_of(
    talk: Any, run: Any, effects: bool, tool_s: float, done: list[str]
) -> None:
    agent = Posting(effects, tool_s)

    async def main() -> None:
        asr = ScriptedASR(["send the letter", "never mind all that"])
        async with talk(agent=agent, asr=asr) as call:
            await call.say(1.0)
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(0.5)
            await call.say(1.0)
            await anyio.sleep(tool_s + 5)
            said = {update.text for update in call.client.received(m.UpdateResp)}
            assert not any("It is sent" in text for text in said)
            assert "Yes." in said, "the next turn does not wait for the tool"
            records = talk_over(call)._records
            assert [record.outcome for record in records] == ["interrupted", "done"]
            assert [c.name for c in records[0].tool_calls] == ["send"]
            assert bool(records[0].tool_results) is (done == ["sent"])

    run(main)
    assert agent.twin.done == done


def test_who_speaks_on_behind_a_tool_is_stopped_at_once(talk: Any, run: Any) -> None:
    class Telling(Posting):
        async def async_generate_stream(self, input: Any) -> AsyncIterator[Any]:
            try:
                yield ToolCall("send")
                yield "It is on its way, and now I shall tell you all about it. "
                await anyio.sleep(10)
            finally:
                self.done.append(f"{anyio.current_time() - self.began:.2f}")

    agent = Telling(True)

    async def main() -> None:
        asr = ScriptedASR(["send the letter", "never mind all that"], word_s=9.0)
        async with talk(agent=agent, asr=asr, vad=None) as call:
            await call.client.say_with_marks(b"".join(loud(1.0)))
            await call.client.wait_for(m.StartTts)
            await anyio.sleep(0.5)
            await call.client.say_with_marks(b"".join(loud(1.0)))
            agent.began = anyio.current_time()
            await anyio.sleep(1)

    agent.clone = lambda: agent  # type: ignore[method-assign]
    run(main)
    assert agent.done[0] == "0.05", "with the final text"
