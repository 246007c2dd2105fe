import assert from "node:assert/strict";
import { test } from "node:test";

import { Waterfall } from "../src/waterfall.ts";

const REPORT = {
  network_latency_ms: 5,
  asr_latency_ms: 80,
  llm_first_token_ms: 100,
  llm_sentence_ms: 250,
  tts_first_chunk_ms: 60,
  e2e_latency_ms: 590,
  silence_ms: 200,
  turn_id: 1,
};

test("measured here: from the last voiced frame to the first audible sample", () => {
  const waterfall = new Waterfall();
  waterfall.voiced(1000);
  waterfall.transcribed(1);
  waterfall.arrived(1, 1640);
  waterfall.arrived(1, 1700);
  assert.equal(waterfall.reported(REPORT, 0)?.total, null);
  const trace = waterfall.audible(1, 1665, 9);
  assert.equal(trace?.source, "measured");
  assert.equal(trace?.stages.network, 50);
  assert.equal(trace?.stages.playout, 25);
  assert.equal(trace?.total, 665);
  assert.equal(trace?.at, 9);
});

test("where nothing was measured, the server's account and a ping's round trip", () => {
  const waterfall = new Waterfall();
  waterfall.roundTrip(30);
  waterfall.transcribed(1);
  waterfall.arrived(1, 1640);
  waterfall.audible(1, 1665, 0);
  const trace = waterfall.reported(REPORT, 0);
  assert.equal(trace?.source, "server");
  assert.equal(trace?.stages.network, 30);
  assert.equal(trace?.total, 590 + 30 + 25);
});

test("an end of speech later than the server's is not believed", () => {
  const waterfall = new Waterfall();
  waterfall.roundTrip(30);
  waterfall.voiced(1500);
  waterfall.transcribed(1);
  waterfall.arrived(1, 1640);
  assert.equal(waterfall.reported(REPORT, 0)?.source, "server");
});

test("where this side's mark ended the turn, the silence before it is part of the whole", () => {
  const waterfall = new Waterfall();
  waterfall.voiced(1000);
  waterfall.marked(1200);
  waterfall.transcribed(1);
  waterfall.arrived(1, 1840);
  const { silence_ms: _, ...report } = REPORT;
  waterfall.reported(report, 0);
  const trace = waterfall.audible(1, 1860, 0);
  assert.equal(trace?.stages.silence, 200);
  assert.equal(trace?.stages.network, 50);
  assert.equal(trace?.total, 860);
});

test("the stages add up to the whole", () => {
  const waterfall = new Waterfall();
  waterfall.voiced(1000);
  waterfall.transcribed(1);
  waterfall.arrived(1, 1640);
  waterfall.reported(REPORT, 0);
  const trace = waterfall.audible(1, 1665, 0);
  const stages = Object.values(trace?.stages ?? {});
  assert.equal(stages.reduce<number>((sum, stage) => sum + (stage ?? 0), 0), trace?.total);
});

test("speech during the reply does not become the end of the turn before", () => {
  const waterfall = new Waterfall();
  waterfall.voiced(1000);
  waterfall.transcribed(1);
  waterfall.voiced(1500);
  waterfall.arrived(1, 1640);
  waterfall.audible(1, 1665, 0);
  assert.equal(waterfall.reported(REPORT, 0)?.total, 665);
});

test("what was voiced for one turn is not the end of the next", () => {
  const waterfall = new Waterfall();
  waterfall.voiced(1000);
  waterfall.marked(1200);
  waterfall.transcribed(1);
  waterfall.transcribed(2);
  waterfall.arrived(2, 9000);
  const { silence_ms: _, ...report } = REPORT;
  const trace = waterfall.reported({ ...report, turn_id: 2 }, 0);
  assert.equal(trace?.source, "server");
  assert.equal(trace?.stages.silence, null);
});

test("a reply that nobody asked for has no trace, nor one whose turn is over", () => {
  const waterfall = new Waterfall();
  assert.equal(waterfall.reported(REPORT, 0), null);
  assert.equal(waterfall.audible(1, 1, 0), null);
  waterfall.transcribed(1);
  waterfall.transcribed(2);
  assert.equal(waterfall.reported(REPORT, 0), null);
});

test("a server that names no turn means the last one", () => {
  const waterfall = new Waterfall();
  waterfall.transcribed(4);
  const { turn_id: _, ...unnamed } = REPORT;
  assert.equal(waterfall.reported(unnamed, 0)?.turnId, 4);
});
