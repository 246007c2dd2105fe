import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Store } from "../src/store.ts";
import { settle } from "./fakes.ts";

test("a subscriber is called at once, and once for all changes of one piece of work", async () => {
  const store = new Store({ a: 1, b: 1 });
  const heard: object[] = [];
  store.subscribe((value) => heard.push(value));
  store.set({ a: 2 });
  store.set({ b: 2 });
  await settle();
  assert.deepEqual(heard, [{ a: 1, b: 1 }, { a: 2, b: 2 }]);
});

test("values are replaced, not changed", () => {
  const store = new Store({ a: 1 });
  const before = store.value;
  store.set({ a: 2 });
  assert.deepEqual(before, { a: 1 });
  assert.ok(Object.isFrozen(store.value));
});

test("a change to the same value is none", async () => {
  const store = new Store({ a: 1 });
  let calls = 0;
  store.subscribe(() => (calls += 1));
  store.set({ a: 1 });
  await settle();
  assert.equal(calls, 1);
});

test("one subscriber's failure is reported and does not reach the others", async () => {
  const report = mock.method(console, "error", () => {});
  const store = new Store({ a: 1 });
  const heard: number[] = [];
  store.subscribe(() => {
    throw new Error("the page's own");
  });
  store.subscribe(({ a }) => heard.push(a));
  store.set({ a: 2 });
  await settle();
  assert.deepEqual(heard, [1, 2]);
  assert.equal(report.mock.callCount(), 2);
  report.mock.restore();
});

test("a subscriber that has left hears nothing more", async () => {
  const store = new Store({ a: 1 });
  let calls = 0;
  const leave = store.subscribe(() => (calls += 1));
  leave();
  store.set({ a: 2 });
  await settle();
  assert.equal(calls, 1);
});

test("the same function may subscribe twice", async () => {
  const store = new Store({ a: 1 });
  let calls = 0;
  const count = () => (calls += 1);
  const leave = store.subscribe(count);
  store.subscribe(count);
  leave();
  store.set({ a: 2 });
  await settle();
  assert.equal(calls, 3);
});
