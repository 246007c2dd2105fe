import assert from "node:assert/strict";
import { test } from "node:test";

import { Resampler } from "../src/resample.ts";
import { tone } from "./fakes.ts";

function resampled(samples: Float32Array, from: number, to: number, piece: number): Float32Array {
  const resampler = new Resampler(from, to);
  const parts: number[] = [];
  for (let i = 0; i < samples.length; i += piece) {
    parts.push(...resampler.push(samples.subarray(i, i + piece)));
  }
  parts.push(...resampler.flush());
  return Float32Array.from(parts);
}

const RATES = [
  [48_000, 16_000],
  [44_100, 16_000],
  [48_000, 44_100],
  [8_000, 16_000],
] as const;

for (const [from, to] of RATES) {
  test(`${from} to ${to} Hz: a tone stays that tone, at its time`, () => {
    const heard = resampled(tone(from, from, 440), from, to, 1000);
    const wanted = tone(to, to, 440);
    const edge = Math.ceil(0.005 * to); // the tone begins and ends abruptly
    for (let i = edge; i < to - edge; i++) {
      const error = Math.abs((heard[i] as number) - (wanted[i] as number));
      assert.ok(error < 1e-3, `sample ${i} is wrong by ${error}`);
    }
  });

  test(`${from} to ${to} Hz: the pieces do not matter`, () => {
    const samples = tone(5000, from, 1000);
    const whole = resampled(samples, from, to, samples.length);
    assert.deepEqual(resampled(samples, from, to, 128), whole);
    assert.deepEqual(resampled(samples, from, to, 7), whole);
  });

  test(`${from} to ${to} Hz: no sample is lost or added`, () => {
    const { length } = resampled(new Float32Array(10_000), from, to, 441);
    assert.equal(length, Math.ceil((10_000 * to) / from));
  });
}

test("what the lower rate cannot carry does not come back as another tone", () => {
  const heard = resampled(tone(48_000, 48_000, 12_000), 48_000, 16_000, 480);
  const loudest = Math.max(...heard.subarray(200, -200).map(Math.abs));
  assert.ok(loudest < 1e-3, `an alias of ${loudest}`);
});

test("the same rate passes samples on unchanged, in a copy", () => {
  const samples = tone(100);
  const passed = new Resampler(48_000, 48_000).push(samples);
  assert.deepEqual(passed, samples);
  assert.notEqual(passed, samples);
});

test("after a flush another stream begins", () => {
  const resampler = new Resampler(48_000, 16_000);
  resampler.push(tone(1000));
  resampler.flush();
  assert.equal(resampler.push(new Float32Array(300)).length + resampler.flush().length, 100);
});
