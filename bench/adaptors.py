"""What the adaptors of services add: from a fake's first piece to the first of the engine, in ms.

The fakes are those of the plugins' tests, on a loopback port and a thread of this process, so the
figures hold the way through the kernel and the client's library too. A service's own time is not
in them.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from aiohttp import web
from machine import described, median, quantile

from xtalk.audio import RATE_IN, AudioFrame
from xtalk.calls import recognize, synthesize
from xtalk.testing.recordings import recording
from xtalk.testing.services import KEY, FakeService, running
from xtalk.threads import Guard

PLUGINS = Path(__file__).parents[1] / "plugins"
TURNS, WARM_UP = 60, 10
TEXT = "One two three four, five six seven eight."

for name in ("asr-qwen3", "elevenlabs", "tts-cosyvoice", "tts-gpt-sovits", "tts-index"):
    sys.path.append(str(PLUGINS / f"xtalk-{name}" / "tests"))

import fake_dashscope  # noqa: E402
import fake_elevenlabs  # noqa: E402
import fake_gpt_sovits  # noqa: E402
import fake_index_tts  # noqa: E402
import fake_realtime  # noqa: E402

sent = [0.0]


def stamped(cls: type[FakeService]) -> type[Any]:
    """The fake, which notes when it sends the first piece of an answer."""

    class Stamped(cls):  # type: ignore[misc, valid-type]
        async def piece(self, request: web.Request, number: int) -> None:
            await super().piece(request, number)
            if number == 0:
                sent[0] = time.perf_counter()

    return Stamped


async def frames() -> AsyncIterator[AudioFrame]:
    pcm = recording("what-time-is-it").pcm
    for start in range(0, len(pcm), 1024):
        yield AudioFrame(pcm[start : start + 1024], RATE_IN)
        await asyncio.sleep(0)


async def first_pieces(model: Any, slot: str) -> list[float]:
    """Seconds from the fake's first piece to ours, a turn each."""
    taken = []
    await model.open()
    guard = Guard(model)
    for _ in range(WARM_UP + TURNS):
        async with guard.lease() as lease:
            turn = recognize(lease, frames()) if slot == "asr" else synthesize(lease, TEXT)
            async with aclosing(turn) as pieces:
                await anext(pieces)
                taken.append(time.perf_counter() - sent[0])
                async for _piece in pieces:
                    pass
    await model.close()
    return taken[WARM_UP:]


def measure(name: str, fake: FakeService, make: Callable[[Any], Any], slot: str = "tts") -> None:
    with running(fake) as service:
        taken = asyncio.run(first_pieces(make(service), slot))
    half, most = 1000 * median(taken), 1000 * quantile(taken, 0.9)
    print(f"{name:28} median {half:6.2f} ms   90 % {most:6.2f} ms", flush=True)


def main() -> None:
    from xtalk_asr_qwen3.realtime import Qwen3ASRFlashConfig, Qwen3ASRFlashRealtime
    from xtalk_elevenlabs.asr import ElevenLabsASR
    from xtalk_elevenlabs.tts import ElevenLabsTTS
    from xtalk_tts_cosyvoice.dashscope import CosyVoice
    from xtalk_tts_gpt_sovits.voice import GPTSoVITS
    from xtalk_tts_index.voices import IndexTTS, IndexTTS2

    def elevenlabs(cls: type[Any], **more: Any) -> Callable[[Any], Any]:
        return lambda service: cls(
            api_key=KEY,
            base_url=f"http://127.0.0.1:{service.port}",
            realtime_url=f"ws://127.0.0.1:{service.port}",
            **more,
        )

    def ws(service: Any, path: str) -> str:
        return f"ws://127.0.0.1:{service.port}/api-ws/v1/{path}"

    eleven = stamped(fake_elevenlabs.FakeElevenLabs)
    folder = Path(tempfile.mkdtemp())
    print(described())
    measure(
        "Qwen3ASRFlashRealtime",
        stamped(fake_realtime.FakeRealtime)(),
        lambda s: Qwen3ASRFlashRealtime(KEY, Qwen3ASRFlashConfig(url=ws(s, "realtime"))),
        "asr",
    )
    measure("ElevenLabsASR streaming", eleven(), elevenlabs(ElevenLabsASR, mode="streaming"), "asr")
    measure("ElevenLabsTTS http", eleven(), elevenlabs(ElevenLabsTTS))
    measure("ElevenLabsTTS websocket", eleven(), elevenlabs(ElevenLabsTTS, transport="websocket"))
    measure(
        "CosyVoice",
        stamped(fake_dashscope.FakeDashScope)(),
        lambda s: CosyVoice(KEY, url=ws(s, "inference")),
    )
    measure(
        "IndexTTS",
        stamped(fake_index_tts.FakeIndexTTS)(folder, ["a"]),
        lambda s: IndexTTS({"a": "a"}, port=s.port),
    )
    measure(
        "IndexTTS2",
        stamped(fake_index_tts.FakeIndexTTS2)(folder, ["a"]),
        lambda s: IndexTTS2({"a": "a"}, port=s.port),
    )
    measure(
        "GPTSoVITS streaming",
        stamped(fake_gpt_sovits.FakeGPTSoVITS)(["a"]),
        lambda s: GPTSoVITS(["a"], port=s.port, streaming_mode=True),
    )


if __name__ == "__main__":
    main()
