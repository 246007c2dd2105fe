import assert from "node:assert/strict";
import { test } from "node:test";

import type { PlayerEvent } from "../src/worklets.ts";
import { tone, Worklet } from "./fakes.ts";

function player(): Worklet {
  return new Worklet("xtalk-player", 48_000);
}

function chunk(samples: Float32Array, index = 1, reply = 1) {
  return { type: "play", samples, index, reply };
}

/** What so many blocks of 128 samples play. */
function played(worklet: Worklet, blocks: number): Float32Array {
  const out = new Float32Array(128 * blocks);
  for (let i = 0; i < blocks; i++) out.set(worklet.render(), 128 * i);
  return out;
}

function events(worklet: Worklet, type: PlayerEvent["type"]): PlayerEvent[] {
  return (worklet.events as PlayerEvent[]).filter((event) => event.type === type);
}

test("chunks follow each other without a gap, to the sample", () => {
  const worklet = player();
  const samples = tone(1000);
  worklet.post(chunk(samples.slice(0, 333), 1));
  worklet.post(chunk(samples.slice(333), 2));
  assert.deepEqual(played(worklet, 8).subarray(0, 1000), samples);
});

test("a chunk is said to begin and to be played at the very sample", () => {
  const worklet = player();
  played(worklet, 2);
  worklet.post(chunk(tone(200), 7));
  worklet.post(chunk(tone(100), 8));
  played(worklet, 4);
  assert.deepEqual(
    worklet.events.map((event) => {
      const { type, index, time } = event as { type: string; index?: number; time: number };
      return [type, index, Math.round(time * 48_000)];
    }),
    [
      ["began", 7, 256],
      ["played", 7, 456],
      ["began", 8, 456],
      ["played", 8, 556],
      ["dry", undefined, 556],
    ],
  );
});

test("a browser that forgets to advance the frame does not date a chunk wrongly", () => {
  const worklet = player();
  played(worklet, 2);
  worklet.frame -= 128;
  worklet.post(chunk(tone(100)));
  played(worklet, 1);
  worklet.frame += 128;
  worklet.post(chunk(tone(100), 2));
  played(worklet, 1);
  const began = events(worklet, "began").map((event) => Math.round(event.time * 48_000));
  assert.deepEqual(began, [256, 384]);
});

test("after a pause the next sample is the one that was due", () => {
  const worklet = player();
  const samples = tone(48_000);
  worklet.post(chunk(samples));
  const before = played(worklet, 10);
  worklet.post({ type: "pause" });
  played(worklet, 25);
  worklet.post({ type: "resume" });
  const after = played(worklet, 10);
  assert.deepEqual(before, samples.slice(0, 1280));
  // The first 3 ms are faded in.
  assert.deepEqual(after.slice(256), samples.slice(1280 + 256, 2 * 1280));
});

test("neither a pause nor a stop nor a resume is a click", () => {
  for (const [halt, again] of [["pause", "resume"], ["stop", "stop"]]) {
    const worklet = player();
    worklet.post(chunk(tone(48_000)));
    const parts = [played(worklet, 10)];
    worklet.post({ type: halt });
    parts.push(played(worklet, 10));
    worklet.post({ type: again });
    parts.push(played(worklet, 10));
    const all = parts.flatMap((part) => [...part]);
    const steps = all.slice(1).map((sample, i) => Math.abs(sample - (all[i] as number)));
    assert.ok(Math.max(...steps) < 0.05, `${halt}: a step of ${Math.max(...steps)}`);
  }
});

test("a pause of silence is silence", () => {
  const worklet = player();
  worklet.post(chunk(tone(48_000)));
  played(worklet, 10);
  worklet.post({ type: "pause" });
  played(worklet, 10);
  assert.deepEqual(played(worklet, 1), new Float32Array(128));
});

test("a second pause and a second resume change nothing", () => {
  const worklet = player();
  worklet.post(chunk(tone(512)));
  worklet.post({ type: "pause" });
  worklet.post({ type: "pause" });
  played(worklet, 2);
  worklet.post({ type: "resume" });
  worklet.post({ type: "resume" });
  assert.deepEqual(played(worklet, 4), tone(512));
  assert.equal(events(worklet, "paused").length, 1);
});

test("ducking takes its time, and then the level holds", () => {
  const worklet = player();
  worklet.post(chunk(new Float32Array(48_000).fill(0.5)));
  worklet.post({ type: "gain", value: 0.2, seconds: 0.02 });
  const heard = played(worklet, 16);
  assert.ok((heard[480] as number) > 0.25 && (heard[480] as number) < 0.35);
  assert.ok(Math.abs((heard[1000] as number) - 0.1) < 1e-6);
  assert.equal(heard[2000], heard[1000]);
});

test("a stop drops everything, and what comes after is at full level", () => {
  const worklet = player();
  worklet.post(chunk(tone(48_000)));
  worklet.post({ type: "gain", value: 0.2, seconds: 0 });
  worklet.post({ type: "pause" });
  worklet.post({ type: "stop" });
  played(worklet, 10);
  worklet.post(chunk(tone(128), 2, 2));
  assert.deepEqual(played(worklet, 1), tone(128));
});

test("an empty chunk is played at once", () => {
  const worklet = player();
  worklet.post(chunk(new Float32Array(0), 3));
  played(worklet, 1);
  assert.equal(events(worklet, "played").length, 1);
});

test("the player lives until it is told to end", () => {
  const worklet = player();
  played(worklet, 1);
  assert.equal(worklet.running, true);
  worklet.post({ type: "end" });
  played(worklet, 1);
  assert.equal(worklet.running, false);
});

test("the microphone's samples come in pieces of 512, none lost", () => {
  const worklet = new Worklet("xtalk-capture", 48_000);
  const samples = tone(128 * 12);
  for (let i = 0; i < 12; i++) worklet.render(samples.subarray(128 * i, 128 * (i + 1)));
  const pieces = worklet.events as Float32Array[];
  assert.deepEqual(pieces.map((piece) => piece.length), [512, 512, 512]);
  assert.deepEqual(pieces.flatMap((piece) => [...piece]), [...samples]);
});

test("a microphone that is not connected gives nothing", () => {
  const worklet = new Worklet("xtalk-capture", 48_000);
  worklet.render();
  worklet.post("end");
  worklet.render();
  assert.deepEqual(worklet.events, []);
  assert.equal(worklet.running, false);
});
