import assert from "node:assert/strict";
import { test } from "node:test";

import { Playback } from "../src/playback.ts";
import { FakeClock, FakeOutput, tone } from "./fakes.ts";

const RATE = 48_000;
const { LATENCY_MS } = FakeOutput;

function setUp(rate = RATE) {
  const clock = new FakeClock();
  const output = new FakeOutput(clock, rate);
  const told: string[] = [];
  const at: Record<string, number> = {};
  const note = (what: string, when: number) => {
    told.push(what);
    at[what] = when;
  };
  const playback = new Playback(output, clock, {
    changed: (state) => told.push(state),
    began: (index, when) => note(`began ${index}`, when),
    played: (index, when) => note(`played ${index}`, when),
    finished: (when) => note("finished", when),
    samples: (samples) => told.push(`samples ${samples.length}`),
  });
  return { clock, output, playback, told, at };
}

/** A chunk of so many milliseconds. */
function chunk(ms: number) {
  return tone((ms * RATE) / 1000);
}

test("a chunk is acknowledged when its last sample has left the loudspeaker", () => {
  const { output, playback, told, at } = setUp();
  playback.begin();
  playback.play(1, chunk(100), RATE);
  output.play(100 + LATENCY_MS - 5);
  assert.ok(!told.includes("played 1"));
  output.play(10);
  assert.equal(at["played 1"], 100 + LATENCY_MS);
});

test("speaking begins with the first audible sample, not with its coming", () => {
  const { output, playback, told } = setUp();
  playback.begin();
  playback.play(1, chunk(100), RATE);
  output.play(LATENCY_MS - 1);
  assert.deepEqual(told, []);
  output.play(2);
  assert.deepEqual(told, ["playing", "began 1", `samples ${chunk(100).length}`]);
});

test("a reply is finished when all of it has been heard and no more is to come", () => {
  const { output, playback, told, at } = setUp();
  playback.begin();
  playback.play(1, chunk(60), RATE);
  playback.play(2, chunk(60), RATE);
  playback.end();
  output.play(200);
  assert.deepEqual(told.filter((each) => !each.startsWith("samples")), [
    "playing",
    "began 1",
    "played 1",
    "began 2",
    "played 2",
    "idle",
    "finished",
  ]);
  assert.equal(at["finished"], 120 + LATENCY_MS);
});

test("a browser whose latency wavers does not finish a reply before its last chunk is heard", () => {
  const { output, playback, told } = setUp();
  let latency = LATENCY_MS;
  output.audibleAt = (time) => time * 1000 + latency--; // each account is a little earlier
  playback.begin();
  playback.play(1, chunk(60), RATE);
  playback.play(2, chunk(60), RATE);
  playback.end();
  output.play(200);
  const order = ["began 1", "played 1", "began 2", "played 2", "finished"];
  assert.deepEqual(told.filter((each) => order.includes(each)), order);
});

test("a browser whose latency wavers tells of nothing before its time, nor out of order", () => {
  const { clock, output, playback, told, at } = setUp();
  let latency = 500;
  output.audibleAt = (time) => time * 1000 + latency;
  playback.begin();
  playback.play(1, chunk(100), RATE);
  output.play(150);
  latency = LATENCY_MS;
  playback.play(2, chunk(100), RATE);
  while (!told.includes("played 2")) output.play(1);
  assert.ok((at["played 1"] as number) <= (at["played 2"] as number));
  assert.ok((at["played 2"] as number) <= clock.now());
});

test("a reply whose end is told after its last sample is finished too", () => {
  const { output, playback, told } = setUp();
  playback.begin();
  playback.play(1, chunk(20), RATE);
  output.play(500);
  assert.ok(!told.includes("finished"));
  playback.end();
  output.play(1);
  assert.equal(told.at(-1), "finished");
});

test("running dry is not the end", () => {
  const { output, playback, told } = setUp();
  playback.begin();
  playback.play(1, chunk(20), RATE);
  output.play(500);
  playback.play(2, chunk(20), RATE);
  output.play(500);
  assert.ok(!told.includes("finished") && told.includes("played 2"));
});

test("the end of one reply does not end the next", () => {
  const { output, playback, told } = setUp();
  playback.begin();
  playback.play(1, chunk(100), RATE);
  playback.end();
  output.play(50);
  playback.stop();
  playback.begin();
  playback.play(2, chunk(20), RATE);
  output.play(500);
  assert.ok(!told.includes("finished"));
});

test("what a stop drops is never acknowledged, what was on its way to the ear is", () => {
  const { output, playback, told } = setUp();
  playback.begin();
  playback.play(1, chunk(50), RATE);
  playback.play(2, chunk(50), RATE);
  output.play(60);
  playback.stop();
  output.play(500);
  assert.ok(told.includes("played 1") && !told.includes("played 2"));
});

test("nothing is acknowledged in a pause, and everything after it", () => {
  const { output, playback, told, at } = setUp();
  playback.begin();
  for (const index of [1, 2, 3]) playback.play(index, chunk(40), RATE);
  playback.end();
  output.play(30);
  playback.pause();
  playback.pause();
  output.play(1000);
  assert.deepEqual(told.filter((each) => each.startsWith("played")), []);
  playback.resume();
  output.play(200);
  const pausedAt = 128 * Math.floor((30 * RATE) / 1000 / 128);
  const resumedAt = 128 * Math.floor((1030 * RATE) / 1000 / 128);
  const shift = ((resumedAt - pausedAt) / RATE) * 1000;
  assert.ok(Math.abs((at["played 3"] as number) - (120 + shift + LATENCY_MS)) < 0.01);
  assert.equal(told.at(-1), "finished");
});

test("no sample is lost over a pause", () => {
  const { output, playback } = setUp();
  playback.begin();
  playback.play(1, new Float32Array(4800).fill(0.5), RATE);
  output.play(30);
  playback.pause();
  output.play(100);
  playback.resume();
  output.play(200);
  const full = output.rendered.filter((sample) => sample === 0.5).length;
  assert.equal(full, 4800 - 143); // all but the first 3 ms after the pause, which fade in
});

test("ducking asks for a lower level within 50 ms, and gives the old one back", () => {
  const { output, playback, told } = setUp();
  playback.begin();
  playback.play(1, new Float32Array(48_000).fill(0.5), RATE);
  output.play(100);
  playback.duck();
  output.play(50);
  assert.ok((output.rendered.at(-1) as number) <= 0.11);
  playback.unduck();
  output.play(150);
  assert.equal(output.rendered.at(-1), 0.5);
  assert.deepEqual(told.filter((each) => /^(playing|ducked)$/.test(each)), [
    "playing",
    "ducked",
    "playing",
  ]);
});

test("a stop keeps the loudspeaker, a close gives it back and leaves no timer", () => {
  const { clock, output, playback } = setUp();
  playback.begin();
  playback.play(1, chunk(20), RATE);
  output.play(25);
  playback.stop();
  assert.equal(output.closed, false);
  playback.close();
  assert.equal(output.closed, true);
  assert.equal(clock.pending, 0);
});

test("a loudspeaker of another rate hears the same tone, without a seam between chunks", () => {
  const { output, playback, told } = setUp(44_100);
  playback.begin();
  const samples = tone(RATE, RATE, 440);
  for (let i = 0; i < 10; i++) playback.play(i + 1, samples.slice(4800 * i, 4800 * (i + 1)), RATE);
  playback.end();
  output.play(1200);
  const wanted = tone(44_100, 44_100, 440);
  for (let i = 100; i < 44_000; i++) {
    const error = Math.abs((output.rendered[i] as number) - (wanted[i] as number));
    assert.ok(error < 1e-3, `sample ${i} is wrong by ${error}`);
  }
  assert.equal(told.filter((each) => each.startsWith("played")).length, 10);
  assert.equal(told.at(-1), "finished");
});
