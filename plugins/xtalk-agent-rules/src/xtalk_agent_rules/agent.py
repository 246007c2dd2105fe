"""An agent of rules: small, honest, no model."""

from __future__ import annotations

import copy
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from xtalk.agent import Agent, AgentInput, ToolCall, TurnRecord
from xtalk.errors import ConfigError
from xtalk_agent_rules.numbers import figures, result, value
from xtalk_agent_rules.phrases import Phrases, normalise

__all__ = ["RuleAgent"]

VOICES = (
    "american",
    "american woman",
    "british",
    "british woman",
    "scottish",
    "mandarin",
    "cantonese",
    "french",
    "german",
    "spanish",
    "italian",
    "portuguese",
    "russian",
    "japanese",
    "hindi",
    "arabic",
)

# The answers that are always the same; every other request has a method of its name.
SAYINGS = {
    "help": (
        "I can tell you the time and the date, do sums such as seven times eight, count,"
        " change my voice, speak faster or slower, and repeat what I said or what you say."
    ),
    "how_are_you": "I am a program, and I am running. Thank you for asking.",
    "thanks": "You are welcome.",
    "goodbye": "Goodbye.",
    "stop": "All right.",
    "name": "I am {name}, a program. I follow rules, and I am not a person.",
    "made": (
        "I am a list of rules, without a language model. One program hears whether somebody"
        " speaks, one writes down the words, I choose an answer, and another one speaks it."
    ),
    "repeat_what": "Say: repeat after me, and go on with the words that I am to repeat.",
}

REPEAT = re.compile(
    r"\W*(?:please\W+)?repeat after me\b\W*(?P<words>\w.*)", re.IGNORECASE | re.DOTALL
)
OPERATOR = re.compile(r"\b(plus|minus|times|multiplied by|divided by)\b")
CLAUSE = re.compile(r".+?[,.:;!?](?:\s+|\Z)|.+\Z", re.DOTALL)

SPEED_STEP, SLOWEST, FASTEST = 0.2, 0.5, 1.5
COUNT_LIMIT = 100
HISTORY_TURNS = 50

Reply = str | tuple[str, ToolCall]


class RuleAgent(Agent):
    """Answers what stands in the table of `phrases.py`, and says so when it did not understand.

    `voices` are the names to listen for; which of them exist is in the context of the turn.
    The history and the idea of the present voice and speed come from `commit` only, so a reply
    that is made and thrown away leaves no trace.
    """

    inline = True

    def __init__(self, name: str = "xtalk", voices: Sequence[str] = VOICES) -> None:
        self._name = name
        self._voices = tuple(voice.lower() for voice in voices)
        for voice in self._voices:
            if not re.fullmatch(r"[a-z']+( [a-z']+)*", voice):
                raise ConfigError(
                    f"voices: RuleAgent listens for names made of English words, found {voice!r}"
                )
        self._phrases = Phrases(self._voices)
        self._history: deque[TurnRecord] = deque(maxlen=HISTORY_TURNS)
        self._voice: str | None = None
        self._speed = 1.0

    def generate(self, input: str | dict[str, Any]) -> str | tuple[str, list[Any]]:
        reply = self._answer(_turn(input))
        return reply if isinstance(reply, str) else (reply[0], [reply[1]])

    def generate_stream(self, input: str | dict[str, Any]) -> Iterator[str | ToolCall]:
        """The tool call if there is one, then the reply clause by clause."""
        reply = self._answer(_turn(input))
        if not isinstance(reply, str):
            reply, call = reply
            yield call
        yield from CLAUSE.findall(reply)

    def commit(self, record: TurnRecord) -> None:
        self._history.append(record)
        for call in record.tool_calls:
            if call["name"] == "set_speed":
                self._speed = call["args"]["speed"]
            elif call["name"] == "set_voice":
                self._voice = call["args"]["name"]

    def get_chat_history(self) -> str:
        return "\n".join(
            f"User: {turn.user}\nAssistant: {turn.remembered}" for turn in self._history
        )

    def grammar(self) -> str:
        """JSGF of everything that this agent understands, but for what it is to repeat."""
        return self._phrases.jsgf()

    def clone(self) -> RuleAgent:
        twin = copy.copy(self)
        twin._history = deque(maxlen=HISTORY_TURNS)
        twin._voice, twin._speed = None, 1.0
        return twin

    def _answer(self, turn: AgentInput) -> Reply:
        repeat = REPEAT.fullmatch(turn.text)
        if repeat:
            return repeat["words"]
        words = normalise(turn.text)
        request = self._phrases.find(words)
        if request is None:
            return _not_understood(turn.text.strip())
        if request in SAYINGS:
            return SAYINGS[request].format(name=self._name)
        answer: Callable[[AgentInput, str], Reply] = getattr(self, f"_{request}")
        return answer(turn, words)

    def _greet(self, turn: AgentInput, words: str) -> Reply:
        return f"Good {_part_of_day(turn.now)}, I am {self._name}. What can I do for you?"

    def _time(self, turn: AgentInput, words: str) -> Reply:
        now = turn.now
        return f"It is {now.hour % 12 or 12}:{now.minute:02} {'AM' if now.hour < 12 else 'PM'}."

    def _date(self, turn: AgentInput, words: str) -> Reply:
        return f"Today is {turn.now:%A}, {turn.now:%B} {_ordinal(turn.now.day)}, {turn.now.year}."

    def _sum(self, turn: AgentInput, words: str) -> Reply:
        numbers = [value(number) for number in self._phrases.numbers(words)]
        operators = [name.replace("multiplied by", "times") for name in OPERATOR.findall(words)]
        try:
            answer = figures(result(numbers, operators))
        except ZeroDivisionError:
            return "Nothing can be divided by zero."
        steps = zip(operators, map(figures, numbers[1:]), strict=True)
        question = " ".join([figures(numbers[0]), *(f"{name} {number}" for name, number in steps)])
        return f"{question} is {answer}."

    def _count(self, turn: AgentInput, words: str) -> Reply:
        last = value(self._phrases.numbers(words)[-1])
        if last.denominator != 1 or not 1 <= last <= COUNT_LIMIT:
            return f"I count to whole numbers from 1 to {COUNT_LIMIT}."
        return ", ".join(str(number) for number in range(1, int(last) + 1)) + "."

    def _set_voice(self, turn: AgentInput, words: str) -> Reply:
        asked = max((voice for voice in self._voices if f" {voice}" in words), key=len)
        for name in _voices(turn):
            if name.lower() == asked:
                return _call_voice(name)
        return f"I do not have the voice {asked}. {_which_voices(turn)}"

    def _next_voice(self, turn: AgentInput, words: str) -> Reply:
        names = _voices(turn)
        if len(names) < 2:
            return _which_voices(turn)
        place = names.index(self._voice) if self._voice in names else 0
        return _call_voice(names[(place + 1) % len(names)])

    def _list_voices(self, turn: AgentInput, words: str) -> Reply:
        return _which_voices(turn)

    def _faster(self, turn: AgentInput, words: str) -> Reply:
        if self._speed >= FASTEST:
            return "I cannot speak any faster."
        return _call_speed(min(FASTEST, self._speed + SPEED_STEP), "I am speaking faster now.")

    def _slower(self, turn: AgentInput, words: str) -> Reply:
        if self._speed <= SLOWEST:
            return "I cannot speak any slower."
        return _call_speed(max(SLOWEST, self._speed - SPEED_STEP), "I am speaking slower now.")

    def _normal_speed(self, turn: AgentInput, words: str) -> Reply:
        return _call_speed(1.0, "I am speaking at my usual speed now.")

    def _again(self, turn: AgentInput, words: str) -> Reply:
        return self._history[-1].reply if self._history else "I have not said anything yet."

    def _what_said(self, turn: AgentInput, words: str) -> Reply:
        said = [turn.user for turn in self._history if turn.user]  # the server begins some turns
        return f"You said: {said[-1]}." if said else "You have not said anything before."


def _turn(input: str | dict[str, Any]) -> AgentInput:
    if isinstance(input, AgentInput):
        return input
    if isinstance(input, str):
        return AgentInput(input)
    return AgentInput(input["content"], context=input.get("context"), now=input.get("now"))


def _not_understood(heard: str) -> str:
    if not heard:
        return "I heard nothing."
    return f"I heard: {heard}. I have no rule for that. Ask me what I can do."


def _voices(turn: AgentInput) -> list[str]:
    return list(turn.context.get("voices") or ())


def _which_voices(turn: AgentInput) -> str:
    names = _voices(turn)
    return f"My voices are {', '.join(names)}." if len(names) > 1 else "I have only one voice."


def _call_voice(name: str) -> Reply:
    return f"This is the voice {name}.", ToolCall("set_voice", {"name": name}, instant=True)


def _call_speed(speed: float, text: str) -> Reply:
    return text, ToolCall("set_speed", {"speed": round(speed, 1)}, instant=True)


def _part_of_day(now: datetime) -> str:
    return "morning" if 4 <= now.hour < 12 else "afternoon" if 12 <= now.hour < 18 else "evening"


def _ordinal(day: int) -> str:
    ending = "th" if 11 <= day <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"
