"""The servers under test, by name: `python servers.py floor|ours PORT`.

    floor   a FastAPI WebSocket that runs the scenario by hand: nothing can be faster and fair
    ours    the same FastAPI and uvicorn, with xtalk's session behind the WebSocket

`--count` takes the plain asyncio loop and prints, at each SIGUSR1, what that loop has done;
`--scale 0.1` makes every delay and every sound a tenth as long. `GET /tasks` counts the tasks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from asyncio import base_events, events
from collections.abc import AsyncIterator, Callable
from typing import Any

import scenario
import uvicorn
from fastapi import FastAPI, WebSocket


class Floor:
    """One connection: marks start and cancel the reply, audio is dropped."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._reply: asyncio.Task[None] | None = None
        self._index = 0

    async def run(self) -> None:
        await self._websocket.accept()
        try:
            while (message := await self._websocket.receive())["type"] == "websocket.receive":
                if message.get("bytes") is None:
                    await self._mark(json.loads(message["text"])["action"])
        finally:
            self._cancel()

    async def _mark(self, action: str) -> None:
        if action == "vad_speech_start":
            self._cancel()
            if self._index:
                await self._tell("stop_tts", "")
        elif action == "vad_speech_end":
            self._reply = asyncio.create_task(self._answer())

    def _cancel(self) -> None:
        if self._reply is not None:
            self._reply.cancel()

    async def _answer(self) -> None:
        await asyncio.sleep(scenario.FINAL_S)
        await self._tell("finish_asr", {"text": scenario.HEARD})
        sentences: asyncio.Queue[str | None] = asyncio.Queue()
        thinking = asyncio.create_task(self._think(sentences))
        try:
            await self._tell("start_tts", "")
            while await sentences.get() is not None:
                async for chunk in scenario.audio():
                    self._index += 1
                    await self._tell("tts_chunk_meta", {"chunk_index": self._index})
                    await self._websocket.send_bytes(chunk)
            await self._tell("tts_finished", {})
        finally:
            thinking.cancel()

    async def _think(self, sentences: asyncio.Queue[str | None]) -> None:
        reply = sentence = ""
        async for token in scenario.tokens():
            reply += token
            sentence += token
            await self._tell("update_resp", {"text": reply, "turn_id": 1})
            if sentence.endswith("."):
                sentences.put_nowait(sentence)
                sentence = ""
        sentences.put_nowait(None)

    async def _tell(self, action: str, data: Any) -> None:
        await self._websocket.send_text(json.dumps({"action": action, "data": data}))


def floor() -> FastAPI:
    app = FastAPI()

    @app.websocket("/ws")
    async def talk(websocket: WebSocket) -> None:
        await Floor(websocket).run()

    return app


def ours() -> FastAPI:
    from xtalk.agent import Agent
    from xtalk.audio import AudioFrame
    from xtalk.pipeline import DefaultPipeline
    from xtalk.service import DefaultService, Host
    from xtalk.speech.interfaces import ASR, TTS, Transcript

    class ScenarioASR(ASR):
        def recognize(self, audio: bytes) -> str:
            return scenario.HEARD

        def reset(self) -> None:
            pass

        def clone(self) -> ASR:
            return self

        async def transcribe(self, frames: AsyncIterator[AudioFrame]) -> AsyncIterator[Transcript]:
            pcm = b""
            async for frame in frames:
                pcm = frame.pcm
            await asyncio.sleep(scenario.FINAL_S)
            # What ends in silence was a cough.
            yield Transcript(text=scenario.HEARD if any(pcm) else "", final=True)

    class ScenarioAgent(Agent):
        def generate(self, input: Any) -> str:
            return " ".join(scenario.SENTENCES)

        def clone(self) -> Agent:
            return self

        def async_generate_stream(self, input: Any) -> AsyncIterator[str]:
            return scenario.tokens()

    class ScenarioTTS(TTS):
        def synthesize(self, text: str) -> bytes:
            return b"".join(scenario.SPEECH)

        def clone(self) -> TTS:
            return ScenarioTTS()

        def async_synthesize_stream(self, text: str, **kwargs: Any) -> AsyncIterator[bytes]:
            return scenario.audio()

    pipeline = DefaultPipeline(asr=ScenarioASR(), llm_agent=ScenarioAgent(), tts=ScenarioTTS())
    host = Host(DefaultService(pipeline=pipeline))
    app = FastAPI(lifespan=host.lifespan)

    @app.websocket("/ws")
    async def talk(websocket: WebSocket) -> None:
        await host.connect(websocket)

    return app


async def tasks() -> int:
    return len(asyncio.all_tasks())


APPS: dict[str, Callable[[], FastAPI]] = {"floor": floor, "ours": ours}


def count() -> None:
    """Print a line of counters at each SIGUSR1."""
    done = dict.fromkeys(("callbacks", "tasks", "threads", "timers"), 0)

    def counted(cls: type, method: str, what: str) -> None:
        original = getattr(cls, method)

        def counting(*args: Any, **kwargs: Any) -> Any:
            done[what] += 1
            return original(*args, **kwargs)

        setattr(cls, method, counting)

    counted(events.Handle, "_run", "callbacks")
    counted(base_events.BaseEventLoop, "create_task", "tasks")
    # Whoever comes back from a thread comes this way, whichever pool the thread is of.
    counted(base_events.BaseEventLoop, "call_soon_threadsafe", "threads")
    counted(base_events.BaseEventLoop, "call_at", "timers")
    signal.signal(signal.SIGUSR1, lambda *_: print(json.dumps(done), flush=True))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("app", choices=APPS)
    parser.add_argument("port", type=int)
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    scenario.scale(arguments.scale)
    if arguments.count:
        count()
    app = APPS[arguments.app]()
    app.get("/tasks")(tasks)
    uvicorn.run(
        app,
        port=arguments.port,
        loop="asyncio" if arguments.count else "uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
