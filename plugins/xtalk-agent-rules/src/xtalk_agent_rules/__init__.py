"""The hooks of xtalk-agent-rules."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_llm_agent() -> Iterable[Model]:
    yield Model(
        "RuleAgent",
        "xtalk_agent_rules.agent:RuleAgent",
        "time, date, sums, voice and speed, by rules; no model, no key",
        languages=("en",),
        streaming=True,
        license="Apache-2.0",
    )
