import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { loadOrt, loadVad } from "../src/runtime.ts";

const page = globalThis as Record<string, unknown>;

/** A document whose scripts do this when they are added to it. */
function browser(run: (src: string) => "load" | "error"): string[] {
  const added: string[] = [];
  page.document = {
    createElement: () => ({ src: "", onload() {}, onerror() {} }),
    head: {
      append(element: { src: string; onload(): void; onerror(): void }) {
        added.push(element.src);
        if (run(element.src) === "load") element.onload();
        else element.onerror();
      },
    },
  };
  return added;
}

afterEach(() => {
  for (const name of ["document", "ort", "vad"]) Reflect.deleteProperty(page, name);
});

test("the runtime comes from the given folder alone, on one thread", async () => {
  const ort = { env: { wasm: {} as Record<string, unknown> } };
  const added = browser(() => {
    page.ort = ort;
    return "load";
  });
  assert.equal(await loadOrt("/static/vad/"), ort);
  assert.deepEqual(added, ["/static/vad/ort.wasm.min.js"]);
  assert.deepEqual(ort.env.wasm, { wasmPaths: "/static/vad/", numThreads: 1 });
});

test("a script is loaded once, and the runtime before vad-web", async () => {
  const added = browser((src) => {
    if (src.endsWith("bundle.min.js")) page.vad = {};
    else page.ort = { env: { wasm: {} } };
    return "load";
  });
  await loadVad("/v/");
  await loadVad("/v/");
  assert.deepEqual(added, ["/v/ort.wasm.min.js", "/v/bundle.min.js"]);
});

test("a missing file is an error that names it", async () => {
  browser(() => "error");
  await assert.rejects(loadOrt("/v/"), /\/v\/ort\.wasm\.min\.js could not be loaded/);
});

test("a file that is something else is an error too", async () => {
  browser(() => "load");
  await assert.rejects(loadOrt("/v/"), /should define "ort", and did not/);
});
