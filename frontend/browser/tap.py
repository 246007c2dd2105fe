"""What leaves a page for the loudspeaker, and what the page and the server told each other."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from playwright.sync_api import Page, WebSocket

RATE = 48_000

# In the page, before its own scripts: whatever is connected to a loudspeaker is recorded, too.
TAP = """
(() => {
  // On the audio thread: every block that goes to the loudspeaker, and the frame it begins at.
  const recorder = URL.createObjectURL(new Blob([`
    registerProcessor("recorder", class extends AudioWorkletProcessor {
      // Chromium forgets to advance currentFrame while the page holds the lock of the graph.
      next = 0;
      process([input]) {
        const frame = Math.max(this.next, currentFrame);
        this.next = frame + 128;
        if (input[0]) this.port.postMessage([frame, input[0]]);
        return true;
      }
    });
  `], { type: "text/javascript" }));
  const taps = (window.taps = []);
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode) record(this, target.context);
    return connect.call(this, target, ...rest);
  };
  async function record(node, context) {
    const tap = { rate: context.sampleRate, blocks: [], stamps: [] };
    taps.push(tap);
    await context.audioWorklet.addModule(recorder);
    const copy = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
    copy.port.onmessage = ({ data }) => tap.blocks.push(data);
    connect.call(node, copy);
    setInterval(() => {
      const { contextTime, performanceTime } = context.getOutputTimestamp();
      const wall = performance.timeOrigin + performanceTime;
      if (contextTime) tap.stamps.push([contextTime, wall]);
    }, 250);
  }
  window.heard = () => taps.map(({ rate, blocks, stamps }) => {
    const last = blocks.at(-1);
    const samples = new Int16Array(last ? last[0] + last[1].length : 0);
    for (const [at, block] of blocks) {
      for (let i = 0; i < block.length; i++) samples[at + i] = Math.round(block[i] * 32768);
    }
    let text = "";
    const bytes = new Uint8Array(samples.buffer);
    for (let i = 0; i < bytes.length; i += 32768) {
      text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    }
    return { rate, stamps, samples: btoa(text) };
  });
})();
"""


@dataclass(eq=False)
class Chunk:
    index: int
    pcm: np.ndarray[Any, np.dtype[np.int16]] = field(repr=False)


@dataclass
class Reply:
    """From `start_tts` to `tts_finished` or `stop_tts`."""

    chunks: list[Chunk] = field(default_factory=list)
    finished: bool = False

    @property
    def pcm(self) -> np.ndarray[Any, np.dtype[np.int16]]:
        return np.concatenate([chunk.pcm for chunk in self.chunks])


@dataclass
class Placed:
    """A chunk that was heard from sample `at` on, `gap` samples after the one before."""

    chunk: Chunk
    at: int
    gap: int

    @property
    def end(self) -> int:
        return self.at + len(self.chunk.pcm)


@dataclass(eq=False)
class Wire:
    """The WebSocket of a page, as its frames went by."""

    replies: list[Reply] = field(default_factory=list)
    acks: dict[int, float] = field(default_factory=dict)
    """Wall clock, ms, by the index of the chunk."""
    received: list[dict[str, Any]] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    _index: int = 0

    def open(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._receive)
        socket.on("framesent", self._send)

    def _receive(self, payload: str | bytes) -> None:
        if isinstance(payload, bytes):
            self.replies[-1].chunks.append(Chunk(self._index, np.frombuffer(payload, "<i2")))
            return
        message = json.loads(payload)
        self.received.append(message)
        if message["action"] == "start_tts":
            self.replies.append(Reply())
        elif message["action"] == "tts_chunk_meta":
            self._index = message["data"]["chunk_index"]
        elif message["action"] == "tts_finished":
            self.replies[-1].finished = True

    def _send(self, payload: str | bytes) -> None:
        if isinstance(payload, bytes):
            return
        message = json.loads(payload)
        self.sent.append(message)
        if message["action"] == "tts_chunk_played":
            self.acks[message["chunk_index"]] = message["timestamp"]

    def data(self, action: str) -> list[Any]:
        return [m.get("data") for m in self.received if m["action"] == action]


def tapped(page: Page) -> Wire:
    """Record this page's loudspeaker and its WebSocket; before it is opened.

    Its context needs `bypass_csp`: the page's policy allows no script that is not the server's.
    """
    wire = Wire()
    page.on("websocket", wire.open)
    page.add_init_script(TAP)
    return wire


@dataclass
class Heard:
    """What one AudioContext gave to the loudspeaker."""

    samples: np.ndarray[Any, np.dtype[np.int16]]
    stamps: list[tuple[float, float]]

    def wall_ms(self, sample: int) -> float:
        """When this sample was audible, by the browser's own account."""
        at = sample / RATE
        time, wall = min(self.stamps, key=lambda stamp: abs(stamp[0] - at))
        return wall + (at - time) * 1000

    def find(self, pcm: np.ndarray[Any, np.dtype[np.int16]], start: int = 0) -> tuple[int, float]:
        """Where it is from `start` on, and how well it correlates there with what was heard."""
        probe = pcm[: 2 * RATE].astype(float)
        there = self.samples[start:].astype(float)
        size = 1 << (len(there) + len(probe)).bit_length()
        product = np.fft.rfft(there, size) * np.conj(np.fft.rfft(probe, size))
        at = start + int(np.argmax(np.fft.irfft(product, size)[: len(there)]))
        heard = self.samples[at : at + len(pcm)].astype(float)
        return at, float(np.corrcoef(heard, pcm[: len(heard)])[0, 1])

    def place(self, reply: Reply) -> list[Placed]:
        """Where each chunk was heard exactly as it was sent, until one was not.

        A chunk of nothing but silence in front would be found anywhere: it is left out.
        """
        bytes_ = self.samples.tobytes()
        sounding = [chunk for chunk in reply.chunks if chunk.pcm.any()]
        first = reply.chunks[reply.chunks.index(sounding[0]) :] if sounding else []
        placed: list[Placed] = []
        at, reach = 0, len(self.samples)
        for chunk in first:
            found = _find(bytes_, chunk.pcm.tobytes(), at, reach)
            if found is None:
                break
            placed.append(Placed(chunk, found, found - at if placed else 0))
            at, reach = found + len(chunk.pcm), RATE
        return placed


def _find(heard: bytes, pcm: bytes, start: int, reach: int) -> int | None:
    """The first sample of this within reach; only whole samples count."""
    at = heard.find(pcm, 2 * start, 2 * (start + reach) + len(pcm))
    while at > 0 and at % 2:
        at = heard.find(pcm, at + 1, 2 * (start + reach) + len(pcm))
    return None if at < 0 else at // 2


def heard(page: Page) -> list[Heard]:
    """One for each AudioContext that played."""
    taps = page.evaluate("window.heard()")
    assert {tap["rate"] for tap in taps} <= {RATE}
    return [
        Heard(
            np.frombuffer(base64.b64decode(tap["samples"]), "<i2"), list(map(tuple, tap["stamps"]))
        )
        for tap in taps
    ]
