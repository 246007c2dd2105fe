import assert from "node:assert/strict";
import { test } from "node:test";

import { FRAME_MS } from "../src/capture.ts";
import { EnergyDetector } from "../src/vad.ts";

/** The events of so many frames of this loudness (RMS). */
async function hear(detector: EnergyDetector, loudness: number, frames: number, playing = false) {
  const events: string[] = [];
  for (let i = 0; i < frames; i++) {
    const frame = new Float32Array(512).fill(loudness);
    events.push(...(await detector.accept(frame, playing)).events);
  }
  return events;
}

const NOISE = 0.003;
const SPEECH = 0.1;

async function inNoise(): Promise<EnergyDetector> {
  const detector = new EnergyDetector();
  await hear(detector, NOISE, 30);
  return detector;
}

test("speech is a candidate at its first frame, then a start, and ends after 200 ms", async () => {
  const detector = await inNoise();
  assert.deepEqual(await hear(detector, SPEECH, 1), ["candidate"]);
  assert.deepEqual(await hear(detector, SPEECH, 9), ["start"]);
  const silence = Math.ceil(200 / FRAME_MS);
  assert.deepEqual(await hear(detector, NOISE, silence - 1), []);
  assert.deepEqual(await hear(detector, NOISE, 1), ["end"]);
});

test("a click is a misfire", async () => {
  const detector = await inNoise();
  assert.deepEqual(await hear(detector, SPEECH, 2), ["candidate"]);
  assert.deepEqual(await hear(detector, NOISE, 10), ["misfire"]);
});

test("a pause for breath does not end an utterance", async () => {
  const detector = await inNoise();
  await hear(detector, SPEECH, 10);
  assert.deepEqual(await hear(detector, NOISE, 5), []);
  assert.deepEqual(await hear(detector, SPEECH, 10), []);
});

test("while the loudspeaker is on, it takes more and louder frames", async () => {
  const detector = await inNoise();
  assert.deepEqual(await hear(detector, 3 * NOISE, 20, true), []);
  assert.deepEqual(await hear(detector, SPEECH, 1, true), []);
  assert.deepEqual(await hear(detector, SPEECH, 1, true), ["candidate"]);
  assert.deepEqual(await hear(detector, SPEECH, 5, true), []);
  assert.deepEqual(await hear(detector, SPEECH, 1, true), ["start"]);
});

test("steady noise is no speech, and a louder one soon is none either", async () => {
  const detector = await inNoise();
  assert.deepEqual(await hear(detector, NOISE, 100), []);
  await hear(detector, 8 * NOISE, 400);
  assert.deepEqual(await hear(detector, 8 * NOISE, 100), []);
});

test("digital silence is no speech, and no noise floor to measure speech against", async () => {
  const detector = new EnergyDetector();
  await hear(detector, 0, 50);
  assert.deepEqual(await hear(detector, 0.0005, 20), []);
  assert.deepEqual(await hear(detector, SPEECH, 1), ["candidate"]);
});

test("a reset forgets what had begun", async () => {
  const detector = await inNoise();
  await hear(detector, SPEECH, 10);
  detector.reset();
  assert.deepEqual(await hear(detector, NOISE, 20), []);
});
