"""Random conversations with an agent that begins before the end of a turn is certain."""

from __future__ import annotations

from collections import Counter
from typing import Any

import conversations
import pytest

from xtalk import events
from xtalk.testing import virtual_time

CONVERSATIONS = 40


@pytest.mark.parametrize("kind", ["marks", "marks and detector", "device"])
def test_random_conversations_with_speculation(
    kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("CRITICAL")
    seen: Counter[str] = Counter()

    def listen(server: Any, run: Any, listen: Any = conversations._listen) -> None:
        listen(server, run)
        server.session.subscribe(
            events.Decision, lambda e: seen.update([e.outcome] if e.rule == "4" else [])
        )
        server.session.subscribe(
            events.TurnLLMAgentStartRequested, lambda e: seen.update(used=int(e.speculated))
        )

    monkeypatch.setitem(conversations.CONFIG, "speculate", True)
    monkeypatch.setattr(conversations, "_listen", listen)
    for seed in range(CONVERSATIONS):
        run = virtual_time.run(conversations.converse(seed, kind))
        assert not run.faults, f"{kind}, seed {seed}: " + "; ".join(run.faults)
    assert seen["used"] > 10
    if kind != "marks":  # at a mark nothing more can be said
        assert seen["discard"] > 0
