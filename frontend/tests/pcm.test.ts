import assert from "node:assert/strict";
import { test } from "node:test";

import { encodePcm, loudness, PcmDecoder } from "../src/pcm.ts";

function bytes(...values: number[]): ArrayBuffer {
  return Uint8Array.from(values).buffer;
}

test("PCM is little-endian, negative samples by 32768 and positive ones by 32767", () => {
  const encoded = new Uint8Array(encodePcm(Float32Array.of(0, 1, -1, 0.5)));
  assert.deepEqual([...encoded], [0, 0, 0xff, 0x7f, 0x00, 0x80, 0x00, 0x40]);
});

test("samples beyond full scale are clipped", () => {
  assert.deepEqual(
    new Uint8Array(encodePcm(Float32Array.of(3, -3))),
    new Uint8Array(encodePcm(Float32Array.of(1, -1))),
  );
});

test("decoding gives -1 to 1", () => {
  const decoded = new PcmDecoder().decode(bytes(0x00, 0x80, 0x00, 0x40));
  assert.deepEqual([...decoded], [-1, 0.5]);
});

test("a piece that ends within a sample is completed by the next", () => {
  const decoder = new PcmDecoder();
  assert.deepEqual([...decoder.decode(bytes(0x00, 0x40, 0x00))], [0.5]);
  assert.deepEqual([...decoder.decode(bytes(0x80, 0x00, 0x40))], [-1, 0.5]);
});

test("half a sample does not reach into another stream", () => {
  const decoder = new PcmDecoder();
  decoder.decode(bytes(0x00));
  decoder.reset();
  assert.deepEqual([...decoder.decode(bytes(0x00, 0x40))], [0.5]);
});

test("empty and one-byte pieces are no error", () => {
  const decoder = new PcmDecoder();
  assert.equal(decoder.decode(bytes()).length, 0);
  assert.equal(decoder.decode(bytes(0x00)).length, 0);
  assert.deepEqual([...decoder.decode(bytes(0x40))], [0.5]);
});

test("loudness is the root mean square, and of nothing 0", () => {
  assert.equal(loudness(Float32Array.of(0.5, -0.5)), 0.5);
  assert.equal(loudness(new Float32Array(0)), 0);
});
