"""A caller talks in tones, and a whole session of sherpa-onnx hears, thinks and talks back."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from tone_models import ToneModels, tones_pcm
from xtalk_sherpa_onnx.asr_local import SherpaOnnxLocal
from xtalk_sherpa_onnx.enhancer import SherpaOnnxDenoiser
from xtalk_sherpa_onnx.speaker import WespeakerResNet34
from xtalk_sherpa_onnx.tts import SherpaOnnxTTS
from xtalk_sherpa_onnx.vad import SherpaOnnxVAD

from xtalk.audio import RATE_IN, RATE_OUT, AudioFrame, resample
from xtalk.limiter import SessionLimiter
from xtalk.pipeline import DefaultPipeline
from xtalk.service import DefaultService, Host
from xtalk.testing.client import MemoryConnection, WireClient
from xtalk.testing.fakes import ScriptedAgent
from xtalk.testing.transport import MemoryTransport
from xtalk.wire import messages as m

REPLY = "goodbye world. Please stop!"

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def listener(models: ToneModels) -> SherpaOnnxLocal:
    files = {"tokens": str(models.tokens), "model": str(models.zipformer_ctc)}
    return SherpaOnnxLocal(kind="zipformer_ctc", files=files)


def speaker(models: ToneModels, **how: Any) -> SherpaOnnxTTS:
    files = {"tokens": str(models.voice_tokens), "lexicon": str(models.lexicon)}
    return SherpaOnnxTTS(str(models.vits), options=files, **how)


def test_what_is_said_is_heard(tone_models: ToneModels) -> None:
    pcm = speaker(tone_models).synthesize("Hello world, please stop. Goodbye!")
    assert listener(tone_models).recognize(pcm) == "hello world please stop goodbye"


@pytest.mark.parametrize("online", [False, True])
def test_a_conversation(tone_models: ToneModels, virtual_time: Run, online: bool) -> None:
    """Microphone -> denoiser -> voice activity -> recogniser; voice -> loudspeaker."""
    asr = listener(tone_models)
    if online:
        names = ("encoder", "decoder", "joiner")
        files = {name: str(getattr(tone_models, f"transducer_{name}")) for name in names}
        files["tokens"] = str(tone_models.tokens)
        asr = SherpaOnnxLocal(kind="online_transducer", files=files)
    agent = ScriptedAgent([REPLY])
    pipeline = DefaultPipeline(
        asr=asr,
        llm_agent=agent,
        tts=speaker(tone_models),
        vad=SherpaOnnxVAD(str(tone_models.vad)),
        speech_enhancer=SherpaOnnxDenoiser(str(tone_models.denoiser)),
        speaker_encoder=WespeakerResNet34(str(tone_models.speaker)),
    )
    host = Host(DefaultService(pipeline=pipeline), SessionLimiter(0))

    async def talk() -> bytes:
        transport = MemoryTransport()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(host.connect, transport)
            async with WireClient(MemoryConnection(transport)) as caller:
                await caller.say(tones_pcm(["hello", "stop", "world", "weather"] * 2))
                heard = await caller.wait_for(m.FinishAsr)
                assert heard.text == "hello stop world weather hello stop world weather"
                await caller.wait_until_heard()
                assert caller.received(m.Error) == []
                return b"".join(sound.pcm for sound in caller.speaker.heard)

    spoken = resample(AudioFrame(virtual_time(talk()), RATE_OUT), RATE_IN)
    assert listener(tone_models).recognize(spoken.pcm) == "goodbye world please stop"
    assert [record.heard for record in agent.records] == [REPLY]
