// onnxruntime-web and vad-web from local static files, loaded when first asked for.

/** What is used of onnxruntime-web. */
export interface Ort {
  readonly env: { readonly wasm: { wasmPaths?: unknown; numThreads?: number } };
  readonly Tensor: new (
    type: "float32" | "int64",
    data: Float32Array | BigInt64Array,
    dims: readonly number[],
  ) => OrtTensor;
  readonly InferenceSession: {
    create(model: string | Uint8Array, options?: object): Promise<OrtSession>;
  };
}

export interface OrtTensor {
  readonly data: unknown;
  readonly dims: readonly number[];
}

export interface OrtSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly { type?: string; shape?: readonly (number | string)[] }[];
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}

/** What is used of vad-web: its frame processor, which turns probabilities into events. */
export interface Vad {
  readonly FrameProcessor: new (
    probability: (frame: Float32Array) => Promise<{ isSpeech: number; notSpeech: number }>,
    reset: () => void,
    options: FrameProcessorOptions,
    msPerFrame: number,
  ) => FrameProcessor;
}

export interface FrameProcessorOptions {
  positiveSpeechThreshold: number;
  negativeSpeechThreshold: number;
  redemptionMs: number;
  preSpeechPadMs: number;
  minSpeechMs: number;
  submitUserSpeechOnPause: boolean;
}

export interface FrameProcessor {
  readonly speaking: boolean;
  setOptions(update: Partial<FrameProcessorOptions>): void;
  reset(): void;
  resume(): void;
  process(frame: Float32Array, handle: (event: { msg: string }) => void): Promise<void>;
}

/** The files of `assets`, which ends with a slash; rejects when one is missing. */
export async function loadOrt(assets: string): Promise<Ort> {
  const ort = await global<Ort>("ort", `${assets}ort.wasm.min.js`);
  ort.env.wasm.wasmPaths = assets;
  ort.env.wasm.numThreads = 1; // threads need headers of isolation, and a frame takes 1 ms
  return ort;
}

export async function loadVad(assets: string): Promise<Vad> {
  await loadOrt(assets); // it looks for it
  return global<Vad>("vad", `${assets}bundle.min.js`);
}

/** The value that a plain script leaves behind; the script is not loaded twice. */
async function global<T>(name: string, url: string): Promise<T> {
  const found = () => (globalThis as Record<string, unknown>)[name] as T | undefined;
  if (!found()) await script(url);
  const value = found();
  if (!value) throw new Error(`${url} should define "${name}", and did not`);
  return value;
}

function script(url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = url;
    element.onload = () => resolve();
    element.onerror = () => reject(new Error(`${url} could not be loaded`));
    document.head.append(element);
  });
}
