import assert from "node:assert/strict";
import { test } from "node:test";

import type { Denoiser } from "../src/denoise.ts";
import { Ear } from "../src/ear.ts";
import { type Detector, EnergyDetector } from "../src/vad.ts";
import { FakeClock } from "./fakes.ts";

function setUp(detector: Detector | null, denoiser: Denoiser | null = null) {
  const told: string[] = [];
  const frames: Float32Array[] = [];
  const levels: number[] = [];
  const clock = new FakeClock();
  const ear = new Ear({ detector, denoiser }, clock, () => false, {
    frame: (frame) => frames.push(frame),
    level: (level) => levels.push(level),
    detected: (event) => told.push(event),
    voiced: (at) => told.push(`voiced ${at}`),
    failed: (what) => told.push(`${what} failed`),
  });
  const hear = async (loudness: number, count: number) => {
    for (let i = 0; i < count; i++) {
      ear.push(new Float32Array(512).fill(loudness), 16_000);
      clock.advance(32);
    }
    await ear.settled();
  };
  return { clock, ear, frames, hear, levels, told };
}

/** A detector that remembers what it heard. */
class Listening implements Detector {
  readonly kind = "energy";
  readonly heard: number[] = [];
  resets = 0;
  async accept(frame: Float32Array) {
    this.heard.push(frame[0] as number);
    return { events: [], voiced: false };
  }
  reset() {
    this.resets += 1;
  }
  close() {}
}

const halving: Denoiser = {
  denoise: async (frame) => frame.map((sample) => sample / 2),
  reset() {},
  close() {},
};

test("raw frames go out, the detector hears the denoised ones", async () => {
  const detector = new Listening();
  const { frames, hear } = setUp(detector, halving);
  await hear(0.5, 2);
  assert.deepEqual(frames.map((frame) => frame[0]), [0.5, 0.5]);
  assert.deepEqual(detector.heard, [0.25, 0.25]);
});

test("a denoiser that fails is done without, once told of", async () => {
  const detector = new Listening();
  const failing: Denoiser = { ...halving, denoise: () => Promise.reject(new Error("broken")) };
  const { frames, hear, told } = setUp(detector, failing);
  await hear(0.5, 3);
  assert.deepEqual(told, ["denoiser failed"]);
  assert.deepEqual(detector.heard, [0.5, 0.5, 0.5]);
  assert.equal(frames.length, 3);
});

test("a detector that fails is replaced, and what it had begun is called off", async () => {
  const failing = new Listening();
  failing.accept = () => Promise.reject(new Error("broken"));
  const { hear, told } = setUp(failing);
  await hear(0.001, 10);
  await hear(0.2, 1);
  assert.deepEqual(told, ["detector failed", "misfire", "voiced 320", "candidate"]);
});

test("frames out do not wait for the detector", () => {
  const slow = new Listening();
  slow.accept = () => new Promise(() => {});
  const { ear, frames } = setUp(slow);
  for (let i = 0; i < 100; i++) ear.push(new Float32Array(512), 16_000);
  assert.equal(frames.length, 100);
});

test("a muted microphone gives nothing, and what had begun brings no end", async () => {
  const { ear, frames, hear, levels, told } = setUp(new EnergyDetector());
  await hear(0.001, 10);
  await hear(0.2, 10);
  ear.mute(true);
  const before = frames.length;
  await hear(0.001, 20);
  assert.equal(frames.length, before);
  assert.equal(levels.at(-1), 0);
  ear.mute(false);
  await hear(0.001, 20);
  assert.deepEqual(told.filter((each) => !each.startsWith("voiced")), ["candidate", "start"]);
});

test("the level is the loudest of about 100 ms", async () => {
  const { hear, levels } = setUp(null);
  await hear(0.25, 1);
  await hear(0.5, 1);
  await hear(0.125, 1);
  assert.deepEqual(levels, [0.5]);
});

test("another detector takes over when what is being said has ended", async () => {
  const { ear, hear, told } = setUp(new EnergyDetector());
  await hear(0.001, 10);
  await hear(0.2, 10);
  const other = new Listening();
  ear.use({ detector: other, denoiser: null });
  await hear(0.2, 5);
  assert.deepEqual(other.heard, []);
  await hear(0.001, 10);
  assert.equal(other.heard.length, 3);
  const events = told.filter((each) => !each.startsWith("voiced"));
  assert.deepEqual(events, ["candidate", "start", "end"]);
});

test("without a detector nothing is detected", async () => {
  const { hear, told } = setUp(null);
  await hear(0.5, 20);
  assert.deepEqual(told, []);
});
