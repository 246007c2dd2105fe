// PCM16 little-endian, as the wire carries it, to and from floating point.

/** Samples as PCM16; what lies outside -1 to 1 is clipped. */
export function encodePcm(samples: Float32Array): ArrayBuffer {
  const view = new DataView(new ArrayBuffer(2 * samples.length));
  samples.forEach((sample, i) => {
    const clipped = Math.max(-1, Math.min(1, sample));
    view.setInt16(2 * i, Math.round(clipped < 0 ? clipped * 0x8000 : clipped * 0x7fff), true);
  });
  return view.buffer as ArrayBuffer;
}

/**
 * Decodes a stream of PCM16 whatever its pieces: where one ends in the middle of a sample, the
 * other half is the first byte of the next.
 */
export class PcmDecoder {
  #half: number | null = null;

  decode(piece: ArrayBuffer): Float32Array<ArrayBuffer> {
    let bytes = new Uint8Array(piece);
    if (this.#half !== null) bytes = Uint8Array.of(this.#half, ...bytes);
    const whole = bytes.length >> 1;
    this.#half = bytes.length % 2 ? (bytes[bytes.length - 1] as number) : null;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    return Float32Array.from({ length: whole }, (_, i) => view.getInt16(2 * i, true) / 0x8000);
  }

  /** Another stream begins. */
  reset(): void {
    this.#half = null;
  }
}

/** Root mean square, 0 to 1. */
export function loudness(samples: Float32Array): number {
  if (samples.length === 0) return 0;
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}
