"""Every model beside the conversation hangs, fails or is slow at once: the turns do not care."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import numpy as np
import pytest

from xtalk import events
from xtalk.agent import ToolResult
from xtalk.rewriter import Rewriter
from xtalk.speech.interfaces import Captioner, SpeakerEncoder
from xtalk.testing.fakes import ScriptedAgent
from xtalk.wire import messages as m


class Bad:
    def __init__(self, wait_s: float, fails: bool) -> None:
        self.wait_s = wait_s
        self.fails = fails
        self.inside = 0
        self.most = 0
        self.calls = 0

    async def work(self) -> None:
        self.calls += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await anyio.sleep(self.wait_s)
            if self.fails:
                raise OSError("down")
        finally:
            self.inside -= 1


class BadCaptioner(Bad, Captioner):
    def caption(self, audio: bytes) -> str:
        raise NotImplementedError

    async def async_caption(self, audio: bytes) -> str:
        await self.work()
        return "a voice"


class BadRewriter(Bad, Rewriter):
    def rewrite(self, text: str) -> str:
        raise NotImplementedError

    async def async_rewrite(self, text: str) -> str:
        await self.work()
        return "a thought"


class BadEncoder(Bad, SpeakerEncoder):
    def extract(self, audio: bytes) -> Any:
        raise NotImplementedError

    async def async_extract(self, audio: bytes) -> Any:
        await self.work()
        return np.ones(2, dtype=np.float32)


class Changing(ScriptedAgent):
    def get_chat_history(self) -> str:
        return str(len(self.records))


TURNS = 4
LATEST_S = 0.15  # speaker_deadline_ms


@pytest.mark.parametrize(
    ("wait_s", "fails"), [(1e6, False), (0.0, True), (0.7, True), (3.0, False)]
)
def test_turns_go_on_and_nothing_is_left(
    converse: Any, run: Any, wait_s: float, fails: bool
) -> None:
    bad = {
        "captioner": BadCaptioner(wait_s, fails),
        "thought_rewriter": BadRewriter(wait_s, fails),
        "speaker_encoder": BadEncoder(wait_s, fails),
    }

    async def answers(**models: Any) -> list[float]:
        """How long each turn waited for its first audio; the client vanishes in the last reply."""
        waited = []
        agent = Changing(["This is an answer of some length. "])
        async with converse(llm_agent=agent, **models) as call:
            for _ in range(TURNS):
                before = len(call.client.timeline)
                await call.say(2.6)
                end = anyio.current_time()
                await call.client.wait_for(m.StartTts, after=before)
                waited.append(anyio.current_time() - end)
                if len(waited) < TURNS:
                    await call.client.wait_until_heard(after=before)
            assert not call.client.received(m.Error)
        return waited

    plain = run(answers)
    beside = run(lambda: answers(**bad))
    assert all(b <= a + LATEST_S + 0.001 for a, b in zip(plain, beside, strict=True))
    for model in bad.values():
        assert model.calls
        assert model.most == 1
        assert model.inside == 0


@pytest.mark.real_time
def test_a_model_that_hangs_while_it_embeds_is_given_up(
    converse: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """In real time: a virtual clock stands still while a thread works."""
    monkeypatch.setattr("xtalk.managers.embeddings.BATCH_LIMIT_S", 0.5)
    gate = threading.Event()

    class Hanging:
        def embed_query(self, text: str) -> list[float]:
            raise AssertionError("it was given up")

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            gate.wait(10)
            return [[1.0]] * len(texts)

    async def main() -> None:
        async with converse(embeddings=Hanging()) as call:
            ready = call.watch(events.TextSearchable)
            await call.upload("Apples are red.")
            await call.client.until(lambda: ready, timeout=5)
            store = call.session.pipeline.context["vector_store_instance"]
            assert store.search("apples") == ["Apples are red."]
        gate.set()

    asyncio.run(main())
    assert any("by their words" in record.getMessage() for record in caplog.records)


def test_an_agent_may_cut_characters_in_half(converse: Any, run: Any) -> None:
    name = "name-\udcff.txt"  # as os.fsdecode makes it of a byte that is no UTF-8
    found = ToolResult(id="", name="local_search", content=name)
    agent = ScriptedAgent(["Fine \ud83d", "\ude00 bye. ", found, f"It is {name}."])

    async def main() -> None:
        async with converse(llm_agent=agent) as call:
            await call.turn()
            assert not call.client.received(m.Error)
            (shown,) = call.client.received(m.FinishResp)
            assert shown.text == "Fine 😀 bye. It is name-\ufffd.txt."
            (passage,) = call.client.received(m.RetrievalUpdated)
            assert passage.text == "name-\ufffd.txt"

    run(main)
    assert agent.records[0].heard == "Fine 😀 bye. It is name-\ufffd.txt."
