import assert from "node:assert/strict";
import { test } from "node:test";

import { Framer } from "../src/capture.ts";
import { tone } from "./fakes.ts";

test("frames are 512 samples, whatever the pieces", () => {
  const framer = new Framer();
  const samples = tone(5 * 512, 16_000);
  const frames = [100, 1000, 1460].flatMap((count, i, counts) => {
    const start = counts.slice(0, i).reduce((sum, each) => sum + each, 0);
    return framer.push(samples.subarray(start, start + count), 16_000);
  });
  assert.deepEqual(frames.flatMap((frame) => [...frame]), [...samples]);
  assert.ok(frames.every((frame) => frame.length === 512));
});

test("ten seconds at 44.1 kHz are ten seconds at 16 kHz", () => {
  const framer = new Framer();
  let frames = 0;
  for (let i = 0; i < 1000; i++) frames += framer.push(new Float32Array(441), 44_100).length;
  assert.equal(frames, Math.floor((160_000 - 50) / 512));
});

test("another microphone brings another rate", () => {
  const framer = new Framer();
  framer.push(new Float32Array(100), 48_000);
  framer.reset();
  assert.equal(framer.push(new Float32Array(512), 16_000).length, 1);
});

test("a reset leaves nothing of the stream before", () => {
  const framer = new Framer();
  framer.push(tone(500, 16_000), 16_000);
  framer.reset();
  assert.deepEqual(framer.push(new Float32Array(512), 16_000), [new Float32Array(512)]);
});
