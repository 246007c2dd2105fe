import assert from "node:assert/strict";
import { test } from "node:test";

import { OnnxDenoiser } from "../src/denoise.ts";
import type { Ort, OrtSession, OrtTensor } from "../src/runtime.ts";

class Tensor implements OrtTensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
  constructor(_type: string, data: Float32Array, dims: readonly number[]) {
    this.data = data.slice();
    this.dims = dims;
  }
}

const ort = { Tensor } as unknown as Ort;

/** A model that halves the audio and counts its frames in its state. */
function counting(overrides: Partial<OrtSession> = {}): OrtSession {
  return {
    inputNames: ["audio", "state"],
    outputNames: ["clean", "state_out"],
    inputMetadata: [{ shape: [1, 512] }, { shape: ["batch", 3] }],
    async run({ audio, state }) {
      const half = (audio?.data as Float32Array).map((sample) => sample / 2);
      const next = (state?.data as Float32Array).map((count) => count + 1);
      return {
        clean: new Tensor("float32", half, [1, half.length]),
        state_out: new Tensor("float32", next, state?.dims ?? []),
      };
    },
    async release() {},
    ...overrides,
  };
}

test("the state of one frame goes into the next, zero at first and after a reset", async () => {
  const states: number[] = [];
  const session = counting();
  const run = session.run;
  session.run = (feeds) => {
    assert.deepEqual(feeds.audio?.dims, [1, 512]);
    assert.deepEqual(feeds.state?.dims, [1, 3]);
    states.push((feeds.state?.data as Float32Array)[0] as number);
    return run(feeds);
  };
  const denoiser = new OnnxDenoiser(ort, session);
  const frame = new Float32Array(512).fill(0.5);
  assert.deepEqual(await denoiser.denoise(frame), new Float32Array(512).fill(0.25));
  await denoiser.denoise(frame);
  denoiser.reset();
  await denoiser.denoise(frame);
  assert.deepEqual(states, [0, 1, 0]);
});

test("a model that does not give its states back is refused", () => {
  const session = counting({ outputNames: ["clean"] });
  const refusal = /give back every state: it takes audio, state/;
  assert.throws(() => new OnnxDenoiser(ort, session), refusal);
});

test("a model that changes the length is an error at its first frame", async () => {
  const denoiser = new OnnxDenoiser(ort, counting());
  await assert.rejects(denoiser.denoise(new Float32Array(100)), /512 samples/);
});
