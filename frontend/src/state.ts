// What a page can show of a conversation: one value, replaced on every change, never mutated.

import type { DecisionMessage, LatencyMetricsMessage } from "./wire.ts";

/** Whose turn it is: nobody's, the user's, the server's to think, the server's to speak. */
export type StreamState = "idle" | "listening" | "processing" | "speaking";

/**
 * The socket: `waiting` is the pause before the next attempt; `closed` is what `close()` leaves,
 * and a server that wants no more of this client (idle for too long, a page that it does not
 * know): the next start connects again.
 */
export type ConnectionState = "connecting" | "open" | "waiting" | "closed";

/** Who listens for speech in the browser: `none` leaves it all to the server. */
export type DetectorKind = "none" | "energy" | "silero";

export type PlaybackState = "idle" | "playing" | "ducked" | "paused";

export interface Message {
  /** Never reused, unlike `turnId`, which the server counts anew after a reconnect. */
  readonly id: number;
  readonly role: "user" | "assistant" | "info";
  readonly content: string;
  readonly turnId: number;
  /** No more text comes. */
  readonly final: boolean;
  /** Characters of `content` that have left the loudspeaker; for a user's message all of it. */
  readonly heardChars: number;
  /** `info` only. */
  readonly kind?: "connection" | "queue" | "tool" | "error" | "notice";
  /** The reply was cut off: what lies beyond `heardChars` was never heard. */
  readonly interrupted?: boolean;
  /** No sound will come of what lies beyond `heardChars`: it is there to be read. */
  readonly unspoken?: boolean;
  /** What an `info` message tells of, for pages that word it themselves. */
  readonly problem?: Problem;
  /** The tool call of an `info` message of kind `tool`. */
  readonly tool?: { readonly name: string; readonly args: Readonly<Record<string, unknown>> };
  /** Wall clock, ms, when the message was begun. */
  readonly at: number;
}

/** The original's five, in ms; null until measured. */
export interface Latency {
  readonly network: number | null;
  readonly asr: number | null;
  readonly llmFirstToken: number | null;
  readonly llmSentence: number | null;
  readonly ttsFirstChunk: number | null;
}

/**
 * The stages of a turn's waterfall, in their order; each begins where the one before ends.
 *
 * `silence` is what the detector waited for, `recognition` the end mark to the transcript,
 * `decision` the verdict on it (where the server tells it), then the agent's first token, the
 * rest of its first sentence, the first audio, the way over the network (both directions
 * together), and the wait in the browser until the first sample is audible.
 */
export const STAGES = [
  "silence",
  "recognition",
  "decision",
  "firstToken",
  "firstSentence",
  "firstAudio",
  "network",
  "playout",
] as const;

export type Stage = (typeof STAGES)[number];

/** One answered turn, from the true end of speech to the first audible sample. */
export interface LatencyTrace {
  readonly turnId: number;
  /** ms; null is a stage that nobody has measured (yet). */
  readonly stages: Readonly<Record<Stage, number | null>>;
  /** The sum in ms; null until the first sample was audible. */
  readonly total: number | null;
  /**
   * Whose end of speech it counts from: `measured` by the detector here, at the microphone, or
   * the `server`'s, to which a ping's round trip is added.
   */
  readonly source: "measured" | "server";
  /** Wall clock, ms, of the report. */
  readonly at: number;
}

export interface Quantiles {
  readonly p50: number;
  readonly p95: number;
  readonly count: number;
}

export type Decision = DecisionMessage["data"] & {
  /** Wall clock, ms. */
  readonly at: number;
};

/** One line of a log with its time (wall clock, ms). */
export interface LogEntry {
  readonly text: string;
  readonly at: number;
}

/** What went wrong, as a sentence for the user. */
export interface Problem {
  readonly code: ProblemCode;
  readonly message: string;
  /** The server's own words, where `message` is more than they. */
  readonly reason?: string;
  readonly at: number;
  /** It stands in nobody's way any more: the microphone works, another file was given. */
  readonly solved?: boolean;
}

/** For pages that word a problem themselves, or in another language. */
export type ProblemCode =
  | "insecure" // no microphone over plain HTTP from another machine
  | "microphone-denied"
  | "microphone-missing"
  | "microphone-failed"
  | "audio-failed"
  | "loudspeaker-failed" // the one that was chosen; the one before goes on
  | "connection-lost"
  | "connection-refused"
  | "session-ended" // by the server: idle for too long, or the time is up
  | "detector-failed" // silero could not be loaded; the energy detector does its work
  | "denoiser-failed"
  | "upload-failed" // refused by the server, in its words
  | "upload-unsent" // it did not come so far
  | "server"; // said by the server, in its words

export interface Settings {
  /** Device ids of the browser; "" is its own choice. */
  readonly inputDevice: string;
  readonly outputDevice: string;
  readonly voice: string;
  /** 0.5 to 1.5 */
  readonly speed: number;
  /** 0 to 1 */
  readonly volume: number;
}

export interface Device {
  readonly id: string;
  /** Empty until the user has allowed the microphone once. */
  readonly label: string;
  readonly kind: "input" | "output";
}

export interface State {
  // The original's fields, with their meanings; `loading` is also true in the queue.
  readonly queued: boolean;
  readonly queuePosition: number | null;
  readonly latency: Latency;
  readonly messages: readonly Message[];
  readonly streaming: boolean;
  readonly loading: boolean;
  readonly streamState: StreamState;
  readonly currentVoiceName: string | null;
  readonly currentVoicePath: string | null;
  readonly currentSessionId: string | null;
  readonly latestThought: string | null;
  readonly latestCaption: string | null;
  readonly latestRetrieval: string | null;
  readonly micMuted: boolean;
  readonly currentSpeakerId: string | null;

  readonly connection: ConnectionState;
  /** Of the next attempt while `connection` is `waiting`: its wall clock, ms. */
  readonly retryAt: number | null;
  /** Offset of the server's clock in ms (theirs less ours) and the round trip; null until known. */
  readonly clockOffset: number | null;
  readonly roundTrip: number | null;

  readonly detector: DetectorKind;
  readonly denoising: boolean;
  /** Loudness of the microphone, RMS from 0 to 1, some ten times a second. */
  readonly inputLevel: number;
  /** Speech of the user as this side hears it: a candidate, then confirmed. */
  readonly userSpeech: "none" | "candidate" | "confirmed";
  readonly playback: PlaybackState;
  readonly emotion: { readonly name: string; readonly vector: readonly number[] } | null;
  /** Models asked for in this session and not refused; "" is the server's choice. */
  readonly models: { readonly tts: string; readonly llm: string };

  /** Oldest first, the last 100 of each. */
  readonly traces: readonly LatencyTrace[];
  readonly decisions: readonly Decision[];
  readonly thoughts: readonly LogEntry[];
  readonly captions: readonly LogEntry[];
  readonly retrievals: readonly LogEntry[];
  readonly tools: readonly (LogEntry & {
    readonly name: string;
    readonly args: Readonly<Record<string, unknown>>;
  })[];
  readonly problems: readonly Problem[];

  readonly uploading: boolean;
  readonly devices: readonly Device[];
  readonly settings: Settings;
}

export const LOG_LENGTH = 100;

export const initialState: State = {
  queued: false,
  queuePosition: null,
  latency: {
    network: null,
    asr: null,
    llmFirstToken: null,
    llmSentence: null,
    ttsFirstChunk: null,
  },
  messages: [],
  streaming: false,
  loading: false,
  streamState: "idle",
  currentVoiceName: null,
  currentVoicePath: null,
  currentSessionId: null,
  latestThought: null,
  latestCaption: null,
  latestRetrieval: null,
  micMuted: false,
  currentSpeakerId: null,
  connection: "connecting",
  retryAt: null,
  clockOffset: null,
  roundTrip: null,
  detector: "none",
  denoising: false,
  inputLevel: 0,
  userSpeech: "none",
  playback: "idle",
  emotion: null,
  models: { tts: "", llm: "" },
  traces: [],
  decisions: [],
  thoughts: [],
  captions: [],
  retrievals: [],
  tools: [],
  problems: [],
  uploading: false,
  devices: [],
  settings: { inputDevice: "", outputDevice: "", voice: "", speed: 1, volume: 1 },
};

/** The log with one more entry, the oldest dropped. */
export function appended<T>(log: readonly T[], entry: T): readonly T[] {
  return [...log.slice(1 - LOG_LENGTH), entry];
}

/** The median and the 95th percentile of one stage, or of the whole, over these turns. */
export function quantiles(
  traces: readonly LatencyTrace[],
  of: Stage | "total",
): Quantiles | null {
  const values = traces
    .map((trace) => (of === "total" ? trace.total : trace.stages[of]))
    .filter((value) => value !== null)
    .sort((a, b) => a - b);
  if (values.length === 0) return null;
  const at = (share: number) => values[Math.ceil(share * values.length) - 1] as number;
  return { p50: at(0.5), p95: at(0.95), count: values.length };
}

/** A turn's stages from what the server tells; `network` and `playout` are this side's to fill. */
export function serverStages(data: LatencyMetricsMessage["data"]): LatencyTrace["stages"] {
  return {
    silence: data.silence_ms ?? null,
    recognition: Math.max(0, data.asr_latency_ms - (data.decision_ms ?? 0)),
    decision: data.decision_ms ?? null,
    firstToken: data.llm_first_token_ms,
    firstSentence: Math.max(0, data.llm_sentence_ms - data.llm_first_token_ms),
    firstAudio: data.tts_first_chunk_ms,
    network: null,
    playout: null,
  };
}
