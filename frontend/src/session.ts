// What the server says, made visible in the state and audible in the playback.

import type { Clock } from "./clock.ts";
import { PcmDecoder } from "./pcm.ts";
import type { Playback, PlaybackListener } from "./playback.ts";
import { appended, initialState, type LatencyTrace, type PlaybackState } from "./state.ts";
import type { LogEntry, Message, Problem, ProblemCode, Settings, State } from "./state.ts";
import type { StreamState } from "./state.ts";
import type { Store } from "./store.ts";
import { Transcript } from "./transcript.ts";
import { Waterfall } from "./waterfall.ts";
import {
  type ClientMessage,
  type ErrorMessage,
  type LatencyMetricsMessage,
  SAMPLE_RATE_OUT,
  type ServerMessage,
  type SessionInfoMessage,
  type ToolCalledMessage,
  type TtsChunkMetaMessage,
} from "./wire.ts";

type Handlers = {
  [A in ServerMessage["action"]]?: (message: Extract<ServerMessage, { action: A }>) => void;
};

/** A chunk that was received: whose reply it is of, and how much of its text it ends. */
interface Chunk {
  readonly turnId: number;
  readonly textEnd: number | undefined;
}

/** What is asked of the server, and kept for its next session. */
type Wish = "voice" | "speed";

export interface SessionOptions {
  readonly simGen: boolean;
  readonly pureFrontend: boolean;
  readonly ttsSampleRate: number | undefined;
  send(message: ClientMessage): void;
  /** The server has begun a session for this client. */
  admitted(): void;
  /** Samples that begin to sound, and their rate. */
  sounds(samples: Float32Array, rate: number): void;
}

/** The sessions of one conversation, one after the other. */
export class Session implements PlaybackListener {
  /** null while the loudspeaker is off: text still comes. */
  playback: Playback | null = null;
  readonly waterfall = new Waterfall();
  readonly transcript: Transcript;
  readonly #store: Store<State>;
  readonly #clock: Clock;
  readonly #options: SessionOptions;
  readonly #decoder = new PcmDecoder();
  readonly #chunks = new Map<number, Chunk>();
  #rate: number;
  #meta: TtsChunkMetaMessage["data"] | null = null;
  #replying = 0; // the turn whose text came last
  #sounding = 0; // the turn whose audio is not over
  #aligned = false; // its chunks tell how much of its text they say
  #awaited = 0; // the turn that was accepted and has no reply yet
  #expected = 0; // the turn that no words of the user were for
  #before = Infinity; // the turn whose text had come last when the awaited one was accepted
  #traced = 0; // the turn of the last trace
  // Asked for, in this order: the server tells only of one that cannot be had, and not of which.
  readonly #models: (readonly [keyof State["models"], string])[] = [];
  #speed = 1; // that the server has confirmed
  // On their way, in their order, which is that of the answers.
  readonly #wishes: { readonly [W in Wish]: Settings[W][] } = { voice: [], speed: [] };

  constructor(store: Store<State>, clock: Clock, options: SessionOptions) {
    this.#store = store;
    this.#clock = clock;
    this.#options = options;
    this.transcript = new Transcript(() => clock.wall());
    this.#rate = options.ttsSampleRate ?? SAMPLE_RATE_OUT;
  }

  receive(message: ServerMessage): void {
    const handle = this.#handlers[message.action] as ((message: ServerMessage) => void) | undefined;
    handle?.(message);
    this.#show();
  }

  /** A piece of the reply, PCM16. */
  audio(piece: ArrayBuffer): void {
    const { chunk_index: index, text_end: textEnd } = this.#meta ?? { chunk_index: 0 };
    this.#meta = null;
    const samples = this.#decoder.decode(piece);
    if (!this.playback || samples.length === 0) return;
    this.#sounding = this.#replying;
    this.#chunks.set(index, { turnId: this.#sounding, textEnd });
    this.waterfall.arrived(this.#sounding, this.#clock.now());
    this.playback.play(index, samples, this.#rate);
  }

  /** The connection is gone, and with it all that the session had still to bring. */
  lost(): void {
    this.playback?.abandon();
    this.#chunks.clear();
    this.#meta = null;
    this.#sounding = this.#replying = this.#awaited = this.#expected = this.#traced = 0;
    for (const wishes of Object.values(this.#wishes)) wishes.length = 0;
    this.#models.length = 0;
    this.#showModels();
    this.waterfall.reset();
    this.transcript.newSession();
    this.turn("idle");
    this.#show();
  }

  /** The loudspeaker is off: what has not been heard by now never will be. */
  silence(): void {
    this.playback = null;
    this.#decoder.reset();
    this.#chunks.clear();
    this.#meta = null;
    this.#sounding = this.#awaited = 0;
    this.transcript.cutOff(Infinity);
    this.#show();
  }

  /** An answer will come that no words of the user are for. */
  expect(): void {
    if (this.#awaited) return;
    this.#awaited = this.#expected = this.#replying + 1;
    this.#before = Infinity;
    if (this.#store.value.streamState === "idle") this.turn("processing");
  }

  /** It will not come. */
  expectNothing(): void {
    if (this.#awaited === this.#expected) this.#awaited = this.#expected = 0;
    if (this.#store.value.streamState === "processing") this.#turnBack();
  }

  turn(streamState: StreamState): void {
    this.#store.set({ streamState });
  }

  /** What went wrong, and a line that tells it: the message, or other words for it. */
  problem(
    problem: Omit<Problem, "at">,
    kind: NonNullable<Message["kind"]> = "error",
    line = problem.message,
  ): void {
    const entry = { ...problem, at: this.#clock.wall() };
    this.#store.set({ problems: appended(this.#store.value.problems, entry) });
    this.transcript.problem(line, kind, entry);
    this.#show();
  }

  solved(...codes: readonly ProblemCode[]): void {
    const problems = this.#store.value.problems.map((problem) =>
      codes.includes(problem.code) ? { ...problem, solved: true } : problem,
    );
    this.#store.set({ problems });
  }

  keep(change: Partial<Settings>): void {
    this.#store.set({ settings: { ...this.#store.value.settings, ...change } });
  }

  /** It was sent: whatever comes of an earlier one does not undo it. */
  wished<W extends Wish>(what: W, value: Settings[W]): void {
    this.#wishes[what].push(value);
  }

  /** The server was asked for this model, for the rest of the session. */
  model(slot: keyof State["models"], name: string): void {
    this.#models.push([slot, name]);
    this.#showModels();
  }

  clear(): void {
    this.transcript.clear();
    this.#show();
  }

  // --- what the user hears --------------------------------------------------------------------

  changed(playback: PlaybackState): void {
    this.#store.set({ playback });
    if (playback === "playing") this.turn("speaking");
  }

  began(index: number, at: number): void {
    const turnId = this.#chunks.get(index)?.turnId;
    if (turnId === undefined) return;
    this.#replied(turnId);
    this.transcript.goesOn(turnId);
    this.#trace(this.waterfall.audible(turnId, at, this.#clock.wall()));
    this.#show();
  }

  played(index: number, at: number): void {
    const chunk = this.#chunks.get(index);
    if (!chunk) return; // of a session that is gone
    for (const each of this.#chunks.keys()) if (each <= index) this.#chunks.delete(each);
    const timestamp = this.#wall(at);
    this.#options.send({ action: "tts_chunk_played", chunk_index: index, timestamp });
    this.#aligned = chunk.textEnd !== undefined;
    if (chunk.textEnd !== undefined) this.transcript.heard(chunk.turnId, chunk.textEnd);
    this.#show();
  }

  finished(at: number): void {
    this.#options.send({ action: "tts_playback_finished", timestamp: this.#wall(at) });
    if (this.#aligned) this.transcript.silent(this.#sounding);
    else this.transcript.heard(this.#sounding, Infinity);
    this.#sounding = 0;
    if (this.#store.value.streamState === "speaking") this.#turnBack();
    this.#show();
  }

  samples(samples: Float32Array, rate: number): void {
    this.#options.sounds(samples, rate);
  }

  // --- what the server says -------------------------------------------------------------------

  readonly #handlers: Handlers = {
    session_info: ({ data }) => this.#admitted(data),
    queue_status: ({ position }) => this.#queued(position),
    queue_granted: () => {
      this.#store.set({ queued: false, queuePosition: null });
      this.transcript.info("It's your turn!", "queue");
    },
    update_asr: ({ data }) => {
      this.transcript.user(data.text, data.turn_id, false);
      this.#listens();
    },
    finish_asr: ({ data }) => {
      this.transcript.user(data.text, data.turn_id, true);
      if (!this.playback) return; // the user has stopped since, which calls off the answer
      // What was not heard by now was dropped, unless both talk at the same time.
      if (!this.#options.simGen) this.transcript.cutOff(data.turn_id);
      this.waterfall.transcribed(data.turn_id);
      this.#awaited = data.turn_id;
      this.#before = this.#options.simGen ? Infinity : this.#replying;
      this.#expected = 0;
      this.turn("processing");
    },
    invalid_asr_result: ({ turn_id: turnId }) => {
      if (turnId !== undefined) this.#givenUp(turnId);
      this.#turnBack();
    },
    refine_transcription: ({ data }) => {
      if (this.#options.simGen) this.transcript.refine(data.text);
    },
    update_resp: ({ data }) => {
      this.#replying = data.turn_id;
      this.transcript.assistant(data.text, data.turn_id, false);
    },
    finish_resp: ({ data }) => this.#told(data.text, data.turn_id),
    start_tts: () => {
      this.#decoder.reset();
      this.playback?.begin();
    },
    tts_chunk_meta: ({ data }) => {
      this.#meta = data;
    },
    tts_finished: () => this.playback?.end(),
    stop_tts: () => this.#stopped(),
    pause_tts: () => {
      this.playback?.pause();
      this.#listens();
    },
    resume_tts: () => {
      this.transcript.dismiss();
      this.playback?.resume();
      this.#turnBack();
    },
    voice_changed: ({ data: { name } }) => {
      this.#store.set({ currentVoiceName: name });
      this.#answer("voice", name);
    },
    speed_changed: ({ data: { speed } }) => {
      this.#speed = speed;
      this.#answer("speed", speed);
    },
    emotion_changed: ({ data }) => this.#store.set({ emotion: data }),
    tool_called: ({ data }) => this.#called(data),
    retrieval_updated: ({ data: { text } }) =>
      this.#store.set({
        latestRetrieval: text,
        retrievals: this.#logged(this.#store.value.retrievals, text),
      }),
    thought_updated: ({ data: { text } }) =>
      this.#store.set({
        latestThought: text,
        thoughts: this.#logged(this.#store.value.thoughts, text),
      }),
    caption_updated: ({ data: { text } }) =>
      this.#store.set({
        latestCaption: text,
        captions: this.#logged(this.#store.value.captions, text),
      }),
    speaker_updated: ({ data }) => this.#store.set({ currentSpeakerId: data.speaker_id }),
    latency_metrics: ({ data }) => this.#measured(data),
    decision: ({ data }) => {
      const decision = { ...data, at: this.#clock.wall() };
      this.#store.set({ decisions: appended(this.#store.value.decisions, decision) });
    },
    error: (message) => this.#failed(message),
  };

  #admitted(data: SessionInfoMessage["data"]): void {
    this.#rate = data.sample_rate_out ?? this.#options.ttsSampleRate ?? SAMPLE_RATE_OUT;
    this.#speed = 1;
    this.#store.set({
      currentSessionId: data.session_id,
      queued: false,
      queuePosition: null,
      // Of the session before: this one counts turns and speakers anew, with a voice of its own.
      traces: [],
      currentVoiceName: null,
      currentSpeakerId: null,
      emotion: null,
    });
    this.#options.admitted();
  }

  #queued(position: number): void {
    if (position !== this.#store.value.queuePosition) {
      this.transcript.info(`Position ${position} in the queue.`, "queue");
    }
    this.#store.set({ queued: true, queuePosition: position });
  }

  #told(text: string, turnId: number): void {
    this.transcript.assistant(text, turnId, true);
    this.#replied(turnId);
    if (this.playback) return;
    this.transcript.silent(turnId);
    this.turn("idle"); // no audio will say that it is over
  }

  /** Turns and replies are counted apart by some servers: there a new reply is the answer. */
  #replied(turnId: number): void {
    if (turnId > this.#before) this.#awaited = 0;
    else this.#answered(turnId);
  }

  #answered(turnId: number): void {
    if (turnId >= this.#awaited) this.#awaited = 0;
  }

  #givenUp(turnId: number): void {
    this.#answered(turnId);
    this.transcript.silent(turnId);
  }

  /** What was asked for in vain is not asked for again. */
  #failed({ data: message, error_type: type }: ErrorMessage): void {
    if (type === "voice_not_changed") {
      this.#refused("voice", this.#store.value.currentVoiceName ?? "");
    } else if (type === "speed_not_changed") this.#refused("speed", this.#speed);
    else if (type === "model_not_changed") this.#withoutModel();
    else if (type === "text_refused") this.expectNothing();
    this.problem({ code: "server", message }, "error", `Error: ${message}`);
  }

  /** Keep what a wish has come to, or what was changed here by the agent: not over a newer one. */
  #answer<W extends Wish>(what: W, value: Settings[W]): void {
    const wish = this.#wishes[what].shift();
    const chosen = this.#store.value.settings[what];
    if (this.#wishes[what].length > 0 || (wish !== undefined && wish !== chosen)) return;
    this.keep({ [what]: value });
  }

  /** Also told of what only the agent has asked for. */
  #refused<W extends Wish>(what: W, current: Settings[W]): void {
    if (this.#wishes[what].length > 0) this.#answer(what, current);
  }

  #withoutModel(): void {
    this.#models.pop();
    this.#showModels();
  }

  #showModels(): void {
    this.#store.set({ models: { ...initialState.models, ...Object.fromEntries(this.#models) } });
  }

  #stopped(): void {
    this.#decoder.reset();
    this.playback?.stop();
    if (this.#sounding) this.transcript.cutOff(this.#sounding + 1);
    this.#sounding = 0;
    if (this.#store.value.streamState === "speaking") this.turn("processing");
  }

  /** To the user, unless they have stopped since: then this was on its way. */
  #listens(): void {
    if (this.playback) this.turn("listening");
  }

  /** The user's turn was none. */
  #turnBack(): void {
    const { playback } = this.#store.value; // which is playing when it has run dry, too
    const speaking = playback === "playing" || playback === "ducked";
    this.turn(speaking ? "speaking" : this.#awaited ? "processing" : "idle");
  }

  #called({ name, args }: ToolCalledMessage["data"]): void {
    const shown = Object.entries(args).map(([key, value]) => `${key}=${shownValue(value)}`);
    const text = `Tool call -> ${[name, shown.join(", ")].join(" ").trim()}`;
    this.transcript.info(text, "tool", { name, args });
    const entry = { text, name, args, at: this.#clock.wall() };
    this.#store.set({ tools: appended(this.#store.value.tools, entry) });
  }

  #logged(log: readonly LogEntry[], text: string): readonly LogEntry[] {
    if (!text || log.at(-1)?.text === text) return log;
    return appended(log, { text, at: this.#clock.wall() });
  }

  #measured(data: LatencyMetricsMessage["data"]): void {
    const latency = {
      network: data.network_latency_ms,
      asr: data.asr_latency_ms,
      llmFirstToken: data.llm_first_token_ms,
      llmSentence: data.llm_sentence_ms,
      ttsFirstChunk: data.tts_first_chunk_ms,
    };
    this.#store.set({ latency });
    this.#trace(this.waterfall.reported(data, this.#clock.wall()));
  }

  /** A turn's trace grows: by the server's report, by the first sample heard. */
  #trace(trace: LatencyTrace | null): void {
    if (!trace) return;
    const { traces } = this.#store.value;
    const others = trace.turnId === this.#traced ? traces.slice(0, -1) : traces;
    this.#traced = trace.turnId;
    this.#store.set({ traces: appended(others, trace) });
  }

  #wall(at: number): number {
    return Math.round(this.#clock.wall() + at - this.#clock.now());
  }

  #show(): void {
    this.#store.set({ messages: this.transcript.messages });
  }
}

function shownValue(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
