"""What can be said to the agent: one table, from which both the grammar and the matcher are made.

The right sides are JSGF without weights and repetition: words, `(a | b)`, `[optional]`,
`<reference>`. The keys of REQUESTS are the names of the answers in `agent.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["PARTS", "REQUESTS", "Phrases", "normalise"]

PARTS = {
    "greeting": "hello [there] | hi [there] | hey | good (morning | afternoon | evening)",
    "polite": "please | (can | could | will | would) you [please]",
    "small": "one | two | three | four | five | six | seven | eight | nine",
    "teen": (
        "ten | eleven | twelve | thirteen | fourteen | fifteen | sixteen | seventeen"
        " | eighteen | nineteen"
    ),
    "tens": "twenty | thirty | forty | fifty | sixty | seventy | eighty | ninety",
    # The longest first, so that a number is not taken for another one that it begins with.
    "number": (
        "(a | <small>) hundred [[and] (<tens> [<small>] | <teen> | <small>)]"
        " | <tens> [<small>] | <teen> | <small> | zero"
    ),
    "operator": "plus | minus | times | multiplied by | divided by",
}

REQUESTS = {
    "greet": "<greeting>",
    "time": (
        "what time is it [now] | what is the time [now] | what's the time [now]"
        " | tell me the time | do you know the time"
    ),
    "date": (
        "what day is it [today] | what day is today | (what is | what's) the date [today]"
        " | (what is | what's) today's date | tell me the date | what year is it | what month is it"
    ),
    "sum": (
        "[what is | what's | how much is | calculate | tell me]"
        " <number> <operator> <number> [<operator> <number>]"
    ),
    "count": "count [up] to <number>",
    "set_voice": (
        "(use | take | try) [a | an | the] <voice> [voice]"
        " | (speak | talk) (with | in) [a | an | the] <voice> [voice]"
        " | (change | switch) [the | your] voice to [a | an | the] <voice> [voice]"
        " | (switch | change) to [a | an | the] <voice> [voice]"
    ),
    "next_voice": (
        "(use | take | try) another voice | change (the | your) voice"
        " | (speak | talk) with another voice | next voice"
    ),
    "list_voices": (
        "which voices do you have | what voices do you have | what voices are there"
        " | which voices are there | list [the | your] voices | tell me your voices"
    ),
    "faster": "(speak | talk | go) [a little | a bit | much] faster | faster | speed up",
    "slower": (
        "(speak | talk | go) [a little | a bit | much] (slower | more slowly) | slower | slow down"
    ),
    "normal_speed": "[speak | talk] [at] normal speed | (speak | talk) normally",
    "again": (
        "(say | repeat) that [again] | say it again | once more | pardon [me] | repeat it"
        " | what did you say | come again"
    ),
    "repeat_what": "repeat after me",
    "what_said": "what did i say",
    "help": (
        "help [me] | what can you do [for me] | what can i (say | ask) [you]"
        " | what do you (understand | know)"
    ),
    "name": (
        "who are you | (what is | what's) your name | what are you"
        " | are you (a | an) (human | person | robot | machine)"
    ),
    "made": ("how (were | are) you made | how do you work | who made you | what are you made of"),
    "how_are_you": "how are you [today | doing]",
    "thanks": "thank you [very much | so much] | thanks [a lot]",
    "goodbye": "goodbye | good bye | bye [bye] | good night | see you [later | soon]",
    "stop": "stop [it | talking] | be quiet | never mind | cancel | that's enough | shut up",
}

FRAME = "[<greeting>] [<polite>] <request> [please]"

TOKEN = re.compile(r"<(\w+)>|([a-z']+)|([()\[\]|])")

# What a keyboard or a recogniser that writes figures puts for a word. In this order.
SPELLINGS = (
    (re.compile("’"), "'"),
    (re.compile(r"(?<=\d),(?=\d{3}\b)"), ""),
    (re.compile(r"(?<=\d)\s*[-−]\s*(?=\d)"), " minus "),
    (re.compile(r"(?<=\d)\s*[x×*]\s*(?=\d)"), " times "),
    (re.compile(r"(?<=\d)\s*[/÷]\s*(?=\d)"), " divided by "),
    (re.compile(r"\+"), " plus "),
    (re.compile(r"[^\w'.]|(?<!\d)\.|\.(?!\d)|_"), " "),
)

FIGURES = r"\d+(?:\.\d+)? "


class Phrases:
    """The table with the names of these voices in the place of `<voice>`."""

    def __init__(self, voices: Sequence[str]) -> None:
        self._parts = {**PARTS, "voice": " | ".join(voices)}
        self._requests = {
            name: re.compile(self._regex(FRAME.replace("<request>", f"({phrase})")))
            for name, phrase in REQUESTS.items()
        }

    def find(self, words: str) -> str | None:
        """The name of the request that these normalised words are, or None."""
        for name, pattern in self._requests.items():
            if pattern.fullmatch(f"{words} "):
                return name
        return None

    def numbers(self, words: str) -> list[str]:
        """The numbers in these normalised words, as they stand there."""
        pattern = re.compile(rf"(?<!\S)(?:{self._regex('<number>')})")
        return [found.strip() for found in pattern.findall(f"{words} ")]

    def jsgf(self) -> str:
        """The grammar of everything that `find` finds, but for figures, which nobody says."""
        rules = {**self._parts, **REQUESTS, "request": " | ".join(f"<{name}>" for name in REQUESTS)}
        lines = [f"<{name}> = {phrase};" for name, phrase in rules.items()]
        return "\n".join(
            ["#JSGF V1.0;", "grammar xtalk;", f"public <phrase> = {FRAME};", *lines, ""]
        )

    def _regex(self, phrase: str) -> str:
        """The same phrase as a pattern, in which a space follows every word."""
        return "".join(map(self._token, TOKEN.finditer(phrase)))

    def _token(self, token: re.Match[str]) -> str:
        reference, word, symbol = token.groups()
        if reference:
            inner = self._regex(self._parts[reference])
            return f"(?:{FIGURES}|{inner})" if reference == "number" else f"(?:{inner})"
        return (
            f"{word}\\ "
            if word
            else {"[": "(?:", "(": "(?:", "]": ")?", ")": ")", "|": "|"}[symbol]
        )


def normalise(text: str) -> str:
    """Lower-case words with one space between, in the spelling of the table."""
    text = text.lower()
    for pattern, replacement in SPELLINGS:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())
