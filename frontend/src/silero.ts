// Silero's voice-activity detector in the browser: its model, and vad-web's frame processor.

import { FRAME_MS, FRAME_SAMPLES } from "./capture.ts";
import {
  type FrameProcessor,
  type FrameProcessorOptions,
  loadOrt,
  loadVad,
  type Ort,
  type OrtSession,
  type Vad,
} from "./runtime.ts";
import { type Detected, type Detector, type DetectorEvent, END_SILENCE_MS } from "./vad.ts";
import { SAMPLE_RATE_IN } from "./wire.ts";

const MODEL = "silero_vad_v5.onnx";
const CONTEXT_SAMPLES = 64; // of the frame before, which the model wants in front
const STATE = [2, 1, 128];

const IN_SILENCE: FrameProcessorOptions = {
  positiveSpeechThreshold: 0.5,
  negativeSpeechThreshold: 0.35,
  redemptionMs: END_SILENCE_MS,
  preSpeechPadMs: 0, // all frames are sent anyway
  minSpeechMs: 3 * FRAME_MS,
  submitUserSpeechOnPause: false,
};
const OVER_PLAYBACK: FrameProcessorOptions = {
  ...IN_SILENCE,
  positiveSpeechThreshold: 0.8,
  negativeSpeechThreshold: 0.5,
  minSpeechMs: 7 * FRAME_MS,
};

const EVENTS: Record<string, DetectorEvent> = {
  SPEECH_START: "candidate",
  SPEECH_REAL_START: "start",
  SPEECH_END: "end",
  VAD_MISFIRE: "misfire",
};

const NOTHING = new Float32Array(0);

/** Rejects when a file is missing in `assets` or the model cannot be run. */
export async function loadSilero(assets: string): Promise<Detector> {
  const ort = await loadOrt(assets);
  const vad = await loadVad(assets);
  const session = await ort.InferenceSession.create(`${assets}${MODEL}`);
  return new SileroDetector(new SileroModel(ort, session), vad);
}

/** The probability of speech, frame by frame. */
export class SileroModel {
  readonly #ort: Ort;
  readonly #session: OrtSession;
  readonly #input = new Float32Array(CONTEXT_SAMPLES + FRAME_SAMPLES);
  #state = new Float32Array(256);

  constructor(ort: Ort, session: OrtSession) {
    this.#ort = ort;
    this.#session = session;
  }

  async probability(frame: Float32Array): Promise<number> {
    const { Tensor } = this.#ort;
    this.#input.copyWithin(0, FRAME_SAMPLES);
    this.#input.set(frame, CONTEXT_SAMPLES);
    const { output, stateN } = await this.#session.run({
      input: new Tensor("float32", this.#input, [1, this.#input.length]),
      state: new Tensor("float32", this.#state, STATE),
      sr: new Tensor("int64", BigInt64Array.of(BigInt(SAMPLE_RATE_IN)), []),
    });
    this.#state = stateN?.data as Float32Array<ArrayBuffer>;
    return (output?.data as Float32Array)[0] as number;
  }

  reset(): void {
    this.#input.fill(0);
    this.#state = new Float32Array(256);
  }

  close(): void {
    void this.#session.release();
  }
}

export class SileroDetector implements Detector {
  readonly kind = "silero";
  readonly #model: Pick<SileroModel, "probability" | "reset" | "close">;
  readonly #processor: FrameProcessor;
  #frame: Float32Array = NOTHING;
  #probability = 0;
  #started = false;
  #playing = false;

  constructor(model: Pick<SileroModel, "probability" | "reset" | "close">, vad: Vad) {
    this.#model = model;
    this.#processor = new vad.FrameProcessor(
      () => this.#judge(),
      () => model.reset(),
      IN_SILENCE,
      FRAME_MS,
    );
    this.#processor.resume();
  }

  async accept(frame: Float32Array, playing: boolean): Promise<Detected> {
    this.#suit(playing);
    this.#frame = frame;
    const events: DetectorEvent[] = [];
    // The processor would keep all frames of a segment, which nobody wants: it gets empty ones.
    await this.#processor.process(NOTHING, ({ msg }) => {
      const event = EVENTS[msg];
      if (event) events.push(this.#paired(event));
    });
    return { events, voiced: this.#probability >= IN_SILENCE.positiveSpeechThreshold };
  }

  reset(): void {
    this.#started = false;
    this.#processor.reset();
  }

  close(): void {
    this.#model.close();
  }

  async #judge(): Promise<{ isSpeech: number; notSpeech: number }> {
    this.#probability = await this.#model.probability(this.#frame);
    return { isSpeech: this.#probability, notSpeech: 1 - this.#probability };
  }

  /** Other thresholds while the loudspeaker is on, but not in the middle of a segment. */
  #suit(playing: boolean): void {
    if (playing === this.#playing || this.#processor.speaking) return;
    this.#playing = playing;
    this.#processor.setOptions(playing ? OVER_PLAYBACK : IN_SILENCE);
  }

  /** No end without a start. */
  #paired(event: DetectorEvent): DetectorEvent {
    const ended = event === "end" && !this.#started ? "misfire" : event;
    this.#started = event === "start" || (event === "candidate" ? false : this.#started);
    return ended;
  }
}
