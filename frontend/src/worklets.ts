// What runs on the audio thread. Each function is sent there as text: it sees nothing outside.

// The globals of an AudioWorkletGlobalScope, as far as they are used.
declare const sampleRate: number;
declare const currentFrame: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: unknown): void;

export type PlayerCommand =
  | { type: "play"; samples: Float32Array; index: number; reply: number }
  | { type: "stop" }
  | { type: "pause" }
  | { type: "resume" }
  | { type: "gain"; value: number; seconds: number }
  | { type: "end" };

/** `time` is the context's, in seconds, to the sample. */
export type PlayerEvent =
  /** The first sample of a chunk. */
  | { type: "began"; index: number; reply: number; time: number }
  /** Behind the last sample of a chunk. */
  | { type: "played"; index: number; reply: number; time: number }
  /** Nothing is left to play. */
  | { type: "dry"; reply: number; time: number }
  | { type: "paused"; time: number };

/** Some 10 ms of the microphone's first channel at the context's rate. */
export type CaptureEvent = Float32Array<ArrayBuffer>;

/**
 * Plays chunks without a gap between them, in the order they came.
 *
 * A pause holds at a sample and the same sample is the next after it. So that neither is a click,
 * the sound dies away within 3 ms after a halt and comes back within 3 ms.
 */
export function playerWorklet(): void {
  const FADE_SECONDS = 0.003;
  const DECAY = Math.exp(-4 / (FADE_SECONDS * sampleRate));

  class Player extends AudioWorkletProcessor {
    chunks: { samples: Float32Array; index: number; reply: number }[] = [];
    offset = 0;
    paused = false;
    ended = false;
    gain = 1;
    target = 1;
    step = 0;
    resumeStep = 1 / (FADE_SECONDS * sampleRate);
    fade = 1; // back in after a pause
    last = 0;
    // Its own count of frames: Chromium forgets to advance `currentFrame` while the page's thread
    // holds the lock of the graph, and makes up for it later.
    frame = 0;
    next = 0;

    constructor() {
      super();
      this.port.onmessage = ({ data }: MessageEvent<PlayerCommand>) => this.obey(data);
    }

    obey(command: PlayerCommand): void {
      if (command.type === "play") this.chunks.push(command);
      else if (command.type === "stop") this.halt();
      else if (command.type === "pause") this.pause();
      else if (command.type === "resume") this.resume();
      else if (command.type === "gain") this.ramp(command.value, command.seconds);
      else this.ended = true;
    }

    halt(): void {
      this.chunks = [];
      this.offset = 0;
      this.paused = false;
      this.fade = this.gain = this.target = 1;
    }

    pause(): void {
      if (this.paused) return;
      this.paused = true;
      this.tell({ type: "paused", time: this.next / sampleRate });
    }

    resume(): void {
      if (this.paused && this.offset > 0) this.fade = 0;
      this.paused = false;
    }

    ramp(value: number, seconds: number): void {
      this.target = value;
      this.step = (value - this.gain) / Math.max(1, seconds * sampleRate);
    }

    tell(event: PlayerEvent): void {
      this.port.postMessage(event);
    }

    process(_inputs: unknown, outputs: Float32Array[][]): boolean {
      const channels = outputs[0] ?? [];
      const out = channels[0];
      if (out) {
        this.frame = Math.max(this.next, currentFrame);
        this.next = this.frame + out.length;
        this.decay(out, this.paused ? 0 : this.fill(out));
        for (const other of channels.slice(1)) other.set(out);
      }
      return !this.ended;
    }

    /** How many samples there were to play. */
    fill(out: Float32Array): number {
      let done = 0;
      for (let chunk = this.chunks[0]; chunk && done < out.length; chunk = this.chunks[0]) {
        const { samples, index, reply } = chunk;
        if (this.offset === 0) this.tell({ type: "began", index, reply, time: this.at(done) });
        const count = Math.min(out.length - done, samples.length - this.offset);
        for (let i = 0; i < count; i++) {
          out[done + i] = (samples[this.offset + i] as number) * this.level();
        }
        done += count;
        this.offset += count;
        if (this.offset < samples.length) break;
        this.offset = 0;
        this.chunks.shift();
        this.tell({ type: "played", index, reply, time: this.at(done) });
        if (!this.chunks.length) this.tell({ type: "dry", reply, time: this.at(done) });
      }
      if (done) this.last = out[done - 1] as number;
      return done;
    }

    at(done: number): number {
      return (this.frame + done) / sampleRate;
    }

    level(): number {
      if (this.gain !== this.target) {
        this.gain += this.step;
        if (this.step === 0 || (this.target - this.gain) / this.step <= 0) this.gain = this.target;
      }
      if (this.fade < 1) this.fade = Math.min(1, this.fade + this.resumeStep);
      return this.gain * this.fade;
    }

    decay(out: Float32Array, from: number): void {
      for (let i = from; i < out.length; i++) {
        this.last *= DECAY;
        if (Math.abs(this.last) < 1e-5) this.last = 0;
        out[i] = this.last;
      }
    }
  }

  registerProcessor("xtalk-player", Player);
}

/** Hands on what the microphone gives, in pieces that do not crowd the port. */
export function captureWorklet(): void {
  const PIECE = 4 * 128;

  class Capture extends AudioWorkletProcessor {
    piece = new Float32Array(PIECE);
    filled = 0;
    ended = false;

    constructor() {
      super();
      this.port.onmessage = () => {
        this.ended = true;
      };
    }

    process(inputs: Float32Array[][]): boolean {
      const samples = inputs[0]?.[0];
      if (samples) this.add(samples);
      return !this.ended;
    }

    add(samples: Float32Array): void {
      let rest = samples;
      while (rest.length) {
        const part = rest.subarray(0, PIECE - this.filled);
        this.piece.set(part, this.filled);
        this.filled += part.length;
        rest = rest.subarray(part.length);
        if (this.filled === PIECE) this.hand();
      }
    }

    hand(): void {
      this.port.postMessage(this.piece, [this.piece.buffer]);
      this.piece = new Float32Array(PIECE);
      this.filled = 0;
    }
  }

  registerProcessor("xtalk-capture", Capture);
}

/** Both worklets as the text of one script. */
export function workletSource(): string {
  return `(${playerWorklet})();\n(${captureWorklet})();\n`;
}
