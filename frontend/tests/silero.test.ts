import assert from "node:assert/strict";
import { test } from "node:test";

import type { FrameProcessor, FrameProcessorOptions } from "../src/runtime.ts";
import type { Ort, OrtSession, Vad } from "../src/runtime.ts";
import { SileroDetector, SileroModel } from "../src/silero.ts";

/** Stands in for vad-web: it says what the test wants it to say. */
function scripted() {
  const options: Partial<FrameProcessorOptions>[] = [];
  const script: string[][] = [];
  const made: { speaking: boolean; resets: number } = { speaking: false, resets: 0 };
  class Scripted implements FrameProcessor {
    readonly #probability: (frame: Float32Array) => Promise<{ isSpeech: number }>;
    constructor(
      probability: (frame: Float32Array) => Promise<{ isSpeech: number; notSpeech: number }>,
      _reset: () => void,
      given: FrameProcessorOptions,
    ) {
      this.#probability = probability;
      options.push(given);
    }
    get speaking() {
      return made.speaking;
    }
    setOptions(update: Partial<FrameProcessorOptions>) {
      options.push(update);
    }
    reset() {
      made.resets += 1;
    }
    resume() {}
    async process(frame: Float32Array, handle: (event: { msg: string }) => void) {
      await this.#probability(frame);
      for (const msg of script.shift() ?? []) handle({ msg });
    }
  }
  return { vad: { FrameProcessor: Scripted } as Vad, options, script, made };
}

const model = {
  heard: [] as Float32Array[],
  async probability(frame: Float32Array) {
    this.heard.push(frame);
    return 0.9;
  },
  reset() {},
  close() {},
};

const FRAME = new Float32Array(512);

test("vad-web's events become candidate, start and end", async () => {
  const { vad, script } = scripted();
  script.push(["FRAME_PROCESSED", "SPEECH_START"], ["SPEECH_REAL_START"], ["SPEECH_END"]);
  const detector = new SileroDetector(model, vad);
  const heard = [await detector.accept(FRAME, false), await detector.accept(FRAME, false)];
  heard.push(await detector.accept(FRAME, false));
  assert.deepEqual(heard.map(({ events }) => events), [["candidate"], ["start"], ["end"]]);
  assert.ok(heard.every(({ voiced }) => voiced));
});

test("an end that never had a start is a misfire", async () => {
  const { vad, script } = scripted();
  script.push(["SPEECH_START"], ["SPEECH_END"]);
  const detector = new SileroDetector(model, vad);
  await detector.accept(FRAME, false);
  assert.deepEqual((await detector.accept(FRAME, false)).events, ["misfire"]);
});

test("over playback it needs more, but not in the middle of speech", async () => {
  const { vad, options, made } = scripted();
  const detector = new SileroDetector(model, vad);
  await detector.accept(FRAME, true);
  await detector.accept(FRAME, true);
  assert.equal(options.length, 2); // once at the change
  const [silence, playback] = options as [FrameProcessorOptions, FrameProcessorOptions];
  assert.ok(playback.positiveSpeechThreshold > silence.positiveSpeechThreshold);
  assert.ok(playback.minSpeechMs > silence.minSpeechMs);
  assert.equal(playback.redemptionMs, 200);
  made.speaking = true;
  await detector.accept(FRAME, false);
  assert.equal(options.length, 2);
});

test("the model hears each frame with the end of the one before, and its own state", async () => {
  const feeds: Record<string, { data: unknown; dims: readonly number[] }>[] = [];
  class Tensor {
    readonly data: unknown;
    readonly dims: readonly number[];
    constructor(_type: string, data: Float32Array | BigInt64Array, dims: readonly number[]) {
      this.data = data.slice();
      this.dims = dims;
    }
  }
  const session = {
    run: async (given: (typeof feeds)[number]) => {
      feeds.push(given);
      const stateN = new Tensor("float32", new Float32Array(256).fill(feeds.length), [2, 1, 128]);
      return { output: new Tensor("float32", Float32Array.of(0.25), [1, 1]), stateN };
    },
  };
  const silero = new SileroModel({ Tensor } as unknown as Ort, session as unknown as OrtSession);
  assert.equal(await silero.probability(new Float32Array(512).fill(0.1)), 0.25);
  await silero.probability(new Float32Array(512).fill(0.2));
  const input = feeds[1]?.input?.data as Float32Array;
  assert.deepEqual(feeds[1]?.input?.dims, [1, 576]);
  assert.ok(input.subarray(0, 64).every((sample) => sample === Math.fround(0.1)));
  assert.ok(input.subarray(64).every((sample) => sample === Math.fround(0.2)));
  assert.equal((feeds[1]?.state?.data as Float32Array)[0], 1);
  silero.reset();
  await silero.probability(new Float32Array(512));
  assert.equal((feeds[2]?.state?.data as Float32Array)[0], 0);
});
