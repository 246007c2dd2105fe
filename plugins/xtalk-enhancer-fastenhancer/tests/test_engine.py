"""A conversation in virtual time, with the network before the recogniser."""

from __future__ import annotations

from pathlib import Path

import anyio
from xtalk_enhancer_fastenhancer.fastenhancer import FastEnhancerS

from xtalk import DefaultPipeline, DefaultService, Xtalk, events
from xtalk.audio import RATE_IN
from xtalk.plugins import Plugins
from xtalk.testing import virtual_time
from xtalk.testing.client import MemoryConnection, WireClient
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS
from xtalk.testing.recordings import recording
from xtalk.testing.transport import MemoryTransport
from xtalk.wire import messages as m


def test_every_sample_of_the_microphone_comes_out_of_the_network(network: Path) -> None:
    pipeline = DefaultPipeline(
        ScriptedASR(),
        ScriptedAgent(),
        ScriptedTTS(),
        vad=LoudnessVAD(),
        speech_enhancer=FastEnhancerS(str(network)),
    )
    xtalk = Xtalk(service_prototype=DefaultService(pipeline=pipeline), plugins=Plugins())
    raw: list[bytes] = []
    clean: list[bytes] = []

    async def main() -> None:
        transport = MemoryTransport()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(xtalk.connect, transport)
            async with WireClient(MemoryConnection(transport)) as client:
                await client.wait_for(m.SessionInfo)
                (session,) = xtalk.host.sessions.values()
                await session.ready.wait()
                session.subscribe(events.AudioFrameReceived, lambda e: raw.append(e.audio_data))
                session.subscribe(
                    events.EnhancedAudioFrameReceived, lambda e: clean.append(e.audio_data)
                )
                await client.say(recording("what-time-is-it").pcm)
                await client.wait_until_heard()
            transport.vanish()

    virtual_time.run(main())
    came, went = (sum(map(len, frames)) // 2 for frames in (raw, clean))
    assert came > 2 * RATE_IN
    # What is behind: the look-ahead, the rest of a hop, and a frame that is under way.
    assert 0 <= came - went <= 256 + 255 + 2 * 512
