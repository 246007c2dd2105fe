"""What is played in every benchmark: fixed delays, one text, one tone. Only the stdlib.

    end of speech --50 ms--> transcript --100 ms--> token 1 --90 ms--> token 10 ends sentence 1
    --80 ms--> first audio                                             together 320 ms

What a server takes beyond these 320 ms is its own.
"""

from __future__ import annotations

import asyncio
import math
import time
from array import array
from collections.abc import AsyncIterator

FINAL_S = 0.050
FIRST_TOKEN_S = 0.100
TOKEN_S = 0.010
FIRST_AUDIO_S = 0.080
CHUNK_S = 0.100
CHUNK_EVERY_S = 0.010  # the voice is ten times faster than speech
CHUNKS = 12

HEARD = "what is the weather like in the city today"
SENTENCES = (
    "The quick brown fox jumps over the lazy old dog.",
    "Seven bright stars shine above the quiet mountain lake tonight.",
    "Please remember that every morning brings another fresh new start.",
)
WORDS = " ".join(SENTENCES).split()
TOKENS = [WORDS[0], *(f" {word}" for word in WORDS[1:])]
IDEAL_S = FINAL_S + FIRST_TOKEN_S + 9 * TOKEN_S + FIRST_AUDIO_S

RATE_IN = 16_000
RATE_OUT = 48_000


def tone(seconds: float, rate: int, hertz: float, level: int = 6000) -> bytes:
    """A sine as PCM16."""
    step = 2 * math.pi * hertz / rate
    samples = (int(level * math.sin(step * i)) for i in range(round(seconds * rate)))
    return array("h", samples).tobytes()


# Each chunk of a sentence has a pitch of its own: one that is lost or said twice is found out.
SPEECH = [tone(CHUNK_S, RATE_OUT, 220 + 10 * index) for index in range(CHUNKS)]
CHUNK = SPEECH[0]


def scale(factor: float) -> None:
    """Make every delay and every sound this much as long, in this process."""
    global FINAL_S, FIRST_TOKEN_S, TOKEN_S, FIRST_AUDIO_S, CHUNK_EVERY_S, IDEAL_S
    FINAL_S, FIRST_TOKEN_S, TOKEN_S = FINAL_S * factor, FIRST_TOKEN_S * factor, TOKEN_S * factor
    FIRST_AUDIO_S, CHUNK_EVERY_S = FIRST_AUDIO_S * factor, CHUNK_EVERY_S * factor
    IDEAL_S *= factor
    SPEECH[:] = [piece[: 2 * round(len(piece) / 2 * factor)] for piece in SPEECH]


async def until(moment: float) -> None:
    """Sleep to a moment, so that delays do not add up."""
    left = moment - time.monotonic()
    if left > 0:
        await asyncio.sleep(left)


async def tokens() -> AsyncIterator[str]:
    """The reply, 30 tokens in three sentences of ten."""
    began = time.monotonic()
    for index, token in enumerate(TOKENS):
        await until(began + FIRST_TOKEN_S + index * TOKEN_S)
        yield token


async def audio() -> AsyncIterator[bytes]:
    """One sentence, 1.2 s in chunks of 100 ms."""
    began = time.monotonic()
    for index in range(CHUNKS):
        await until(began + FIRST_AUDIO_S + index * CHUNK_EVERY_S)
        yield SPEECH[index]
