// Node reads wire.ts as it is, its types left out, and the two rates are those of the protocol.
import assert from "node:assert/strict";
import { test } from "node:test";

import * as wire from "../src/wire.ts";

test("the microphone goes out at 16 kHz, the reply comes in at 48 kHz", () => {
  assert.deepEqual({ ...wire }, { SAMPLE_RATE_IN: 16000, SAMPLE_RATE_OUT: 48000 });
});
