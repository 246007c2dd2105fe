import assert from "node:assert/strict";
import { test } from "node:test";

import { appended, LOG_LENGTH, type LatencyTrace, quantiles, serverStages } from "../src/state.ts";

const REPORT = {
  network_latency_ms: 5,
  asr_latency_ms: 80,
  llm_first_token_ms: 100,
  llm_sentence_ms: 250,
  tts_first_chunk_ms: 60,
  e2e_latency_ms: 590,
  silence_ms: 200,
  decision_ms: 30,
};

test("the stages of the server's report follow each other and add up to its whole", () => {
  const stages = serverStages(REPORT);
  assert.deepEqual(stages, {
    silence: 200,
    recognition: 50,
    decision: 30,
    firstToken: 100,
    firstSentence: 150,
    firstAudio: 60,
    network: null,
    playout: null,
  });
  const sum = Object.values(stages).reduce<number>((total, stage) => total + (stage ?? 0), 0);
  assert.equal(sum, REPORT.e2e_latency_ms);
});

test("quantiles are values that occurred, and none of nothing", () => {
  const traces = Array.from({ length: 20 }, (_, i) => {
    const stages = { ...serverStages(REPORT), playout: null };
    return { turnId: i, stages, total: 100 + i, source: "server", at: 0 } satisfies LatencyTrace;
  });
  assert.deepEqual(quantiles(traces, "total"), { p50: 109, p95: 118, count: 20 });
  assert.equal(quantiles(traces, "playout"), null);
  assert.deepEqual(quantiles(traces.slice(0, 1), "silence"), { p50: 200, p95: 200, count: 1 });
});

test("a log keeps its newest entries", () => {
  let log: readonly number[] = [];
  for (let i = 0; i < LOG_LENGTH + 5; i++) log = appended(log, i);
  assert.equal(log.length, LOG_LENGTH);
  assert.equal(log[0], 5);
});
