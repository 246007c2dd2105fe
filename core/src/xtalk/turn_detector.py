"""Has the speaker finished? A judge by the words and by the silence behind them.

Silence is measured by energy, against that of the voice before it (`Voice`). Of the words, English
and Chinese, no grammar is known. What cannot end a sentence (a conjunction, an article, a
hesitation, a number that is still being read out) makes the turn wait; what closes one (final
punctuation, a sentence-final particle, a word of thanks) lets it be answered at once; anything else
takes the default silence.
"""

from __future__ import annotations

import re
from operator import mul

from xtalk.speech.interfaces import EndOfTurn, TurnDetector

__all__ = ["TextTurnDetector", "Voice"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPEN_WORDS = _words(
    # conjunctions, articles, prepositions and pronouns that need a companion, hesitations
    "and or but nor so because since although though unless until while whereas if whether which "
    "whose than as a an the of at to for from with by into onto between during without within my "
    "your his its our their some i he she we they i'm you're we're they're i'd i've i'll let's is "
    "are was were am be been will would shall should could might quite maybe perhaps like um uh er "
    "erm hmm then plus minus times divided multiplied"
)
CLOSING_WORDS = _words(
    "please thanks goodbye bye stop yes no okay ok hello hi yeah yep nope sure right"
)
NUMBER_WORDS = _words(
    "zero oh one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty "
    "ninety hundred thousand double triple at dot dash point"
)
OPEN_ENDINGS_ZH = (
    "和", "跟", "与", "或", "或者", "但", "但是", "可是", "不过", "因为", "所以", "如果", "要是",
    "虽然", "而且", "然后", "还有", "就是", "那个", "这个", "一个", "嗯", "呃", "把", "被", "对于",
    "关于", "比如", "比如说", "我想", "我要", "请问", "的", "在", "从", "向", "给", "很",
)  # fmt: skip
CLOSING_ENDINGS_ZH = (
    "吗",
    "呢",
    "吧",
    "了",
    "谢谢",
    "再见",
    "啊",
    "呀",
    "好的",
    "是的",
    "不是",
    "什么",
    "多少",
)

VOICE_DB = 20.0  # below the loudest frame of the segment there is no voice
EVERY = 4  # samples: enough for an energy

STOPS = ".?!。？！"
OPEN_MARKS = ",:;，：；、-—…"
DIGITS_READ_OUT = 3  # so many numbers in a row are a telephone number, not a quantity

_WORD = re.compile(r"[a-z]+(?:['’-][a-z]+)*|\d+", re.IGNORECASE)


class TextTurnDetector(TurnDetector):
    """Judges by the last words.

    `max_silence_ms` is how long an unfinished utterance is waited for, `min_silence_ms` how long
    a finished one.
    """

    def __init__(self, min_silence_ms: int = 200, max_silence_ms: int = 1200) -> None:
        self.min_silence_ms = min_silence_ms
        self.max_silence_ms = max_silence_ms

    def judge(self, text: str, *, silence_ms: float, agent_speaking: bool) -> EndOfTurn:
        """`wait_ms` is the silence still to come; None leaves it to the default timer."""
        reason = open_end(text)
        left = self.max_silence_ms - silence_ms
        if reason and left > 0:
            return EndOfTurn(kind="incomplete", wait_ms=round(left), reason=reason, confidence=0.7)
        reason = closed_end(text)
        if reason:
            wait = max(0, round(self.min_silence_ms - silence_ms))
            return EndOfTurn(kind="complete", wait_ms=wait, reason=reason, confidence=0.8)
        return EndOfTurn(kind="complete", reason="nothing tells", confidence=0.5)


class Voice:
    """When the voice was last heard in a segment of speech, by the energy of its frames.

    What counts is the energy against the loudest frame of the segment, so it is the same for who
    speaks softly and for who shouts. In noise that is nearly as loud as the voice no silence is
    found.
    """

    def __init__(self) -> None:
        self._loudest = 0.0
        self._heard_at: float | None = None

    def begin(self) -> None:
        """Another segment, perhaps another speaker."""
        self._loudest, self._heard_at = 0.0, None

    def hear(self, pcm: bytes, now: float) -> None:
        """The next frame, PCM16; `now` in seconds."""
        samples = memoryview(pcm)[: len(pcm) & ~1].cast("h")[::EVERY].tolist()
        energy = sum(map(mul, samples, samples)) / max(1, len(samples))
        self._loudest = max(self._loudest, energy)
        if energy > self._loudest / 10 ** (VOICE_DB / 10):
            self._heard_at = now

    def silence_ms(self, now: float) -> float:
        """Since the voice was last heard; 0 when none was."""
        return 0.0 if self._heard_at is None else 1000 * (now - self._heard_at)


def open_end(text: str) -> str:
    """Why the text cannot be a whole turn, or ""."""
    text = text.strip()
    if not text or text[-1] in STOPS:
        return ""
    if text[-1] in OPEN_MARKS:
        return "it ends in a comma"
    if _is_chinese(text[-1]):
        return "it ends in an open word" if text.endswith(OPEN_ENDINGS_ZH) else ""
    words = [word.lower().replace("’", "'") for word in _WORD.findall(text)]
    if not words:
        return ""
    run = 0
    for word in reversed(words):
        if word not in NUMBER_WORDS and not word.isdigit():
            break
        run += 1
    if run >= DIGITS_READ_OUT:
        return "a number is being read out"
    return "it ends in an open word" if words[-1] in OPEN_WORDS else ""


def closed_end(text: str) -> str:
    """Why the text is surely a whole turn, or ""."""
    text = text.strip()
    if not text:
        return ""
    if text[-1] in STOPS:
        return "it ends in a full stop"
    if _is_chinese(text[-1]):
        return "it ends in a closing word" if text.endswith(CLOSING_ENDINGS_ZH) else ""
    words = _WORD.findall(text.lower())
    return "it ends in a closing word" if words and words[-1] in CLOSING_WORDS else ""


def _is_chinese(char: str) -> bool:
    return "\u4e00" <= char <= "\u9fff"
