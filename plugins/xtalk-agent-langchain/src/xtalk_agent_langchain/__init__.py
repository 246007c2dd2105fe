"""The hooks of xtalk-agent-langchain."""

from __future__ import annotations

from collections.abc import Iterable

from xtalk.hookspecs import Model, hookimpl


@hookimpl
def xtalk_llm_agent() -> Iterable[Model]:
    yield Model(
        "DefaultAgent",
        "xtalk_agent_langchain.agent:DefaultAgent",
        "a language model of any OpenAI-compatible server, with tools, documents and MCP",
        streaming=True,
        license="Apache-2.0",
    )


@hookimpl
def xtalk_caption_rewriter() -> Iterable[Model]:
    yield Model(
        "DefaultCaptionRewriter",
        "xtalk_agent_langchain.rewriters:DefaultCaptionRewriter",
        "a language model puts captions in plain words",
        license="Apache-2.0",
    )
    yield _simple()


@hookimpl
def xtalk_thought_rewriter() -> Iterable[Model]:
    yield Model(
        "DefaultThoughtRewriter",
        "xtalk_agent_langchain.rewriters:DefaultThoughtRewriter",
        "a language model keeps a note on the conversation",
        license="Apache-2.0",
    )
    yield _simple()


@hookimpl
def xtalk_embeddings() -> Iterable[Model]:
    yield Model(
        "OpenAIEmbeddings",
        "xtalk_agent_langchain.embeddings:OpenAIEmbeddings",
        "text to vectors by any OpenAI-compatible server",
        license="Apache-2.0",
    )


def _simple() -> Model:
    return Model(
        "SimpleRewriter",
        "xtalk_agent_langchain.rewriters:SimpleRewriter",
        "a language model rewrites by a prompt of yours",
        license="Apache-2.0",
    )
