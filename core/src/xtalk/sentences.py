"""Cut a reply into the pieces that are synthesised in one go, while it is still being written.

A sentence goes out with the character that ends it; nothing waits for the next token where the
end is clear. A full stop that may not be one (behind a digit, an initial, an abbreviation, or
inside quotes) waits: the splitter is then `doubtful`, and `settle` decides without more text.

    "It is 3.14 metres. Dr. Smith said so!"  ->  "It is 3.14 metres."  " Dr. Smith said so!"

How the text was cut into tokens changes nothing, but for one case: a stop behind a plain word is
believed when it ends a token, so a bare domain must arrive as `example` `.com`, as it does.
"""

from __future__ import annotations

import re
from enum import Enum

from xtalk.speech.interfaces import Sentence

__all__ = ["Splitter", "plain"]

STOPS = "!?。！？\n"
CLAUSES = ",;:，；：、—"
OPENERS = {
    "(": ")",
    "[": "]",
    "{": "}",
    "（": "）",
    "“": "”",
    "「": "」",
    "『": "』",
    "《": "》",
    "【": "】",
}

# Never the end of a sentence; and those that may be one, when a capital follows.
TITLES = {
    "mr",
    "mrs",
    "ms",
    "dr",
    "prof",
    "st",
    "vs",
    "e.g",
    "i.e",
    "cf",
    "no",
    "fig",
    "gen",
    "rev",
}
ABBREVIATIONS = {"etc", "inc", "ltd", "co", "jr", "sr", "a.m", "p.m", "approx", "dept", "est", "al"}

SHORT = 8  # a piece behind the first that is shorter than this joins the next one
FIRST_CLAUSE = 24  # a first clause of this width is spoken before its sentence ends
LONGEST = 240
WIDE = 3  # a CJK character says as much as three Latin ones


class _Found(Enum):
    END = 1
    NOTHING = 2
    DOUBT = 3


class Splitter:
    """One reply. The spans of all sentences together cover its text without a gap."""

    def __init__(self, *, first_clause: int = FIRST_CLAUSE, longest: int = LONGEST) -> None:
        self._first_clause = first_clause
        self._longest = longest
        self._index = 0
        self._start = 0
        self._line_head = True  # does the text that is looked at begin a line?
        self._text = ""
        self._begin(0)

    def _begin(self, start: int) -> None:
        if start:
            self._line_head = self._text[:start].rstrip(" \t").endswith("\n")
        self._text = self._text[start:]
        self._start += start
        self._place = 0  # everything before it has been looked at
        self._width = 0
        self._words = False  # has anything been said that can be spoken?
        self._nested: list[str] = []  # closers of the quotes and brackets that are open
        self._clause = 0  # behind the last clause mark
        self._space = 0  # behind the last space
        self.doubtful = False

    def push(self, text: str) -> list[Sentence]:
        """The sentences that this text completes."""
        self._text += text
        return self._scan(settling=False)

    def settle(self) -> list[Sentence]:
        """Nothing has come for a while: take a doubtful stop for the end where it can be one."""
        return self._scan(settling=True) if self.doubtful else []

    def flush(self) -> list[Sentence]:
        """The reply is complete: what remains."""
        done = self._scan(settling=True)
        if self._text:
            done.append(self._cut(len(self._text)))
        return done

    def whole(self, text: str, spoken: str) -> list[Sentence]:
        """What was pending, and then this text in one piece, spoken as given."""
        done = self.flush()
        self._text = text
        piece = self._cut(len(text))
        sentence = Sentence(index=piece.index, text=text, spoken=spoken, span=piece.span)
        return [*done, sentence]

    def _cut(self, end: int) -> Sentence:
        text = self._text[:end]
        sentence = Sentence(
            index=self._index,
            text=text,
            spoken=plain(text, line_head=self._line_head),
            span=(self._start, self._start + end),
        )
        self._index += 1
        self._begin(end)
        return sentence

    def _scan(self, *, settling: bool) -> list[Sentence]:
        done = []
        while self._place < len(self._text):
            found = self._look(self._place, settling)
            if found is _Found.DOUBT:
                self.doubtful = True
                break
            self.doubtful = False
            end = self._place = self._place + 1
            if found is _Found.END and self._long_enough(end):
                done.append(self._cut(end))
            elif self._width >= self._longest:
                done.append(self._cut(self._clause or self._space or end))
        return done

    def _long_enough(self, end: int) -> bool:
        if not self._words or not plain(self._text[:end], line_head=self._line_head):
            return False
        return self._index == 0 or self._width >= SHORT

    def _look(self, place: int, settling: bool) -> _Found:
        """What the character there means. Counts it, unless it is in doubt."""
        text = self._text
        char = text[place]
        after = text[place + 1 : place + 2]
        found = _Found.NOTHING
        if char in STOPS:
            # Inside quotes the closing one belongs to the sentence, so look for it.
            if char == "?" and "://" in self._word(place):
                found = _waits(after, settling) if not after or after.isspace() else found
            elif char != "\n" and self._nested:
                found = self._inside(after, settling)
            else:
                found = _Found.END
        elif char in ".…":
            found = self._stop(place, char, after, settling)
        elif char in CLAUSES:
            found = self._clause_mark(place, char, after, settling)
        elif self._closes(char):
            found = _Found.END if self._ended_inside(place) else _Found.NOTHING
        if found is not _Found.DOUBT:
            self._count(place, char)
        return found

    def _count(self, place: int, char: str) -> None:
        self._width += WIDE if _is_cjk(char) else 1
        if char.isalnum():
            self._words = True
        if char in CLAUSES:
            self._clause = place + 1
        elif char.isspace():
            self._space = place + 1
        if self._closes(char):
            self._nested.pop()
        elif char in OPENERS:
            self._nested.append(OPENERS[char])
        elif char == '"':
            self._nested.append('"')

    def _closes(self, char: str) -> bool:
        return bool(self._nested) and self._nested[-1] == char

    def _word(self, place: int) -> str:
        """What stands without a space before that place."""
        return re.split(r"[\s(\[\"“]", self._text[:place])[-1]

    def _inside(self, after: str, settling: bool) -> _Found:
        """A stop inside quotes or brackets."""
        if not after:
            return _waits(after, settling)
        return _Found.NOTHING if self._closes(after) or not after.isspace() else _Found.END

    def _ended_inside(self, place: int) -> bool:
        """Whether the quote that closes here ended with a stop, and nothing else is open."""
        before = self._text[place - 1 : place]
        return len(self._nested) == 1 and before != "" and before in STOPS + "."

    def _stop(self, place: int, char: str, after: str, settling: bool) -> _Found:
        """A full stop: an end, or part of a number, an abbreviation, an address, an ellipsis."""
        if after and not after.isspace():
            return _Found.NOTHING
        word = self._word(place)
        bare = word.strip("*_`'").lower()
        if bare in TITLES or (len(bare) == 1 and word.isupper() and bare != "i"):
            return _Found.NOTHING
        clear = len(bare) > 1 and bare.isalpha() and bare not in ABBREVIATIONS and char == "."
        if clear and not self._nested:
            return _Found.END
        if not after:
            return _waits(after, settling)
        if self._nested and clear:
            return _Found.END
        return self._by_what_follows(place + 1, bare, settling)

    def _by_what_follows(self, place: int, bare: str, settling: bool) -> _Found:
        """Behind a doubtful stop and a space: a capital begins a sentence."""
        rest = self._text[place:].lstrip()
        if not rest:
            if "\n" in self._text[place:]:
                return _Found.END
            return _waits("", settling)
        if bare.isdigit() and not self._text[: place - 1 - len(bare)].strip():
            return _Found.NOTHING  # "1. First" is an item of a list
        return _Found.NOTHING if rest[0].islower() else _Found.END

    def _clause_mark(self, place: int, char: str, after: str, settling: bool) -> _Found:
        if char in ",:" and self._text[place - 1 : place].isdigit():
            if not after:
                return _Found.NOTHING if settling else _Found.DOUBT
            if after.isdigit():
                return _Found.NOTHING
        elif char == ":" and after == "/":
            return _Found.NOTHING
        if self._index == 0 and self._width + 1 >= self._first_clause and not self._nested:
            return _Found.END
        return _Found.NOTHING


def _waits(after: str, settling: bool) -> _Found:
    """An end if a space or a pause follows, else too early to say."""
    return _Found.END if settling or after.isspace() else _Found.DOUBT


def _is_cjk(char: str) -> bool:
    return "\u3040" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7af"


_LINK = re.compile(r"!?\[([^\]]*)\]\((?:[^()\s]|\([^()\s]*\))*\)")
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^`\n]*$", re.MULTILINE)  # with the name of a language
_ROW = re.compile(r"^[ \t]*\|(.*)\|[ \t]*$", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*([-*_])(?:[ \t]*\1){2,}[ \t]*$", re.MULTILINE)
_LINE = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|[-*+•][ \t]+|>[ \t]?)", re.MULTILINE)
# Between numbers, names and brackets they are operators: 2**10, 2*(3+4). In pairs they are not.
_PAIRS = re.compile(r"(?<![0-9A-Za-z)\]*])(\*\*?)(?=[^\s*])(.+?)(?<=[^\s*])\1(?![0-9A-Za-z*])")
_OPERAND = r"[0-9A-Za-z(\[$€£]|[-+.]\d"
_MARKS = re.compile(
    rf"(?<![0-9A-Za-z)\]])\*\*|\*\*(?!{_OPERAND})|(?<!\w)~~|~~(?!\w)|`+|(?<!\w)__|__(?!\w)|(?<!\S)[*_](?=\S)"
    rf"|(?<=\S)[*_](?![\w*])(?!(?<=[0-9A-Za-z)\]]\*)(?:{_OPERAND}))"
)
_EMOJI = re.compile("[\u20e3\u2600-\u27bf\u2b00-\u2bff\ufe0f\u200d\U0001f000-\U0001faff]")
_HEAD = re.compile(r"^(?:(?!(?<!\.)\.\d)[\s.!?。！？,;:，；：、—…)\]}）”’」』》】])+")


def plain(text: str, *, line_head: bool = True) -> str:
    """The words without markdown and emoji; numbers, hyphens and words stay as they are.

    "- 5" is an item of a list where a line begins, so say whether the text begins one. "" when
    nothing can be spoken.
    """
    begun, newline, rest = ("", "", text) if line_head else text.partition("\n")
    rest = _RULE.sub("", _FENCE.sub("", _ROW.sub(_cells, rest)))
    text = begun + newline + _LINE.sub("", rest)
    text = _PAIRS.sub(r"\2", _LINK.sub(r"\1", text))
    text = _EMOJI.sub("", _MARKS.sub("", text))
    text = " ".join(_HEAD.sub("", text).split())
    return text if any(char.isalnum() for char in text) else ""


def _cells(row: re.Match[str]) -> str:
    """A row of a table as a phrase; "" for the rule beneath its head."""
    if not row[1].strip(" \t|:-"):
        return ""
    return ", ".join(filter(None, map(str.strip, row[1].split("|")))) + "."
