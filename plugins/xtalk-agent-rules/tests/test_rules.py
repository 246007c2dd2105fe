"""What RuleAgent answers, and that its grammar and its understanding are the same."""

from __future__ import annotations

import random
import re
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path

import pytest
from xtalk_agent_rules.agent import SAYINGS, VOICES, RuleAgent
from xtalk_agent_rules.numbers import figures, value
from xtalk_agent_rules.phrases import REQUESTS, Phrases, normalise

from xtalk.agent import AgentInput, ToolCall, TurnRecord
from xtalk.errors import ConfigError

AFTERNOON = datetime(2026, 11, 22, 15, 5, tzinfo=timezone(timedelta(hours=8)))
THREE_VOICES = {"voices": ["American", "British", "British woman"]}


def ask(
    text: str,
    agent: RuleAgent | None = None,
    *,
    now: datetime = AFTERNOON,
    context: dict[str, object] | None = None,
) -> tuple[str, ToolCall | None]:
    """The text of the reply and its tool call."""
    parts = list((agent or RuleAgent()).generate_stream(AgentInput(text, now=now, context=context)))
    calls = [part for part in parts if isinstance(part, ToolCall)]
    return "".join(part for part in parts if isinstance(part, str)), calls[0] if calls else None


def say(text: str, agent: RuleAgent | None = None) -> str:
    return ask(text, agent)[0]


def converse(agent: RuleAgent, text: str, context: dict[str, object] | None = None) -> str:
    """One whole turn, committed as the engine would."""
    reply, call = ask(text, agent, context=context)
    calls = (call,) if call else ()
    agent.commit(
        TurnRecord(
            turn_id=1,
            user=text,
            reply=reply,
            heard=reply,
            remembered=reply,
            outcome="done",
            tool_calls=calls,
        )
    )
    return reply


# --- time and date ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hour", "minute", "answer"),
    [
        (0, 0, "It is 12:00 AM."),
        (9, 30, "It is 9:30 AM."),
        (12, 5, "It is 12:05 PM."),
        (15, 5, "It is 3:05 PM."),
        (23, 59, "It is 11:59 PM."),
    ],
)
def test_the_time_is_that_of_the_turn(hour: int, minute: int, answer: str) -> None:
    now = AFTERNOON.replace(hour=hour, minute=minute)
    assert ask("What time is it?", now=now) == (answer, None)


@pytest.mark.parametrize(
    ("day", "spoken"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (12, "12th"), (23, "23rd")],
)
def test_the_date_is_that_of_the_turn(day: int, spoken: str) -> None:
    now = AFTERNOON.replace(month=12, day=day)
    answer = ask("what's the date", now=now)[0]
    assert answer == f"Today is {now:%A}, December {spoken}, 2026."


@pytest.mark.parametrize(
    ("hour", "part"), [(3, "evening"), (4, "morning"), (12, "afternoon"), (18, "evening")]
)
def test_the_greeting_follows_the_hour(hour: int, part: str) -> None:
    assert ask("hello", now=AFTERNOON.replace(hour=hour))[0].startswith(f"Good {part}, I am xtalk.")


def test_a_turn_without_a_clock_takes_the_present() -> None:
    assert re.fullmatch(r"It is \d{1,2}:\d\d [AP]M\.", str(RuleAgent().generate("what time is it")))


# --- sums ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("what is seven times eight", "7 times 8 is 56."),
        ("two plus three times four", "2 plus 3 times 4 is 14."),
        ("how much is ninety nine minus a hundred and one", "99 minus 101 is -2."),
        ("Calculate nine hundred and ninety-nine plus one.", "999 plus 1 is 1000."),
        ("ten divided by four", "10 divided by 4 is 2.5."),
        ("one hundred divided by three", "100 divided by 3 is about 33.333."),
        ("two multiplied by six divided by four", "2 times 6 divided by 4 is 3."),
        ("zero divided by zero", "Nothing can be divided by zero."),
        ("12/5", "12 divided by 5 is 2.4."),
        ("What is 3.5 * 2?", "3.5 times 2 is 7."),
        ("1,000 - 999", "1000 minus 999 is 1."),
        ("2 + 2 = ?", "2 plus 2 is 4."),
        ("what is 6 x 7", "6 times 7 is 42."),
    ],
)
def test_sums(question: str, answer: str) -> None:
    assert say(question.replace("=", "")) == answer


ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
TEENS = ["eleven", "twelve", *(f"{n}teen" for n in ("thir", "four", "fif", "six", "seven", "eigh"))]
TEENS += ["nineteen"]
TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def in_words(number: int) -> str:
    if number < 20:
        return (ONES + TEENS)[number]
    if number < 100:
        return f"{TENS[number // 10]} {ONES[number % 10]}".removesuffix(" zero")
    return f"{ONES[number // 100]} hundred and {in_words(number % 100)}".removesuffix(" and zero")


def test_every_number_below_a_thousand_is_understood() -> None:
    phrases = Phrases(VOICES)
    for number in range(1000):
        spoken = in_words(number)
        assert value(spoken) == number
        assert phrases.numbers(f"{spoken} plus {spoken}") == [spoken, spoken]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Fraction(1, 3), "about 0.333"),
        (Fraction(5, 2), "2.5"),
        (Fraction(-7), "-7"),
        (Fraction(1, 8), "0.125"),
    ],
)
def test_figures(number: Fraction, text: str) -> None:
    assert figures(number) == text


def test_counting() -> None:
    assert say("count to five") == "1, 2, 3, 4, 5."
    assert say("count to a hundred").endswith("99, 100.")
    for wrong in ("count to zero", "count to two hundred", "count to 2.5"):
        assert say(wrong) == "I count to whole numbers from 1 to 100."


# --- voice and speed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        ("use the british voice", "British"),
        ("use the British woman voice please", "British woman"),
        ("can you speak with a british voice", "British"),
        ("change your voice to american", "American"),
    ],
)
def test_a_voice_is_set_by_a_tool_call_with_the_name_that_the_voice_has(
    request_: str, name: str
) -> None:
    text, call = ask(request_, context=dict(THREE_VOICES))
    assert call == ToolCall("set_voice", {"name": name}, instant=True)
    assert name in text


def test_a_voice_that_is_not_there_is_said_to_be_missing() -> None:
    text, call = ask("speak with an italian voice", context=dict(THREE_VOICES))
    assert call is None
    assert (
        text == "I do not have the voice italian. My voices are American, British, British woman."
    )
    assert ask("use the italian voice")[0].endswith("I have only one voice.")


def test_another_voice_is_the_next_one() -> None:
    agent = RuleAgent()
    names = []
    for _ in range(4):
        converse(agent, "change your voice", dict(THREE_VOICES))
        names.append(agent._voice)
    assert names == ["British", "British woman", "American", "British"]
    assert say("change your voice") == "I have only one voice."


def test_the_speed_goes_by_steps_up_to_its_limits() -> None:
    agent = RuleAgent()
    speeds = []
    while (answer := ask("speak faster", agent))[1] is not None:
        speeds.append(answer[1].args["speed"])
        converse(agent, "speak faster")
    assert speeds == [1.2, 1.4, 1.5]
    assert answer[0] == "I cannot speak any faster."
    assert ask("normal speed", agent)[1] == ToolCall("set_speed", {"speed": 1.0}, instant=True)
    while (answer := ask("slow down", agent))[1] is not None:
        converse(agent, "slow down")
    assert agent._speed == 0.5
    assert answer[0] == "I cannot speak any slower."


def test_a_reply_that_was_thrown_away_changed_nothing() -> None:
    agent = RuleAgent()
    ask("speak faster", agent)
    assert ask("speak faster", agent)[1] == ToolCall("set_speed", {"speed": 1.2}, instant=True)
    assert agent.get_chat_history() == ""


# --- history ------------------------------------------------------------------------------------


def test_it_repeats_what_it_said_and_what_was_said() -> None:
    agent = RuleAgent()
    assert say("say that again", agent) == "I have not said anything yet."
    assert say("what did i say", agent) == "You have not said anything before."
    first = converse(agent, "two plus two")
    assert say("say that again", agent) == first
    assert say("what did i say", agent) == "You said: two plus two."
    news = "Your text has arrived."
    agent.commit(
        TurnRecord(
            turn_id=2, user="", reply=news, heard=news, outcome="done", event="document_ready"
        )
    )
    assert say("say that again", agent) == news
    assert say("what did i say", agent) == "You said: two plus two."


def test_an_interrupted_reply_is_repeated_whole_and_remembered_as_heard() -> None:
    agent = RuleAgent()
    agent.commit(
        TurnRecord(
            turn_id=1,
            user="count",
            reply="1, 2, 3, 4.",
            heard="1, 2,",
            remembered="1, 2,",
            outcome="interrupted",
        )
    )
    assert agent.get_chat_history() == "User: count\nAssistant: 1, 2,"
    assert say("once more", agent) == "1, 2, 3, 4."


def test_the_history_is_bounded() -> None:
    agent = RuleAgent()
    for _ in range(200):
        converse(agent, "hello")
    assert agent.get_chat_history().count("User:") == 50


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Repeat after me: The Cat, sat.", "The Cat, sat."),
        ("please repeat after me hello", "hello"),
        ("repeat after me, 你好", "你好"),
    ],
)
def test_it_repeats_after_you(text: str, words: str) -> None:
    assert say(text) == words


# --- the rest -----------------------------------------------------------------------------------


def test_it_says_what_it_heard_when_it_did_not_understand() -> None:
    assert say("go forward ten meters") == (
        "I heard: go forward ten meters. I have no rule for that. Ask me what I can do."
    )
    assert say(" ") == "I heard nothing."


def test_its_name_can_be_given() -> None:
    assert "I am Alice" in say("who are you", RuleAgent(name="Alice"))


def test_a_plain_dict_brings_its_context() -> None:
    turn = {"content": "which voices do you have", "context": THREE_VOICES}
    assert RuleAgent().generate(turn) == "My voices are American, British, British woman."


@pytest.mark.parametrize("voice", ["zh-CN", "voice2", "", "a;b"])
def test_names_that_cannot_be_said_are_refused(voice: str) -> None:
    with pytest.raises(ConfigError, match="English words"):
        RuleAgent(voices=[voice])


def test_the_reply_streams_in_clauses() -> None:
    parts = list(RuleAgent().generate_stream("what can you do"))
    assert len(parts) > 3
    assert "".join(map(str, parts)) == SAYINGS["help"]


@pytest.mark.parametrize(
    "text", ["hello " * 5000, "one plus " * 3000, "please " * 5000, "[(" * 999]
)
def test_a_long_text_takes_no_time_to_refuse(text: str) -> None:
    assert "no rule" in say(text)


# --- the grammar --------------------------------------------------------------------------------


class Sentences:
    """Random sentences of a JSGF grammar, by a reader of its own."""

    def __init__(self, jsgf: str, seed: int) -> None:
        self.rules = dict(re.findall(r"^(?:public )?<(\w+)> = (.*);$", jsgf, re.MULTILINE))
        self.random = random.Random(seed)

    def make(self, rule: str) -> str:
        tokens = re.findall(r"<\w+>|[\w']+|[()\[\]|]", self.rules[rule])
        return " ".join(self._choice(tokens).split())

    def _choice(self, tokens: list[str]) -> str:
        """One of the alternatives up to the closing bracket, which is taken, too."""
        alternatives = [""]
        while tokens and (token := tokens.pop(0)) not in (")", "]"):
            if token == "|":
                alternatives.append("")
            elif token == "(":
                alternatives[-1] += f" {self._choice(tokens)}"
            elif token == "[":
                inner = self._choice(tokens)
                alternatives[-1] += f" {self.random.choice((inner, ''))}"
            elif token.startswith("<"):
                alternatives[-1] += f" {self.make(token[1:-1])}"
            else:
                alternatives[-1] += f" {token}"
        return self.random.choice(alternatives)


def test_everything_that_the_grammar_says_is_understood() -> None:
    agent = RuleAgent()
    sentences = Sentences(agent.grammar(), seed=1)
    for _ in range(3000):
        text = sentences.make("phrase")
        assert "no rule" not in say(text, agent), text


@pytest.mark.parametrize("request_", REQUESTS)
def test_each_request_is_understood_as_itself(request_: str) -> None:
    sentences = Sentences(RuleAgent().grammar(), seed=2)
    phrases = Phrases(VOICES)
    for _ in range(300):
        text = sentences.make(request_)
        assert phrases.find(normalise(text)) == request_, text


def test_the_words_of_the_grammar_are_in_the_recognisers_dictionary() -> None:
    pocketsphinx = pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    folder = Path(pocketsphinx.get_model_path()) / "en-us"
    lines = (folder / "cmudict-en-us.dict").read_text("utf-8").splitlines()
    known = {line.split(" ")[0] for line in lines}
    grammar = RuleAgent().grammar()
    bodies = re.sub(r"<\w+>", " ", grammar.partition("grammar xtalk;")[2].replace("public", ""))
    assert set(re.findall(r"[a-z']+", bodies)) <= known


def test_the_recogniser_takes_the_grammar() -> None:
    pocketsphinx = pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL")
    decoder.add_jsgf_string("rules", RuleAgent().grammar())
    decoder.activate_search("rules")
    assert decoder.current_search() == "rules"
