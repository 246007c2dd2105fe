"""Adaptive endpointing through the whole session, in exact times."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from xtalk.testing.fakes import ScriptedASR, loud, quiet
from xtalk.wire import messages as m


@pytest.mark.parametrize(
    ("text", "silence_s"), [("please stop", 0.2), ("two plus three", 0.5), ("two plus a", 1.2)]
)
def test_the_words_set_the_silence_that_ends_a_turn(
    talk: Any, run: Any, text: str, silence_s: float
) -> None:
    async def main() -> None:
        async with talk(asr=ScriptedASR([text], final_s=0.0)) as call:
            await call.say(1.5)
            said = anyio.current_time()
            await call.client.wait_for(m.FinishAsr)
            assert anyio.current_time() - said == pytest.approx(silence_s, abs=0.05)

    run(main)


def test_a_pause_in_an_open_sentence_does_not_split_it(talk: Any, run: Any) -> None:
    async def main() -> None:
        asr = ScriptedASR(["give me the blue one"], word_s=0.45)
        async with talk(asr=asr) as call:
            # At the pause "give me the" has been understood: an article ends no turn.
            await call.client.say(b"".join(loud(1.4) + quiet(0.9) + loud(1.0)))
            await call.client.wait_until_heard()
            assert [final.text for final in call.client.received(m.FinishAsr)] == [
                "give me the blue one"
            ]

    run(main)


def test_an_open_sentence_between_marks_waits_for_its_other_half(talk: Any, run: Any) -> None:
    async def main() -> None:
        asr = ScriptedASR(["turn left and", "then go on"])
        async with talk(asr=asr, vad=None) as call:
            await call.client.say_with_marks(b"".join(loud(1.0)))
            await anyio.sleep(0.5)
            await call.client.say_with_marks(b"".join(loud(1.0)))
            final = await call.client.wait_for(m.FinishAsr)
            assert final.text == "turn left and then go on"

    run(main)
