import assert from "node:assert/strict";
import { test } from "node:test";

import { Transcript } from "../src/transcript.ts";

function setUp() {
  const transcript = new Transcript(() => 5);
  const shown = () => transcript.messages.map(({ role, content }) => `${role}: ${content}`);
  const last = () => transcript.messages.at(-1);
  return { transcript, shown, last };
}

test("later text of the same turn replaces the earlier", () => {
  const { transcript, shown } = setUp();
  transcript.user("what", 1, false);
  transcript.user("what time", 1, true);
  transcript.assistant("It", 1, false);
  transcript.assistant("It is ten.", 1, true);
  assert.deepEqual(shown(), ["user: what time", "assistant: It is ten."]);
});

test("the user's words stand above the answer even when they come after it", () => {
  const { transcript, shown } = setUp();
  transcript.assistant("Ten.", 1, false);
  transcript.user("what time", 1, true);
  assert.deepEqual(shown(), ["user: what time", "assistant: Ten."]);
});

test("a rejected utterance goes, an accepted one stays", () => {
  const { transcript, shown } = setUp();
  transcript.user("hello", 1, true);
  transcript.dismiss();
  transcript.user("hm", 2, false);
  transcript.dismiss();
  transcript.dismiss();
  assert.deepEqual(shown(), ["user: hello"]);
});

test("heard words only grow, and never beyond the text", () => {
  const { transcript, last } = setUp();
  transcript.assistant("one two three", 1, false);
  transcript.heard(1, 7);
  transcript.heard(1, 3);
  assert.equal(last()?.heardChars, 7);
  transcript.heard(1, 99);
  assert.equal(last()?.heardChars, 13);
});

test("heard characters are code points, shown ones JavaScript's", () => {
  const { transcript, last } = setUp();
  transcript.assistant("😀 yes, 好的", 1, true);
  transcript.heard(1, 2);
  assert.equal(last()?.content.slice(0, last()?.heardChars), "😀 ");
});

test("a reply of which no more will sound is no longer still to come, and not cut off either", () => {
  const { transcript, last } = setUp();
  transcript.assistant("One. Two.", 1, true);
  transcript.heard(1, 4);
  transcript.silent(1);
  transcript.assistant("Next.", 2, true);
  const [first] = transcript.messages;
  assert.deepEqual([first?.unspoken, first?.interrupted, first?.heardChars], [true, undefined, 4]);
  transcript.cutOff(3);
  transcript.silent(2);
  assert.deepEqual([last()?.unspoken, last()?.interrupted], [undefined, true]);
});

test("what is no word does not go unspoken", () => {
  const { transcript, last } = setUp();
  transcript.assistant("好的。 😀", 1, true);
  transcript.heard(1, 3);
  transcript.silent(1);
  assert.deepEqual([last()?.unspoken, last()?.heardChars], [undefined, "好的。 😀".length]);
});

test("a reply that sounds after all has nothing unspoken", () => {
  const { transcript, last } = setUp();
  transcript.assistant("Two.", 2, true);
  transcript.silent(2);
  transcript.goesOn(2);
  assert.equal(last()?.unspoken, undefined);
});

test("a reply that was shortened has been heard no further than it goes", () => {
  const { transcript, last } = setUp();
  transcript.assistant("one two three", 1, false);
  transcript.heard(1, 13);
  transcript.assistant("one two", 1, true);
  assert.equal(last()?.heardChars, 7);
});

test("what was cut off is marked, what was heard in full is not", () => {
  const { transcript } = setUp();
  transcript.assistant("first", 1, true);
  transcript.heard(1, Infinity);
  transcript.assistant("second", 2, true);
  transcript.heard(2, 3);
  transcript.assistant("third", 3, false);
  assert.deepEqual(transcript.messages.map(({ interrupted }) => interrupted ?? false), [
    false,
    true,
    false,
  ]);
});

test("a reply that goes on after all is not cut off", () => {
  const { transcript, last } = setUp();
  transcript.assistant("first", 1, true);
  transcript.cutOff(2);
  assert.equal(last()?.interrupted, true);
  transcript.goesOn(1);
  assert.equal(last()?.interrupted, undefined);
});

test("errors and notices each keep their line", () => {
  const { transcript, shown } = setUp();
  transcript.info("Error: one", "error");
  transcript.info("Error: two", "error");
  assert.deepEqual(shown(), ["info: Error: one", "info: Error: two"]);
});

test("a tool call stands above the reply that it is for", () => {
  const { transcript, shown } = setUp();
  transcript.assistant("Let me see.", 1, false);
  transcript.info("Tool call -> clock", "tool", { name: "clock", args: {} });
  transcript.assistant("Let me see. Ten.", 1, true);
  transcript.info("Tool call -> late", "tool", { name: "late", args: {} });
  assert.deepEqual(shown(), [
    "info: Tool call -> clock",
    "assistant: Let me see. Ten.",
    "info: Tool call -> late",
  ]);
});

test("another session counts anew and leaves the old messages alone", () => {
  const { transcript, shown } = setUp();
  transcript.user("old", 1, false);
  transcript.newSession();
  transcript.user("new", 1, false);
  transcript.dismiss();
  transcript.dismiss();
  assert.deepEqual(shown(), ["user: old"]);
  assert.equal(transcript.messages[0]?.final, true);
});

test("a refined transcript stands for all that the user has said", () => {
  const { transcript, shown } = setUp();
  transcript.refine("a");
  transcript.assistant("hm", 1, false);
  transcript.user("b", 2, false);
  transcript.refine("a, b");
  assert.deepEqual(shown(), ["assistant: hm", "user: a, b"]);
});

test("every message has an id of its own, which stays", () => {
  const { transcript } = setUp();
  transcript.user("a", 1, false);
  const id = transcript.messages[0]?.id;
  transcript.user("ab", 1, false);
  transcript.clear();
  transcript.user("c", 2, false);
  assert.notEqual(transcript.messages[0]?.id, id);
});
