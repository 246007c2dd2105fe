// audio.ts is the one file that knows the browser; here the browser's classes are stood in for.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { type AudioFailure, browserAudio } from "../src/audio.ts";
import { FakeClock } from "./fakes.ts";

class Node {
  readonly port = {
    onmessage: null as ((event: { data: unknown }) => void) | null,
    posted: [] as unknown[],
    postMessage(data: unknown) {
      this.posted.push(data);
    },
  };
  connected: unknown[] = [];
  readonly options: unknown[];
  constructor(...options: unknown[]) {
    this.options = options;
    browser.nodes.push(this);
  }
  connect(to: unknown) {
    this.connected.push(to);
    return to;
  }
  disconnect() {
    this.connected = [];
  }
}

class Gain extends Node {
  readonly gain = { setTargetAtTime: (value: number) => browser.volumes.push(value) };
}

class Context {
  readonly options: AudioContextOptions;
  readonly sampleRate: number;
  state = "suspended";
  sink = "";
  currentTime = 10;
  outputLatency = 0.05;
  baseLatency = 0.01;
  timestamp = { contextTime: 9.9, performanceTime: 5000 };
  readonly destination = "loudspeaker";
  readonly audioWorklet = {
    addModule: async (url: string) => {
      browser.modules.push(url);
      if (browser.worklets === "missing") throw new Error("404");
    },
  };
  constructor(options: AudioContextOptions = {}) {
    this.options = options;
    this.sampleRate = options.sampleRate ?? 44_100;
    browser.contexts.push(this);
  }
  getOutputTimestamp() {
    return this.timestamp;
  }
  async resume() {
    this.state = "running";
  }
  async close() {
    this.state = "closed";
  }
  async setSinkId(id: string) {
    if (id === "gone") throw new DOMException("no such device", "NotFoundError");
    this.sink = id;
  }
}

class Track {
  onended: (() => void) | null = null;
  stopped = false;
  stop() {
    this.stopped = true;
  }
  getSettings() {
    return { deviceId: "mic1" };
  }
}

const browser = {
  contexts: [] as Context[],
  modules: [] as string[],
  nodes: [] as Node[],
  volumes: [] as number[],
  asked: [] as MediaTrackConstraints[],
  track: new Track(),
  refusal: "",
  worklets: "there",
};

const globals = {
  isSecureContext: true,
  AudioContext: Context,
  AudioWorkletNode: Node,
  GainNode: Gain,
  MediaStreamAudioSourceNode: Node,
  navigator: {
    mediaDevices: {
      async getUserMedia({ audio }: { audio: MediaTrackConstraints }) {
        browser.asked.push(audio);
        if (browser.refusal) throw new DOMException("no", browser.refusal);
        return { getTracks: () => [browser.track], getAudioTracks: () => [browser.track] };
      },
      enumerateDevices: async () => [
        { kind: "audioinput", deviceId: "a", label: "A" },
        { kind: "audiooutput", deviceId: "b", label: "B" },
        { kind: "videoinput", deviceId: "c", label: "C" },
        { kind: "audioinput", deviceId: "", label: "" },
      ],
    },
  },
};

const names = Object.keys(globals);
const before = names.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
const listener = { samples: (_: Float32Array, _rate: number) => {}, ended: () => {} };

beforeEach(() => {
  const fresh = { contexts: [], modules: [], nodes: [], volumes: [], asked: [] };
  Object.assign(browser, fresh, { track: new Track(), refusal: "", worklets: "there" });
  for (const [name, value] of Object.entries(globals)) define(name, { value });
});

afterEach(() => {
  for (const [name, descriptor] of before as [string, PropertyDescriptor | undefined][]) {
    if (descriptor) define(name, descriptor);
    else Reflect.deleteProperty(globalThis, name);
  }
});

function define(name: string, descriptor: PropertyDescriptor): void {
  Object.defineProperty(globalThis, name, { ...descriptor, configurable: true });
}

function context(): Context {
  return browser.contexts.at(-1) as Context;
}

test("the loudspeaker runs at the server's rate", async () => {
  const output = await browserAudio(new FakeClock()).openOutput("");
  assert.equal(output.rate, 48_000);
  assert.equal(context().state, "running");
});

test("the microphone runs at its own rate, unforced, and says which", async () => {
  const rates: number[] = [];
  await browserAudio(new FakeClock()).openMicrophone("", {
    ...listener,
    samples: (_, rate) => rates.push(rate),
  });
  assert.equal(context().options.sampleRate, undefined);
  const capture = browser.nodes.at(-1);
  capture?.port.onmessage?.({ data: new Float32Array(512) });
  assert.deepEqual(rates, [44_100]);
});

test("the browser cancels the echo and suppresses no noise", async () => {
  const audio = browserAudio(new FakeClock());
  await audio.openMicrophone("", listener);
  await audio.openMicrophone("mic2", listener);
  const [plain, chosen] = browser.asked;
  assert.equal(plain?.echoCancellation, true);
  assert.equal(plain?.noiseSuppression, false);
  assert.equal(plain?.deviceId, undefined);
  assert.deepEqual(chosen?.deviceId, { ideal: "mic2" });
});

test("a sample is heard when the loudspeaker says so, else after its latency", async () => {
  const clock = new FakeClock();
  const output = await browserAudio(clock).openOutput("");
  assert.equal(output.audibleAt(10), 5100);
  context().timestamp = { contextTime: 0, performanceTime: 0 };
  clock.advance(7);
  assert.ok(Math.abs(output.audibleAt(10.1) - (7 + 150)) < 1e-6);
});

test("worklets come from a blob, or from where a strict policy allows them", async () => {
  await browserAudio(new FakeClock()).openOutput("");
  await browserAudio(new FakeClock(), "/worklet.js").openOutput("");
  assert.match(browser.modules[0] as string, /^blob:/);
  assert.equal(browser.modules[1], "/worklet.js");
});

test("a loudspeaker that is gone since the last visit is not missed", async () => {
  const output = await browserAudio(new FakeClock()).openOutput("gone");
  assert.equal(context().sink, "");
  await output.setDevice("b");
  assert.equal(context().sink, "b");
});

test("a close gives back track and context, and hears nothing more", async () => {
  const audio = browserAudio(new FakeClock());
  const microphone = await audio.openMicrophone("", listener);
  assert.equal(microphone.deviceId, "mic1");
  microphone.close();
  assert.equal(browser.track.stopped, true);
  assert.equal(browser.track.onended, null);
  assert.equal(context().state, "closed");
  microphone.wake();
  assert.equal(context().state, "closed");
  const output = await audio.openOutput("");
  output.close();
  assert.equal(context().state, "closed");
});

test("an unplugged microphone is told of", async () => {
  let ended = 0;
  await browserAudio(new FakeClock()).openMicrophone("", {
    ...listener,
    ended: () => (ended += 1),
  });
  browser.track.onended?.();
  assert.equal(ended, 1);
});

for (const [name, code] of [
  ["NotAllowedError", "microphone-denied"],
  ["NotFoundError", "microphone-missing"],
  ["NotReadableError", "microphone-failed"],
]) {
  test(`${name} is ${code}, in words`, async () => {
    browser.refusal = name as string;
    const opening = browserAudio(new FakeClock()).openMicrophone("", listener);
    await assert.rejects(opening, (failure: AudioFailure) => {
      assert.equal(failure.code, code);
      assert.match(failure.message, /microphone.*\.$/);
      return true;
    });
  });
}

test("a page over plain HTTP is told why there is nothing to hear or to say", async () => {
  define("isSecureContext", { value: false });
  const audio = browserAudio(new FakeClock());
  await assert.rejects(audio.openOutput(""), { code: "insecure" });
  await assert.rejects(audio.openMicrophone("", listener), { code: "insecure" });
  assert.equal(browser.contexts.length, 0);
});

test("when the worklets cannot be loaded nothing stays open", async () => {
  browser.worklets = "missing";
  const audio = browserAudio(new FakeClock());
  await assert.rejects(audio.openOutput(""), { code: "audio-failed" });
  await assert.rejects(audio.openMicrophone("", listener), { code: "microphone-failed" });
  assert.deepEqual(browser.contexts.map(({ state }) => state), ["closed", "closed"]);
  assert.equal(browser.track.stopped, true);
});

test("microphones and loudspeakers are listed, cameras and nameless ones are not", async () => {
  assert.deepEqual(await browserAudio(new FakeClock()).devices(), [
    { id: "a", label: "A", kind: "input" },
    { id: "b", label: "B", kind: "output" },
  ]);
});
