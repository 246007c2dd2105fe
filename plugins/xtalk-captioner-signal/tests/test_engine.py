"""A conversation in virtual time: the agent knows how the user sounds."""

from __future__ import annotations

import anyio
import numpy as np
from xtalk_captioner_signal.captioner import SignalCaptioner

from xtalk import DefaultPipeline, DefaultService, Xtalk
from xtalk.audio import RATE_IN, float_to_pcm
from xtalk.plugins import Plugins
from xtalk.testing import virtual_time
from xtalk.testing.client import MemoryConnection, WireClient
from xtalk.testing.fakes import LoudnessVAD, ScriptedAgent, ScriptedASR, ScriptedTTS
from xtalk.testing.transport import MemoryTransport
from xtalk.wire import messages as m


def test_the_agent_is_told_how_it_sounds() -> None:
    agent = ScriptedAgent()
    pipeline = DefaultPipeline(
        ScriptedASR(), agent, ScriptedTTS(), vad=LoudnessVAD(), captioner=SignalCaptioner()
    )
    xtalk = Xtalk(service_prototype=DefaultService(pipeline=pipeline), plugins=Plugins())
    time = np.arange(4 * RATE_IN) / RATE_IN
    buzz = np.sum([np.cos(2 * np.pi * 110 * k * time) / k for k in range(1, 20)], axis=0)
    voice = float_to_pcm(0.1 * buzz * (0.1 + np.sin(np.pi * 4 * time) ** 2))

    async def main() -> None:
        transport = MemoryTransport()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(xtalk.connect, transport)
            async with WireClient(MemoryConnection(transport)) as client:
                await client.wait_for(m.SessionInfo)
                await client.say(voice)
                await client.wait_until_heard()
                caption = client.received(m.CaptionUpdated)[0].text
                assert "at a normal pace (about 4 syllables a second)" in caption
                assert "low in pitch (about 110 Hz)" in caption
            transport.vanish()

    virtual_time.run(main())
    assert "about 110 Hz" in agent.inputs[0].context["caption"]
