// A denoiser in front of the detector: any streaming ONNX model of the usual form.

import { FRAME_SAMPLES } from "./capture.ts";
import { loadOrt, type Ort, type OrtSession, type OrtTensor } from "./runtime.ts";

/** The frame without its noise, or the frame itself; the same number of samples. */
export interface Denoiser {
  denoise(frame: Float32Array): Promise<Float32Array>;
  reset(): void;
  close(): void;
}

/** `assets` holds the runtime, `model` is the address of the ONNX file. */
export async function loadDenoiser(assets: string, model: string): Promise<Denoiser> {
  const ort = await loadOrt(assets);
  return new OnnxDenoiser(ort, await ort.InferenceSession.create(model));
}

/**
 * The first input is the audio, [1, 512] at 16 kHz, and the first output the same without noise;
 * every further input is a state of fixed shape, zero at first, and the output at its place is
 * that state for the next frame.
 */
export class OnnxDenoiser implements Denoiser {
  readonly #ort: Ort;
  readonly #session: OrtSession;
  #states: Record<string, OrtTensor> = {};

  /** An Error says what of the model does not fit. */
  constructor(ort: Ort, session: OrtSession) {
    const { inputNames, outputNames } = session;
    if (inputNames.length !== outputNames.length) {
      throw new Error(
        `the denoiser should give back every state: it takes ${inputNames.join(", ")}` +
          ` and gives ${outputNames.join(", ")}`,
      );
    }
    this.#ort = ort;
    this.#session = session;
    this.reset();
  }

  async denoise(frame: Float32Array): Promise<Float32Array> {
    const { inputNames, outputNames } = this.#session;
    const audio = new this.#ort.Tensor("float32", frame, [1, frame.length]);
    const given = await this.#session.run({ [inputNames[0] as string]: audio, ...this.#states });
    for (const [i, name] of inputNames.entries()) {
      if (i > 0) this.#states[name] = given[outputNames[i] as string] as OrtTensor;
    }
    const clean = given[outputNames[0] as string]?.data;
    if (!(clean instanceof Float32Array) || clean.length !== FRAME_SAMPLES) {
      throw new Error(`the denoiser should give back ${FRAME_SAMPLES} samples`);
    }
    return clean;
  }

  reset(): void {
    const { inputNames, inputMetadata } = this.#session;
    const states = inputNames.slice(1).map((name, i) => {
      const shape = (inputMetadata[i + 1]?.shape ?? []).map((size) =>
        typeof size === "number" && size > 0 ? size : 1,
      );
      const size = shape.reduce((product, each) => product * each, 1);
      return [name, new this.#ort.Tensor("float32", new Float32Array(size), shape)] as const;
    });
    this.#states = Object.fromEntries(states);
  }

  close(): void {
    void this.#session.release();
  }
}
