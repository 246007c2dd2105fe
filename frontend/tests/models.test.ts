// The real models and the real runtime, where npm has installed them: in `tox -e frontend`'s copy.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";

import { OnnxDenoiser } from "../src/denoise.ts";
import type { Ort, Vad } from "../src/runtime.ts";
import { SileroDetector, SileroModel } from "../src/silero.ts";

const VAD_WEB = new URL("../node_modules/@ricky0123/vad-web/dist/", import.meta.url);
const skip = existsSync(VAD_WEB) ? false : "npm has not installed vad-web and onnxruntime-web";
const require = createRequire(import.meta.url);

async function ort(): Promise<Ort> {
  return require("onnxruntime-web") as Ort;
}

async function detector(): Promise<SileroDetector> {
  const vad = require(new URL("frame-processor.js", VAD_WEB).pathname) as Vad;
  const runtime = await ort();
  const model = readFileSync(new URL("silero_vad_v5.onnx", VAD_WEB));
  const session = await runtime.InferenceSession.create(new Uint8Array(model));
  return new SileroDetector(new SileroModel(runtime, session), vad);
}

// clean = 0.5 * audio; count_out = count + 1: written by Python's `onnx`, opset 13.
const HALVING = [
  "CAgSADrJAQoZCgVhdWRpbwoEaGFsZhIFY2xlYW4iA011bAocCgVjb3VudAoDb25lEgljb3VudF9vdXQiA0FkZBIB",
  "ZCoQCAEQASIEAAAAP0IEaGFsZioPCAEQASIEAACAP0IDb25lWhgKBWF1ZGlvEg8KDQgBEgkKAggBCgMIgARaFwoF",
  "Y291bnQSDgoMCAESCAoCCAEKAggDYhgKBWNsZWFuEg8KDQgBEgkKAggBCgMIgARiGwoJY291bnRfb3V0Eg4KDAgB",
  "EggKAggBCgIIA0IECgAQDQ==",
].join("");

/** A vowel-like sound: a pulse train of 120 Hz through two formants, with an onset and a decay. */
function vowel(seconds: number): Float32Array {
  const samples = new Float32Array(16_000 * seconds);
  const formants = [700, 1200].map((hertz) => ({ hertz, a: 0, b: 0 }));
  for (let i = 0; i < samples.length; i++) {
    const pitch = 120 + 15 * Math.sin((2 * Math.PI * 3 * i) / 16_000);
    const pulse = i % Math.round(16_000 / pitch) === 0 ? 1 : 0;
    let sum = 0;
    for (const formant of formants) {
      const radius = 0.97;
      const angle = (2 * Math.PI * formant.hertz) / 16_000;
      const next = pulse + 2 * radius * Math.cos(angle) * formant.a - radius ** 2 * formant.b;
      [formant.a, formant.b] = [next, formant.a];
      sum += next;
    }
    samples[i] = 0.05 * sum * (0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / 16_000));
  }
  return samples;
}

async function hear(silero: SileroDetector, samples: Float32Array): Promise<string[]> {
  const events: string[] = [];
  for (let i = 0; i + 512 <= samples.length; i += 512) {
    events.push(...(await silero.accept(samples.subarray(i, i + 512), false)).events);
  }
  return events;
}

test("Silero and vad-web take a vowel for speech, and silence for none", { skip }, async () => {
  const silero = await detector();
  assert.deepEqual(await hear(silero, new Float32Array(16_000)), []);
  assert.deepEqual(await hear(silero, vowel(1)), ["candidate", "start"]);
  assert.deepEqual(await hear(silero, new Float32Array(16_000)), ["end"]);
  silero.close();
});

test("a click is no speech to Silero", { skip }, async () => {
  const silero = await detector();
  const click = new Float32Array(16_000);
  click.fill(0.9, 8000, 8040);
  assert.deepEqual(await hear(silero, click), []);
  silero.close();
});

test("a denoiser runs in the real runtime", { skip }, async () => {
  const runtime = await ort();
  const model = Uint8Array.from(Buffer.from(HALVING, "base64"));
  const session = await runtime.InferenceSession.create(model);
  const denoiser = new OnnxDenoiser(runtime, session);
  for (let i = 0; i < 3; i++) {
    const clean = await denoiser.denoise(new Float32Array(512).fill(0.5));
    assert.deepEqual(clean, new Float32Array(512).fill(0.25));
  }
  denoiser.close();
});
