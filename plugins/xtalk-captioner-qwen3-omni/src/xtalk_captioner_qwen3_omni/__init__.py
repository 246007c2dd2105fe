"""The hooks of xtalk-captioner-qwen3-omni."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_captioner() -> Iterable[Model]:
    yield Model(
        "Qwen3OmniCaptioner",
        "xtalk_captioner_qwen3_omni.captioner:Qwen3OmniCaptioner",
        "Qwen3-Omni behind an OpenAI-compatible server: what is to be heard, in sentences",
        sample_rates=(16_000,),
        streaming=True,
        license="Apache-2.0",
    )
