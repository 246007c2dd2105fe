// A spoken conversation with an xtalk server: the one object that a page needs.

import { type Audio, AudioFailure, browserAudio } from "./audio.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type Denoiser, loadDenoiser } from "./denoise.ts";
import type { Models } from "./ear.ts";
import { encodePcm } from "./pcm.ts";
import { Session } from "./session.ts";
import { loadSilero } from "./silero.ts";
import { Sound, type SoundListener } from "./sound.ts";
import { initialState, type ConnectionState, type Problem, type ProblemCode } from "./state.ts";
import type { Settings, State } from "./state.ts";
import { isolated, Store } from "./store.ts";
import { type Socket, Transport } from "./transport.ts";
import { type Detector, type DetectorEvent, EnergyDetector } from "./vad.ts";
import type { ClientMessage, ServerMessage } from "./wire.ts";

export interface ConversationOptions {
  /** Show the user's speech as one running transcript, for servers in simultaneous mode. */
  simGen?: boolean;
  /** Leave the detection of speech to the server altogether, and say so. */
  pureFrontend?: boolean;
  /** Rate in Hz of the server's audio, for servers that do not tell it in `session_info`. */
  ttsSampleRate?: number;
  /**
   * Where vad-web, onnxruntime-web and the Silero model lie (`.../static/vad/`). Without it a
   * light energy detector finds candidates, and the server's detector decides.
   */
  vadAssets?: string;
  /** An ONNX denoiser for the detector alone; needs `vadAssets` for its runtime. */
  denoiser?: string;
  /**
   * Whether start and end marks are sent: by default only with the Silero detector. The energy
   * detector's are coarse: turn them on only for a server that has no detector.
   */
  marks?: boolean;
  /** A static copy of the worklets, for pages whose policy forbids `blob:` scripts. */
  workletUrl?: string;
  /** Where `api/upload` lives; by default beside the WebSocket. */
  apiUrl?: string;
  /** What to begin with, as kept from the last visit. */
  settings?: Partial<Settings>;
}

export type Subscriber = (state: State) => void;
/** Samples that are being played, and their rate: for drawings. */
export type AudioListener = (samples: Float32Array, rate: number) => void;
export type Unsubscribe = () => void;

export interface Conversation {
  /** Called at once and after every change, at most once per turn of the event loop. */
  subscribe(subscriber: Subscriber): Unsubscribe;
  readonly state: State;

  /**
   * Start the microphone, or stop it and end the conversation; nothing while it is being opened.
   * In the queue it waits, and is listened to when the session begins.
   */
  toggleStreaming(): Promise<void>;
  /** Stop, begin a new session on a new connection, and clear what is shown. */
  restart(): void;
  /** Forget the messages here; the server remembers the session. */
  clearHistory(): void;
  toggleMicMute(): void;
  /** End for good: closes the socket, the microphone and the audio. */
  close(): void;

  /** "" is the server's choice: not in this session any more, but in the next. */
  changeVoice(name: string): void;
  /** 0.5 to 1.5 */
  changeTTSSpeed(speed: number): void;
  /** Emotion and models are this session's: nothing while there is none. */
  changeEmotion(name: string, vector?: readonly number[]): void;
  changeTTSModel(type: string, config?: Record<string, unknown>): void;
  changeLLMModel(
    name: string,
    baseUrl?: string,
    apiKey?: string,
    extraBody?: Record<string, unknown> | null,
  ): void;

  /** Rejects with a sentence for the user when the server refuses the file. */
  uploadFile(file: File): Promise<void>;

  /**
   * Device id "" is the browser's choice. The microphone changes without a restart. One that
   * cannot be used is told as a problem, and the one before goes on.
   */
  selectInput(deviceId: string): Promise<void>;
  selectOutput(deviceId: string): Promise<void>;
  refreshDevices(): Promise<void>;
  /** 0 to 1 */
  setVolume(volume: number): void;

  onNewAudioOutput(listener: AudioListener): Unsubscribe;
}

/** What a conversation needs of the browser; a test brings its own. */
export interface Environment {
  readonly clock: Clock;
  readonly audio: Audio;
  connect(url: string): Socket;
  post(url: string, form: FormData): Promise<Response>;
  loadDetector(assets: string): Promise<Detector>;
  loadDenoiser(assets: string, model: string): Promise<Denoiser>;
  /** Tell of these until the function returned is called. */
  watch(events: EnvironmentEvents): () => void;
}

export interface EnvironmentEvents {
  online(): void;
  visible(): void;
  devicesChanged(): void;
}

/**
 * Open a conversation and connect at once, to `url` or to `ws` beside the page.
 *
 * It reconnects by itself, with a new session, as long as `close()` has not been called.
 */
export function createConversation(
  url?: string | URL | null,
  options?: ConversationOptions | null,
  environment?: Environment,
): Conversation {
  const given = options ?? {};
  const address = new URL(url ?? "ws", globalThis.location?.href);
  address.protocol = address.protocol.replace(/^http/, "ws");
  return new Spoken(address, given, environment ?? browser(given.workletUrl));
}

function browser(workletUrl?: string): Environment {
  return {
    clock: systemClock,
    audio: browserAudio(systemClock, workletUrl),
    connect: (url) => new WebSocket(url),
    post: (url, body) => fetch(url, { method: "POST", body }),
    loadDetector: loadSilero,
    loadDenoiser,
    watch,
  };
}

function watch(events: EnvironmentEvents): () => void {
  const visible = () => {
    if (document.visibilityState === "visible") events.visible();
  };
  addEventListener("online", events.online);
  document.addEventListener("visibilitychange", visible);
  navigator.mediaDevices?.addEventListener("devicechange", events.devicesChanged);
  return () => {
    removeEventListener("online", events.online);
    document.removeEventListener("visibilitychange", visible);
    navigator.mediaDevices?.removeEventListener("devicechange", events.devicesChanged);
  };
}

const NO_SOUND = [
  "insecure",
  "microphone-denied",
  "microphone-missing",
  "microphone-failed",
  "audio-failed",
] as const;

const UNDUCK_MS = 1000; // after speech that the server has not taken for an interruption

class Spoken implements Conversation {
  readonly #options: ConversationOptions;
  readonly #environment: Environment;
  readonly #store: Store<State>;
  readonly #session: Session;
  readonly #transport: Transport;
  readonly #api: URL;
  readonly #unwatch: () => void;
  readonly #audioListeners = new Set<AudioListener>();
  #models: Models;
  #loading: Promise<void> | null = null;
  #sound: Sound | null = null;
  #run = 0; // of the microphone: what an earlier one was still opening is to be closed
  #opening = false; // the microphone
  #admitted = false; // to a session, rather than waiting for one
  #away = false; // the connection, since a session was lost or did not begin; and that was told
  #closed = false;
  #uploads = 0; // that are not over
  #cancelUnduck = () => {};

  constructor(url: URL, options: ConversationOptions, environment: Environment) {
    this.#options = options;
    this.#environment = environment;
    const settings = { ...initialState.settings, ...options.settings };
    this.#store = new Store<State>({ ...initialState, settings });
    this.#models = { detector: options.pureFrontend ? null : new EnergyDetector(), denoiser: null };
    this.#api = apiUrl(url, options.apiUrl);
    this.#session = new Session(this.#store, environment.clock, {
      simGen: options.simGen ?? false,
      pureFrontend: options.pureFrontend ?? false,
      ttsSampleRate: options.ttsSampleRate,
      send: (message) => this.#send(message),
      admitted: () => this.#enter(),
      sounds: (samples, rate) => this.#sounds(samples, rate),
    });
    this.#transport = new Transport(() => environment.connect(url.href), environment.clock, {
      message: (message) => this.#receive(message),
      audio: (piece) => this.#session.audio(piece),
      connection: (state, retryAt, reason) => this.#connection(state, retryAt, reason),
      clock: (clockOffset, roundTrip) => this.#clock(clockOffset, roundTrip),
    });
    this.#unwatch = environment.watch({
      online: () => this.#transport.hurry(),
      visible: () => this.#visible(),
      devicesChanged: () => void this.refreshDevices(),
    });
    this.#transport.open();
    void this.refreshDevices();
  }

  subscribe(subscriber: Subscriber): Unsubscribe {
    return this.#store.subscribe(subscriber);
  }

  get state(): State {
    return this.#store.value;
  }

  // --- start and stop -------------------------------------------------------------------------

  async toggleStreaming(): Promise<void> {
    if (this.state.streaming) return this.#stop();
    if (this.#opening || this.#closed) return;
    if (this.state.connection === "closed") this.#transport.open();
    await this.#start();
  }

  restart(): void {
    if (this.#closed) return;
    this.#stop();
    this.#away = false;
    this.#transport.open();
    this.#session.clear();
    const { connection, settings, devices, micMuted, detector, denoising } = this.state;
    const kept = { connection, settings, devices, micMuted, detector, denoising };
    this.#store.set({ ...initialState, ...kept });
  }

  clearHistory(): void {
    this.#session.clear();
  }

  close(): void {
    this.#closed = true;
    this.#stop();
    this.#unwatch();
    this.#transport.close();
    this.#models.detector?.close();
    this.#models.denoiser?.close();
  }

  async #start(): Promise<void> {
    const run = ++this.#run;
    this.#opening = true;
    this.#showLoading();
    try {
      const sound = await this.#open();
      if (run === this.#run) this.#begin(sound);
      else sound.close();
    } catch (error) {
      if (!(error instanceof AudioFailure)) throw error;
      if (run === this.#run) this.#fail(error);
    } finally {
      if (run === this.#run) this.#opening = false;
      this.#showLoading();
    }
  }

  #showLoading(): void {
    this.#store.set({ loading: this.#opening || this.state.queued });
  }

  #open(): Promise<Sound> {
    this.#loading ??= this.#load();
    const { audio, clock } = this.#environment;
    return Sound.open(audio, clock, this.#models, this.state.settings, this.#ears, this.#session);
  }

  #begin(sound: Sound): void {
    this.#sound = sound;
    this.#session.playback = sound.playback;
    sound.ear.use(this.#models); // which may have come while it was being opened
    sound.ear.mute(this.state.micMuted);
    this.#store.set({ streaming: true });
    this.#session.solved(...NO_SOUND);
    this.#announce();
    this.#catchUp(sound);
    void this.refreshDevices(); // which have names now
  }

  /** Use what was chosen while the microphone was being opened. */
  #catchUp(sound: Sound): void {
    const { inputDevice, outputDevice, volume } = this.state.settings;
    sound.playback.setVolume(volume);
    if (inputDevice !== sound.inputDevice) void this.selectInput(inputDevice);
    if (outputDevice !== sound.outputDevice) void this.selectOutput(outputDevice);
  }

  #stop(): void {
    this.#run += 1;
    this.#opening = false;
    this.#cancelUnduck();
    if (this.state.streaming) this.#send({ action: "conversation_end", timestamp: this.#wall() });
    this.#sound?.close();
    this.#sound = null;
    this.#session.silence();
    this.#showLoading();
    this.#store.set({
      streaming: false,
      streamState: "idle",
      userSpeech: "none",
      inputLevel: 0,
    });
  }

  /** Once for a conversation, and nobody waits for it: until then the energy detector listens. */
  async #load(): Promise<void> {
    this.#use(this.#models);
    const { vadAssets, denoiser } = this.#options;
    if (!vadAssets || !this.#models.detector) return;
    const { loadDetector, loadDenoiser } = this.#environment;
    const models = {
      detector: await this.#or("detector", () => loadDetector(vadAssets), new EnergyDetector()),
      denoiser: denoiser
        ? await this.#or("denoiser", () => loadDenoiser(vadAssets, denoiser), null)
        : null,
    };
    this.#use(models);
  }

  #use(models: Models): void {
    if (this.#closed) {
      models.detector?.close();
      models.denoiser?.close();
      return;
    }
    this.#models = models;
    this.#sound?.ear.use(models);
    const denoising = models.denoiser !== null;
    this.#store.set({ detector: models.detector?.kind ?? "none", denoising });
  }

  async #or<T, U>(what: "detector" | "denoiser", load: () => Promise<T>, other: U): Promise<T | U> {
    try {
      return await load();
    } catch (error) {
      this.#without(what, error);
      return other;
    }
  }

  /** A model that fails in whatever way is done without, and the user is told. */
  #without(what: "detector" | "denoiser", error: unknown): void {
    console.warn(`xtalk: the ${what} failed`, error);
    if (what === "denoiser") {
      this.#store.set({ denoising: false });
      this.#tell("denoiser-failed", "The denoiser does not work; the raw sound is used instead.");
    } else {
      this.#store.set({ detector: "energy" });
      this.#tell("detector-failed", "The speech detector does not work; a simpler one is used.");
    }
  }

  #tell(code: "denoiser-failed" | "detector-failed", message: string): void {
    this.#session.problem({ code, message }, "notice");
  }

  #fail({ code, message }: AudioFailure | Refused): void {
    this.#session.problem({ code, message });
  }

  // --- the connection -------------------------------------------------------------------------

  #connection(connection: ConnectionState, retryAt: number | null, reason?: string): void {
    const { connection: before, streaming } = this.state;
    const wasAdmitted = this.#admitted;
    this.#store.set({ connection, retryAt });
    if (connection === "open") return;
    this.#leave();
    if (connection === "waiting") this.#lost(before === "open");
    else if (connection === "closed" && reason !== undefined) {
      if (streaming || this.#opening) this.#stop();
      this.#ended(wasAdmitted ? "session-ended" : "connection-refused", reason);
    }
  }

  /** Told once, however many attempts fail. */
  #lost(wasOpen: boolean): void {
    if (this.#away) return;
    this.#away = true;
    const problem: Omit<Problem, "at"> = wasOpen
      ? { code: "connection-lost", message: "The connection was lost. Trying again …" }
      : { code: "connection-refused", message: "The server cannot be reached. Trying again …" };
    this.#session.problem(problem, "connection");
  }

  #ended(code: ProblemCode, reason: string): void {
    this.#away = false;
    const message = `The server ended the connection: ${reason || "it gave no reason"}.`;
    this.#session.problem({ code, message, reason }, "connection");
  }

  /** No session any more. */
  #leave(): void {
    this.#admitted = false;
    this.#cancelUnduck();
    this.#session.lost();
    this.#store.set({ queued: false, queuePosition: null, currentSessionId: null });
    this.#showLoading();
  }

  #clock(clockOffset: number, roundTrip: number): void {
    this.#store.set({ clockOffset, roundTrip });
    this.#session.waterfall.roundTrip(roundTrip);
  }

  #enter(): void {
    this.#admitted = true;
    this.#away = false;
    this.#transport.settled();
    const { voice, speed } = this.state.settings;
    if (voice) this.changeVoice(voice);
    if (speed !== 1) this.changeTTSSpeed(speed);
    if (this.state.streaming) this.#announce();
  }

  /** Also to a session that begins while the microphone is on. */
  #announce(): void {
    if (!this.#admitted) return;
    const client = { pauses_itself: false, decisions: true };
    const mode = this.#options.pureFrontend ? { mode: "pure_frontend" } : {};
    this.#send({ action: "conversation_start", timestamp: this.#wall(), client, ...mode });
    if (this.#options.pureFrontend) this.#session.turn("listening");
  }

  /** What cannot be understood ends neither the connection nor the conversation. */
  #receive(message: ServerMessage): void {
    isolated(() => this.#session.receive(message));
    this.#showLoading();
  }

  /** Only a session is told anything: who waits for one is heard by nobody. */
  #send(message: ClientMessage): void {
    if (this.#admitted) this.#transport.send(message);
  }

  #wall(): number {
    return Math.round(this.#environment.clock.wall());
  }

  #visible(): void {
    this.#transport.hurry();
    this.#sound?.wake();
  }

  // --- the microphone -------------------------------------------------------------------------

  readonly #ears: SoundListener = {
    frame: (frame) => {
      if (this.#admitted) this.#transport.sendAudio(encodePcm(frame));
    },
    level: (inputLevel) => this.#store.set({ inputLevel }),
    detected: (event) => this.#detected(event),
    voiced: (at) => {
      if (this.#marks) this.#session.waterfall.voiced(at);
    },
    failed: (what, error) => this.#without(what, error),
    silenced: (failure) => {
      this.#stop();
      this.#fail(failure);
    },
  };

  #detected(event: DetectorEvent): void {
    if (!this.#sound) return;
    const { playback } = this.#sound;
    this.#cancelUnduck();
    if (event === "candidate") {
      this.#store.set({ userSpeech: "candidate" });
      if (playback.active) playback.duck();
    } else if (event === "misfire") {
      this.#store.set({ userSpeech: "none" });
      if (!playback.paused) playback.unduck();
    } else if (event === "start") this.#speechStarted();
    else this.#speechEnded();
  }

  #speechStarted(): void {
    this.#store.set({ userSpeech: "confirmed" });
    if (!this.#marks || !this.#admitted) return;
    this.#send({ action: "vad_speech_start", timestamp: this.#wall() });
    this.#session.turn("listening");
  }

  #speechEnded(): void {
    this.#store.set({ userSpeech: "none" });
    this.#unduckLater();
    if (!this.#marks || !this.#admitted) return;
    this.#send({ action: "vad_speech_end", timestamp: this.#wall() });
    this.#session.waterfall.marked(this.#environment.clock.now());
    if (this.state.streamState === "listening") this.#session.turn("processing");
  }

  /** The server answers an interruption; when it does not, it was none to it. */
  #unduckLater(): void {
    this.#cancelUnduck = this.#environment.clock.after(UNDUCK_MS, () => {
      const playback = this.#sound?.playback;
      if (playback && !playback.paused) playback.unduck();
    });
  }

  get #marks(): boolean {
    return this.#options.marks ?? this.state.detector === "silero";
  }

  toggleMicMute(): void {
    const micMuted = !this.state.micMuted;
    this.#store.set({ micMuted });
    this.#sound?.ear.mute(micMuted);
    if (!micMuted || !this.#sound) return;
    this.#detected("misfire"); // whatever had begun
    this.#send({ action: "vad_speech_end", timestamp: this.#wall(), reason: "muted" });
    if (this.state.streamState === "listening") this.#session.turn("idle");
  }

  // --- settings -------------------------------------------------------------------------------

  changeVoice(name: string): void {
    this.#session.keep({ voice: name });
    if (!name || !this.#admitted) return;
    this.#session.wished("voice", name);
    this.#send({ action: "change_voice", voice_name: name, timestamp: this.#wall() });
  }

  changeTTSSpeed(speed: number): void {
    const clamped = within(speed, 0.5, 1.5);
    this.#session.keep({ speed: clamped });
    if (!this.#admitted) return;
    this.#session.wished("speed", clamped);
    this.#send({ action: "change_tts_speed", speed: clamped, timestamp: this.#wall() });
  }

  changeEmotion(name: string, vector: readonly number[] = []): void {
    const timestamp = this.#wall();
    const emotion_vector = [...vector];
    this.#send({ action: "change_emotion", emotion_name: name, emotion_vector, timestamp });
  }

  changeTTSModel(type: string, config: Record<string, unknown> = {}): void {
    if (!this.#admitted) return;
    this.#session.model("tts", type);
    const timestamp = this.#wall();
    this.#send({ action: "change_tts_model", model_type: type, config, timestamp });
  }

  changeLLMModel(
    name: string,
    baseUrl = "",
    apiKey = "",
    extraBody: Record<string, unknown> | null = null,
  ): void {
    if (!this.#admitted) return;
    this.#session.model("llm", name);
    this.#send({
      action: "change_llm_model",
      model_name: name,
      base_url: baseUrl,
      api_key: apiKey,
      extra_body: extraBody,
      timestamp: this.#wall(),
    });
  }

  async selectInput(deviceId: string): Promise<void> {
    const works = await this.#select("inputDevice", deviceId, (sound) => sound.listen(deviceId));
    if (works && this.#sound) this.#session.solved(...NO_SOUND);
  }

  async selectOutput(deviceId: string): Promise<void> {
    const works = await this.#select("outputDevice", deviceId, (sound) => sound.playOn(deviceId));
    if (works) this.#session.solved("loudspeaker-failed");
  }

  /** Whether it is used, now or from the start on; if not, the setting is what is in use. */
  async #select(
    which: "inputDevice" | "outputDevice",
    deviceId: string,
    use: (sound: Sound) => Promise<boolean>,
  ): Promise<boolean> {
    const sound = this.#sound;
    this.#session.keep({ [which]: deviceId });
    if (!sound) return true;
    try {
      return await use(sound);
    } catch (error) {
      if (!(error instanceof AudioFailure)) throw error;
      this.#session.keep({ [which]: sound[which] });
      this.#fail(error);
      return false;
    }
  }

  async refreshDevices(): Promise<void> {
    const devices = await this.#environment.audio.devices();
    if (!this.#closed) this.#store.set({ devices });
  }

  setVolume(volume: number): void {
    const clamped = within(volume, 0, 1);
    this.#session.keep({ volume: clamped });
    this.#sound?.playback.setVolume(clamped);
  }

  // --- files and drawings ---------------------------------------------------------------------

  async uploadFile(file: File): Promise<void> {
    this.#uploads += 1;
    this.#store.set({ uploading: true });
    this.#session.solved("upload-failed", "upload-unsent");
    this.#session.expect();
    try {
      await this.#upload(file);
    } catch (error) {
      this.#session.expectNothing();
      const unsent = () => new Refused("upload-unsent", "The file could not be sent.", error);
      const refused = error instanceof Refused ? error : unsent();
      this.#fail(refused);
      throw refused;
    } finally {
      this.#uploads -= 1;
      this.#store.set({ uploading: this.#uploads > 0 });
    }
  }

  async #upload(file: File): Promise<void> {
    const session = this.state.currentSessionId;
    if (!session) {
      throw new Refused("upload-unsent", "There is no session to send the file to yet.");
    }
    const form = new FormData();
    form.set("session_id", session);
    form.set("file", typed(file), file.name);
    const response = await this.#environment.post(new URL("api/upload", this.#api).href, form);
    if (!response.ok) throw await refusal(response);
  }

  onNewAudioOutput(listener: AudioListener): Unsubscribe {
    const own: AudioListener = (samples, rate) => listener(samples, rate);
    this.#audioListeners.add(own);
    return () => this.#audioListeners.delete(own);
  }

  #sounds(samples: Float32Array, rate: number): void {
    for (const listener of this.#audioListeners) isolated(() => listener(samples, rate));
  }
}

/** A file that was not taken, in words that the user may read. */
class Refused extends Error {
  readonly code: ProblemCode;

  constructor(code: ProblemCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** The nearest number from `low` to `high`; RangeError for what is no number. */
function within(number: number, low: number, high: number): number {
  // A page without types may pass anything.
  if (Number.isNaN(Number(number))) throw new RangeError(`a number from ${low} to ${high} is needed`);
  return Math.min(high, Math.max(low, number));
}

function apiUrl(socket: URL, given?: string): URL {
  if (given !== undefined) return new URL(given, globalThis.location?.href);
  const beside = new URL("./", socket);
  beside.protocol = beside.protocol.replace(/^ws/, "http");
  return beside;
}

/** Browsers know no type for many a text file; the server checks the text itself. */
function typed(file: File): Blob {
  return file.type ? file : new Blob([file], { type: "text/plain" });
}

async function refusal(response: Response): Promise<Refused> {
  const body: unknown = await response.json().catch(() => null);
  const detail = typeof body === "object" && body && "detail" in body ? body.detail : null;
  if (typeof detail === "string") return new Refused("upload-failed", detail);
  return new Refused("upload-unsent", `The server refused the file (${response.status}).`);
}
