// A stream of samples at another rate, without a seam between its pieces.

const ZERO_CROSSINGS = 16;
const STEPS = 512; // of the kernel's table, between two zero crossings
const KAISER_BETA = 8.6; // about 85 dB of stopband

/**
 * Band-limited interpolation with a Kaiser-windowed sinc (J. O. Smith, "Digital Audio Resampling").
 *
 * After `flush` the pieces together are `ceil(n * to / from)` samples, the first at the time of
 * the first that went in. Until then the last half millisecond or so is held back.
 */
export class Resampler {
  readonly #from: number;
  readonly #to: number;
  readonly #cutoff: number;
  readonly #reach: number; // of the kernel, in input samples to either side
  #held: Float32Array;
  #first: number; // index in the stream of the first sample held
  #taken = 0;
  #given = 0;

  constructor(from: number, to: number) {
    this.#from = from;
    this.#to = to;
    this.#cutoff = Math.min(1, to / from) * (from === to ? 1 : 0.95);
    this.#reach = Math.ceil(ZERO_CROSSINGS / this.#cutoff);
    this.#held = new Float32Array(this.#reach);
    this.#first = -this.#reach;
  }

  push(samples: Float32Array): Float32Array<ArrayBuffer> {
    if (this.#from === this.#to) return Float32Array.from(samples);
    this.#hold(samples);
    this.#taken += samples.length;
    return this.#give(Math.floor(((this.#taken - this.#reach) * this.#to) / this.#from));
  }

  /** What was held back; afterwards another stream begins. */
  flush(): Float32Array<ArrayBuffer> {
    if (this.#from === this.#to) return new Float32Array(0);
    this.#hold(new Float32Array(2 * this.#reach));
    const rest = this.#give(Math.ceil((this.#taken * this.#to) / this.#from));
    this.reset();
    return rest;
  }

  reset(): void {
    this.#held = new Float32Array(this.#reach);
    this.#first = -this.#reach;
    this.#taken = 0;
    this.#given = 0;
  }

  #hold(samples: Float32Array): void {
    const next = Math.floor((this.#given * this.#from) / this.#to) - this.#reach;
    const kept = this.#held.subarray(Math.max(0, next - this.#first));
    this.#first += this.#held.length - kept.length;
    this.#held = new Float32Array(kept.length + samples.length);
    this.#held.set(kept);
    this.#held.set(samples, kept.length);
  }

  #give(until: number): Float32Array<ArrayBuffer> {
    const out = new Float32Array(Math.max(0, until - this.#given));
    for (let i = 0; i < out.length; i++) {
      out[i] = this.#at(((this.#given + i) * this.#from) / this.#to);
    }
    this.#given += out.length;
    return out;
  }

  #at(position: number): number {
    const start = Math.ceil(position - this.#reach);
    const end = Math.floor(position + this.#reach);
    let sum = 0;
    for (let i = start; i <= end; i++) {
      sum += (this.#held[i - this.#first] ?? 0) * kernel(Math.abs(i - position) * this.#cutoff);
    }
    return sum * this.#cutoff;
  }
}

function kernel(x: number): number {
  const at = x * STEPS;
  const i = Math.floor(at);
  if (i >= table.length - 1) return 0;
  const low = table[i] as number;
  return low + (at - i) * ((table[i + 1] as number) - low);
}

const table = Float64Array.from({ length: ZERO_CROSSINGS * STEPS + 1 }, (_, i) => {
  const x = i / STEPS;
  const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
  const edge = x / ZERO_CROSSINGS;
  return (sinc * bessel(KAISER_BETA * Math.sqrt(1 - edge * edge))) / bessel(KAISER_BETA);
});

/** The modified Bessel function of the first kind, order zero, by its series. */
function bessel(x: number): number {
  let sum = 1;
  for (let k = 1, term = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
