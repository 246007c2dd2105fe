// The page's own words, bars and memory; what it looks like is tested in a browser.
import assert from "node:assert/strict";
import { test } from "node:test";

import { understood, type About } from "../src/page/about.ts";
import { preferred, words, WORDS, type Key } from "../src/page/i18n.ts";
import { load, save } from "../src/page/preferences.ts";
import { worded } from "../src/page/problems.ts";
import { bars, parts } from "../src/page/waterfall.ts";
import { initialState, STAGES, type LatencyTrace, type Message, type Problem } from "../src/state.ts";

const placeholders = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(String).sort();

test("both languages say the same things, with the same values in them", () => {
  const keys = Object.keys(WORDS.en) as Key[];
  assert.deepEqual(Object.keys(WORDS.zh).sort(), [...keys].sort());
  for (const key of keys) {
    assert.deepEqual(placeholders(WORDS.zh[key]), placeholders(WORDS.en[key]), key);
    assert.notEqual(WORDS.zh[key].trim(), "", key);
  }
});

test("values take their places in a sentence", () => {
  const sentence = words("en")("queue", { position: 3 });
  assert.match(sentence, /number 3 /);
});

test("a problem is told in the language of the page, and the server's words as they are", () => {
  const zh = (problem: Partial<Problem>) =>
    worded({ code: "server", message: "In English.", at: 0, ...problem }, words("zh"));
  assert.equal(zh({ code: "microphone-missing" }), WORDS.zh["problem_microphone-missing"]);
  assert.equal(zh({ code: "upload-unsent" }), WORDS.zh["problem_upload-unsent"]);
  assert.equal(zh({}), `${WORDS.zh.problem_server} In English.`);
  assert.equal(zh({ code: "upload-failed" }), `${WORDS.zh["problem_upload-failed"]} In English.`);
});

test("an end by the server is told as one, with its reason if it gave any", () => {
  const en = (problem: Partial<Problem>) =>
    worded({ code: "session-ended", message: "", at: 0, ...problem }, words("en"));
  assert.equal(en({ reason: "" }), "The server ended the connection.");
  const said = "The server ended the connection. The server says: idle";
  assert.equal(en({ reason: "idle" }), said);
  assert.equal(en({ code: "connection-refused", reason: "idle" }), said);
  assert.equal(en({ code: "connection-refused" }), "The server cannot be reached.");
});

test("the language is the first of the browser's that is spoken here, else English", () => {
  assert.equal(preferred(["fr-FR", "zh-TW", "en"]), "zh");
  assert.equal(preferred(["EN-gb"]), "en");
  assert.equal(preferred(["fr"]), "en");
  assert.equal(preferred([]), "en");
});

test("an agent understands what its recogniser hears", () => {
  const about = (languages: Record<string, string[]>) => ({ languages }) as unknown as About;
  assert.deepEqual(understood(about({ asr: ["en", "zh"], llm_agent: ["en"] })), ["en"]);
  assert.deepEqual(understood(about({ asr: ["en", "zh"] })), ["en", "zh"]);
  assert.deepEqual(understood(about({ llm_agent: ["de"] })), ["de"]);
  assert.deepEqual(understood({} as About), []);
});

function trace(stages: Partial<LatencyTrace["stages"]>, total: number | null): LatencyTrace {
  const all = { ...Object.fromEntries(STAGES.map((stage) => [stage, null])), ...stages };
  return { turnId: 1, stages: all as LatencyTrace["stages"], total, source: "measured", at: 0 };
}

test("each bar begins where the one before ends, on the scale of the whole", () => {
  const shown = bars(trace({ silence: 200, firstToken: 100, playout: 100 }, 400));
  assert.equal(shown.length, STAGES.length);
  let end = 0;
  for (const { from, width } of shown) {
    assert.equal(from, end);
    end = from + width;
  }
  assert.equal(end, 1);
  assert.deepEqual(shown[0], { stage: "silence", ms: 200, from: 0, width: 0.5 });
});

test("stages that nobody measured have no width, and a turn without any has no bars", () => {
  const shown = bars(trace({}, null));
  assert.ok(shown.every(({ ms, width }) => ms === null && width === 0));
});

test("a reply is what was heard and the rest, no character cut in two", () => {
  const reply = (content: string, heardChars: number) =>
    ({ role: "assistant", content, heardChars }) as Message;
  assert.deepEqual(parts(reply("One two", 3)), { heard: "One", rest: " two" });
  assert.deepEqual(parts(reply("a😀b", 2)), { heard: "a😀", rest: "b" });
  assert.deepEqual(parts(reply("short", 99)), { heard: "short", rest: "" });
});

class Memory {
  kept: string | null = null;
  getItem(): string | null {
    return this.kept;
  }
  setItem(_key: string, value: string): void {
    this.kept = value;
  }
}

test("what was chosen is there on the next visit", () => {
  const store = new Memory();
  const settings = { ...initialState.settings, voice: "Ann", speed: 1.2 };
  save(store, { language: "zh", theme: "dark", settings });
  assert.deepEqual(load(store, ["en"]), { language: "zh", theme: "dark", settings });
});

test("rubbish in the store is as if nothing had been chosen", () => {
  const store = new Memory();
  for (const kept of [null, "", "{", "7", "null", '{"language":"xx","theme":3,"settings":[]}']) {
    store.kept = kept;
    const expected = { language: "en", theme: "auto", settings: initialState.settings };
    assert.deepEqual(load(store, ["en"]), expected);
  }
  store.kept = '{"settings":{"speed":"fast","voice":"Ann"}}';
  assert.deepEqual(load(store, []).settings, { ...initialState.settings, voice: "Ann" });
});

test("a store that is full or forbidden costs nothing but the memory", () => {
  const full = {
    getItem: () => {
      throw new Error("forbidden");
    },
    setItem: () => {
      throw new Error("full");
    },
  };
  save(full, load(full, ["en"]));
});
