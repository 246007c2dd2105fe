"""The language model's server: fast, slow, broken, refusing; and the key, which nobody sees."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from typing import Any

import anyio
import pytest
from asking import calls, opened, parts_of, results, run, turn, words
from fake_openai import KEY, Answer, FakeOpenAI, call, say
from pydantic import SecretStr
from xtalk_agent_langchain.agent import Context, DefaultAgent, Limits
from xtalk_agent_langchain.embeddings import OpenAIEmbeddings
from xtalk_agent_langchain.llm import PAUSE_S

from xtalk.agent import AgentInput, Text, Tool, Usage
from xtalk.errors import ConfigError, ModelError, ModelTimeout
from xtalk.log_utils import CLIENTS
from xtalk.settings import ServiceConfig

pytestmark = pytest.mark.real_time

FAST = Limits(timeout_s=1.0, retries=2)


def test_text_comes_as_it_is_written(server: FakeOpenAI, model: dict[str, Any]) -> None:
    server.script(say("Good ", "morning", ".", gap_s=0.2))

    async def test() -> None:
        async with opened(DefaultAgent(model)) as agent:
            times = []
            async for part in agent.async_generate_stream("hello"):
                times.append((time.monotonic(), part))
            assert [part.text for _, part in times if isinstance(part, Text)] == [
                "Good ",
                "morning",
                ".",
            ]
            assert times[2][0] - times[0][0] > 0.2
            assert [part for _, part in times if isinstance(part, Usage)] == [
                Usage(input_tokens=7, output_tokens=5)
            ]

    run(test)


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        (Answer(status=429), None),
        (Answer(status=500), None),
        (Answer(status=503, retry_after="0.3"), None),
        (say("too late", first_s=1.5), None),
        (Answer(cut=True), None),
        (Answer(raw=b"<html>Bad gateway</html>"), None),
        (Answer(raw=b"data: {not json\n\n"), None),
        (Answer(raw=b"data: [DONE]\n\n"), None),
        (Answer(status=404, code="model_not_found"), "no such model or address"),
        (say(ending="content_filter"), "held the answer back"),
        (Answer(status=400), "refused the request"),
        (Answer(status=401), "refused the key"),
        (Answer(status=429, code="insufficient_quota"), "no credit"),
        (Answer(status=429, retry_after="60"), "overloaded"),
    ],
    ids=str,
)
def test_before_the_first_token_it_is_asked_again_where_that_may_help(
    server: FakeOpenAI, model: dict[str, Any], first: Answer, problem: str | None
) -> None:
    server.script(first, say("Fine."))

    async def test() -> None:
        async with opened(DefaultAgent(model, limits=FAST)) as agent:
            if problem is None:
                assert words(await parts_of(agent, "hello")) == "Fine."
                assert len(server.requests) == 2
            else:
                with pytest.raises(ModelError, match=problem):
                    await parts_of(agent, "hello")
                assert len(server.requests) == 1

    run(test)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (say("Once upon a ", cut=True), ModelError),
        (say("Once upon a ", "time", gap_s=1.5), ModelTimeout),
        (say("Once upon a ", ending=None), ModelError),
        (say("Once upon a ", ending="content_filter"), ModelError),
    ],
    ids=["cut", "stalled", "cut cleanly", "filtered"],
)
def test_behind_the_first_token_it_is_not(
    server: FakeOpenAI, model: dict[str, Any], answer: Answer, error: type[Exception]
) -> None:
    server.script(answer)

    async def test() -> None:
        async with opened(DefaultAgent(model, limits=FAST)) as agent:
            said = ""
            with pytest.raises(error):
                async for part in agent.async_generate_stream("hello"):
                    said += part.text if isinstance(part, Text) else ""
            assert said == "Once upon a "
            assert len(server.requests) == 1

    run(test)


def test_it_gives_up_before_the_engine_does(server: FakeOpenAI, model: dict[str, Any]) -> None:
    server.answer = lambda request: say("too late", first_s=10)

    async def test() -> None:
        limits = Limits(timeout_s=0.2, retries=9)
        async with opened(DefaultAgent(model, limits=limits)) as agent:
            with pytest.raises(ModelTimeout, match="took too long"):
                await parts_of(agent, "hello")
            assert len(server.requests) == 2

    run(test)
    defaults = Limits()
    assert 2 * defaults.timeout_s + PAUSE_S < ServiceConfig().agent_timeout_sec


def test_it_gives_up_after_its_retries(server: FakeOpenAI, model: dict[str, Any]) -> None:
    server.answer = lambda request: Answer(status=500)

    async def test() -> None:
        async with opened(DefaultAgent(model, limits=Limits(retries=1))) as agent:
            with pytest.raises(ModelError, match=r"broken \(500\)"):
                await parts_of(agent, "hello")
            assert len(server.requests) == 2

    run(test)


@pytest.mark.parametrize("answer", [say(), say(" ", "\n"), say(ending="length")])
def test_an_answer_without_a_word_is_a_failure_unless_nobody_asked(
    server: FakeOpenAI, model: dict[str, Any], answer: Answer
) -> None:
    server.script(answer, answer)

    async def test() -> None:
        async with opened(DefaultAgent(model=model)) as agent:
            with pytest.raises(ModelError, match="without a word"):
                await parts_of(agent, "Are you there?")
            assert words(await parts_of(agent, "", event="idle")).strip() == ""

    run(test)


def test_a_tool_may_be_all_of_an_answer(server: FakeOpenAI, model: dict[str, Any]) -> None:
    server.script(call("get_time"), say())

    async def test() -> None:
        async with opened(DefaultAgent(model=model, tools=["get_time"])) as agent:
            parts = await parts_of(agent, "Look at the clock.")
            assert [name for name, _ in calls(parts)] == ["get_time"]
            assert words(parts) == ""

    run(test)


def test_a_server_that_is_not_there_is_said_plainly() -> None:
    agent = DefaultAgent({"model": "m", "base_url": "http://127.0.0.1:9/v1"}, limits=FAST)

    async def test() -> None:
        async with opened(agent):
            with pytest.raises(ModelError, match="cannot be reached"):
                await parts_of(agent, "hello")

    run(test)


@pytest.mark.parametrize("when", ["before the first token", "while it speaks"])
def test_leaving_closes_the_connection_long_before_the_reply_would_end(
    server: FakeOpenAI, model: dict[str, Any], when: str
) -> None:
    early = when == "before the first token"
    server.answer = lambda request: say("a ", "b ", first_s=5 if early else 0, gap_s=5)

    async def test() -> None:
        async with opened(DefaultAgent(model)) as agent:
            took = []
            for number in range(1, 6):
                with anyio.CancelScope() as scope:
                    async for _ in _told(agent, scope, early):
                        pass
                left = time.monotonic()
                while len(server.gone_at) < number:
                    assert time.monotonic() < left + 4
                    await anyio.sleep(0.001)
                took.append(server.gone_at[-1] - left)
            assert max(took) < 3  # seconds; the reply would have taken five and more

    run(test)


async def _told(agent: DefaultAgent, scope: anyio.CancelScope, early: bool) -> Any:
    """The parts; the scope is cancelled in the middle."""
    if early:
        scope.deadline = anyio.current_time() + 0.5
    async for part in agent.async_generate_stream("hello"):
        yield part
        scope.cancel()
        await anyio.lowlevel.checkpoint()


async def warmed(server: FakeOpenAI, times: int) -> None:
    """Wait until that many sessions have connected ahead of their first question."""
    while server.paths.count("GET /v1/models") < times:  # noqa: ASYNC110 (it is on another thread)
        await anyio.sleep(0.001)
    await anyio.sleep(0.1)  # the answer's way back


def test_all_sessions_share_warm_connections(server: FakeOpenAI, model: dict[str, Any]) -> None:
    async def test() -> None:
        async with opened(DefaultAgent(model)) as prototype:
            await warmed(server, 1)
            for number in range(5):
                async with opened(prototype.clone()) as agent:
                    await warmed(server, 2 + number)
                    await turn(agent, "hello")
            assert server.connections == 1

    run(test)


def test_a_session_connects_ahead_when_the_connections_have_been_closed(
    server: FakeOpenAI, model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xtalk_agent_langchain.llm.KEEPALIVE_S", 0.05)

    async def test() -> None:
        async with opened(DefaultAgent(model)) as prototype:
            await warmed(server, 1)
            await anyio.sleep(0.1)  # the client notes the time of its connections by itself
            async with opened(prototype.clone()):
                await warmed(server, 2)
                assert server.connections == 2

    run(test)


def test_it_works_without_being_opened(server: FakeOpenAI, model: dict[str, Any]) -> None:
    agent = DefaultAgent(model)
    assert agent.generate("hello") == "You said: hello."
    assert agent.generate({"content": "again", "context": {}}) == "You said: again."
    server.script(call("get_time"), say("Late."))
    text, made = agent.generate("what time is it")
    assert (text, [each.name for each in made]) == ("Late.", ["get_time"])


# --- configuration -------------------------------------------------------------------------------


def test_a_name_of_a_provider(server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    assert DefaultAgent("openai:fake").generate("hello") == "You said: hello."
    with pytest.raises(ConfigError, match="provider:name"):
        DefaultAgent("nonsense-7")


def test_a_chat_model_of_langchain() -> None:
    from langchain_core.language_models import FakeListChatModel

    agent = DefaultAgent(FakeListChatModel(responses=["Hi."]), tools=[])
    assert agent.generate("hello") == "Hi."
    assert agent.get_llm().responses == ["Hi."]


def test_without_a_key_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        DefaultAgent({"model": "fake"})
    with pytest.raises(ConfigError, match="no name"):
        DefaultAgent({"api_key": "x"})
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    DefaultAgent({"model": "fake"})


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"temprature": 0.5}, "no setting 'temprature'; did you mean temperature?"),
        ({"zzz": 1}, "no setting 'zzz'; what only your server knows is extra_body"),
        ({"temperature": "hot", "default_headers": {"x": KEY}}, "temperature: Input should be"),
    ],
    ids=["near", "far", "type"],
)
def test_a_wrong_setting_of_the_model_is_refused_at_once(
    model: dict[str, Any], wrong: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        DefaultAgent({**model, **wrong})
    assert told in str(refused.value)
    assert KEY not in str(refused.value) and "hot" not in str(refused.value)


def test_settings_go_by_both_of_their_names(server: FakeOpenAI, model: dict[str, Any]) -> None:
    both = {"temperature": 0.5, "max_tokens": 9, "request_timeout": 5, "extra_body": {"top_k": 3}}
    assert DefaultAgent({**model, **both}).generate("hello") == "You said: hello."
    assert server.requests[0]["temperature"] == 0.5 and server.requests[0]["top_k"] == 3


def test_a_key_may_end_with_a_newline(server: FakeOpenAI, model: dict[str, Any]) -> None:
    assert DefaultAgent({**model, "api_key": f"{KEY}\n"}).generate("hello") == "You said: hello."
    assert server.keys == [f"Bearer {KEY}"]


@pytest.mark.parametrize("key", ["sk-\u00fcber", "sk-a\nb"])
def test_a_key_that_no_header_can_hold_is_refused_at_once(model: dict[str, Any], key: str) -> None:
    for make in (DefaultAgent, lambda table: OpenAIEmbeddings(api_key=table["api_key"])):
        with pytest.raises(ConfigError, match="no key has") as refused:
            make({**model, "api_key": SecretStr(key)})
        assert key not in str(refused.value)


def test_an_address_may_go_by_the_older_name(
    server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    assert DefaultAgent({"model": "fake"}).generate("hello") == "You said: hello."
    embeddings = OpenAIEmbeddings("fake")
    assert len(embeddings.embed_query("hello")) == 64
    embeddings.close()


def test_the_key_is_sent_and_shown_nowhere(
    server: FakeOpenAI, model: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answer = lambda request: Answer(status=401)

    async def test() -> None:
        agent = DefaultAgent(model)
        async with opened(agent):
            with pytest.raises(ModelError) as failed:
                await parts_of(agent, "hello")
        assert KEY not in str(failed.value)
        assert failed.value.__cause__ is None and failed.value.__suppress_context__
        assert KEY not in repr(vars(agent)) + repr(agent.get_llm())

    run(test)
    assert server.keys == [f"Bearer {KEY}"]
    ours = [each.getMessage() for each in caplog.records if each.name.startswith("xtalk")]
    assert ours and not any(KEY in text for text in ours)


def test_a_key_in_the_address_is_in_no_log(
    server: FakeOpenAI, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program has set up logging by itself, and said nothing of the client's loggers."""
    for name in CLIENTS:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    caplog.set_level(logging.DEBUG)

    async def test() -> None:
        model = {"model": "fake", "base_url": f"{server.url}/{KEY}", "api_key": "other"}
        async with opened(DefaultAgent(model)) as agent:
            await parts_of(agent, "hello")

    run(test)
    assert any(KEY in path for path in server.paths)
    assert KEY not in caplog.text


def test_the_hooks_import_neither_langchain_nor_openai() -> None:
    code = "import sys, xtalk_agent_langchain; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"langchain", "langchain_core", "openai", "httpx", "pydantic"} & set(loaded)


# --- what the model is told ----------------------------------------------------------------------


def test_what_is_known_stands_in_the_system_message(
    server: FakeOpenAI, model: dict[str, Any]
) -> None:
    context = {"caption": "Speaker whispers.", "thought": "In a hurry.", "speaker_id": "Speaker 1"}

    async def test() -> None:
        async with opened(DefaultAgent(model, system_prompt="Be kind.")) as agent:
            await turn(agent, "hello", context=context, ages={"caption": 3.4, "speaker_id": 0.1})
            await turn(agent, "again", turn_id=2)

    run(test)
    system = server.requests[0]["messages"][0]["content"]
    assert system.startswith("Be kind.")
    assert '<caption age="3 s">Speaker whispers.</caption>' in system
    assert "<thought>In a hurry.</thought>" in system
    said = server.requests[1]["messages"][1]
    assert said["name"] == "Speaker_1"
    assert said["content"] == "The current speaker is Speaker 1, saying: hello"
    assert "whispers" not in server.requests[1]["messages"][0]["content"]


def test_a_name_that_no_server_takes_is_left_out(server: FakeOpenAI, model: dict[str, Any]) -> None:
    async def test() -> None:
        async with opened(DefaultAgent(model)) as agent:
            await turn(agent, "你好", context={"speaker_id": "王芳"})

    run(test)
    assert "name" not in server.requests[0]["messages"][1]
    assert "王芳" in server.requests[0]["messages"][1]["content"]


@pytest.mark.parametrize("when_full", ["drop", "summarise"])
def test_the_context_is_bounded(server: FakeOpenAI, model: dict[str, Any], when_full: str) -> None:
    def answer(request: dict[str, Any]) -> Answer:
        asked = request["messages"][-1]["content"]
        return say("They spoke of shoes.") if "Sum up" in asked else say("Yes. " * 20)

    server.answer = answer
    context = Context(max_tokens=300, when_full=when_full)  # type: ignore[arg-type]

    async def test() -> None:
        async with opened(DefaultAgent(model, context=context, tools=[])) as agent:
            for number in range(20):
                await turn(agent, f"number {number} of many words about shoes and hats")
                await anyio.sleep(0.03)

    run(test)
    last = server.requests[-1]["messages"]
    assert len(json.dumps(last[1:])) < 4 * 700
    assert "number 19" in last[-1]["content"]
    assert ("They spoke of shoes." in last[0]["content"]) == (when_full == "summarise")
    assert server.faults == []


@pytest.mark.parametrize("many", [1, 20])
def test_what_tools_bring_does_not_fill_the_context(
    server: FakeOpenAI, model: dict[str, Any], many: int
) -> None:
    """A server that refuses what is too long, as all do."""

    def fetch(page: int) -> str:
        """Fetch a page."""
        return f"page {page} " + "word " * 100_000

    def answer(request: dict[str, Any]) -> Answer:
        if len(json.dumps(request["messages"])) > 30_000:
            return Answer(status=400, code="context_length_exceeded")
        if request["messages"][-1]["role"] == "tool":
            return say("Read.")
        return say(calls=[("fetch", {"page": number}) for number in range(many)])

    server.answer = answer

    async def test() -> None:
        context = Context(max_tokens=2000)
        async with opened(DefaultAgent(model, tools=[fetch], context=context)) as agent:
            for _ in range(3):
                parts = await turn(agent, "go")
                assert words(parts).endswith("Read.")
                assert len(results(parts)[0]) > 500_000, "the page is shown all of it"

    run(test)
    told = [m["content"] for m in server.requests[-1]["messages"] if m["role"] == "tool"]
    assert told[0].startswith("page 0 word")
    assert "(Cut: these are the first" in told[0] and "of 500007 characters.)" in told[0]


@pytest.mark.parametrize("id", ["call_{index}", ""])
def test_ids_that_a_server_uses_again_are_not_used_again(
    server: FakeOpenAI, model: dict[str, Any], id: str
) -> None:
    server.answer = lambda request: (
        say("ok")
        if request["messages"][-1]["role"] == "tool"
        else say(calls=[("get_time", {}), ("get_time", {"fmt": "%H"})], id=id)
    )

    async def test() -> None:
        async with opened(DefaultAgent(model)) as agent:
            for _ in range(3):
                assert len(results(await turn(agent, "go"))) == 2

    run(test)
    assert server.faults == []


def test_halves_of_characters_poison_nothing(server: FakeOpenAI, model: dict[str, Any]) -> None:
    def find(name: str) -> str:
        """Find a file."""
        return os.fsdecode(b"\xff is ") + name

    server.script(
        say("Fine \ud83d", "\ude00 \ud83d", escaped=True),
        say(calls=[("find", '{"name": "\\ud83d x"}'), ("\ud83d", "{}")], escaped=True),
        say("Found."),
    )

    async def test() -> None:
        async with opened(DefaultAgent(model, tools=[find], fillers=[])) as agent:
            assert (
                words(await turn(agent, "hello \udcff", context={"speaker_id": "\udcff"}))
                == "Fine 😀 "
            )
            parts = await turn(agent, "find", context={"caption": "calm \ud83d"})
            assert calls(parts) == [("find", {"name": "\ufffd x"})]
            assert results(parts) == ["\ufffd is \ufffd x"]
            assert words(await turn(agent, "thanks")) == "You said: thanks."

    run(test)
    assert server.faults == []
    assert len(server.requests) == 4, "nothing was asked twice"


def test_what_cannot_be_sent_is_not_sent_again_and_again(
    model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xtalk_agent_langchain.llm.PAUSE_S", 600.0)
    broken = Tool(name="look", description="Half \ud83d.", call=lambda: "")

    async def test() -> None:
        async with opened(DefaultAgent(model, tools=[broken], limits=FAST)) as agent:
            with pytest.raises(ModelError, match="cannot be sent"):
                await parts_of(agent, "hello")

    run(test)


def test_a_speculation_leaves_no_trace(server: FakeOpenAI, model: dict[str, Any]) -> None:
    async def test() -> None:
        async with opened(DefaultAgent(model)) as agent:
            before = agent.get_chat_history()
            await parts_of(agent, "what is", speculative=True)
            assert agent.get_chat_history() == before == ""
            await turn(agent, "what is the time")
            assert "what is the time" in agent.get_chat_history()

    run(test)
    assert [m["content"] for m in server.requests[1]["messages"][1:]] == ["what is the time"]


def test_a_dict_is_taken_for_an_input(model: dict[str, Any]) -> None:
    assert DefaultAgent(model).generate(AgentInput("hello")) == "You said: hello."
