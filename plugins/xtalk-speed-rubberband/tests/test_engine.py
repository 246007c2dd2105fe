"""Whole replies at another pace, through the engine and in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import numpy as np
import pytest
from xtalk_speed_rubberband.rubberband import RubberbandSpeedController

from xtalk import DefaultPipeline, DefaultService, Xtalk
from xtalk.audio import RATE_OUT, pcm_to_float
from xtalk.plugins import Plugins
from xtalk.testing import virtual_time
from xtalk.testing.client import MemoryConnection, WireClient
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS, tone
from xtalk.testing.transport import MemoryTransport
from xtalk.wire import messages as m

REPLY = ("One sentence of a reply. ", "And then another one.")
TONE_HZ = 220.0  # of the voice


@asynccontextmanager
async def calling() -> AsyncIterator[WireClient]:
    """A caller of a service whose voice has no speed of its own."""
    pipeline = DefaultPipeline(
        ScriptedASR(),
        ScriptedAgent(REPLY),
        ScriptedTTS(),
        vad=LoudnessVAD(),
        speech_speed_controller=RubberbandSpeedController(),
    )
    xtalk = Xtalk(service_prototype=DefaultService(pipeline=pipeline), plugins=Plugins())
    transport = MemoryTransport()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(xtalk.connect, transport)
        async with WireClient(MemoryConnection(transport)) as client:
            await client.wait_for(m.SessionInfo)
            yield client
        transport.vanish()


async def reply(client: WireClient) -> bytes:
    """What the caller hears after having said something."""
    before, heard = len(client.timeline), len(client.speaker.heard)
    await client.say(tone(1.0, rate=16_000, level=8000))
    await client.wait_until_heard(after=before)
    return b"".join(sound.pcm for sound in client.speaker.heard[heard:])


def pitch(pcm: bytes) -> float:
    samples = pcm_to_float(pcm)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size), 8 * samples.size))
    return float(np.argmax(spectrum)) * RATE_OUT / (8 * samples.size)


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.25, 1.5])
def test_a_reply_takes_its_time_and_keeps_its_pitch(speed: float) -> None:
    async def main() -> None:
        async with calling() as client:
            usual = await reply(client)
            client.send(m.ChangeTtsSpeed(speed=speed))
            changed = await reply(client)
            assert abs(len(changed) * speed / len(usual) - 1) < 0.02
            assert abs(pitch(changed) / TONE_HZ - 1) < 0.01

    virtual_time.run(main())


def test_a_reply_after_an_interrupted_one_is_whole() -> None:
    async def main() -> None:
        async with calling() as client:
            client.send(m.ChangeTtsSpeed(speed=0.8))
            whole = await reply(client)
            heard = len(client.speaker.heard)
            await client.say(tone(1.0, rate=16_000, level=8000))
            await client.until(lambda: len(client.speaker.heard) > heard)
            again = await reply(client)
            # Of the interrupted reply some sounds until the engine is sure of the interruption.
            assert 0.98 * len(whole) < len(again) < len(whole) + 2 * RATE_OUT

    virtual_time.run(main())
