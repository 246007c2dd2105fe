// A spoken conversation with an xtalk server: the one object that a page needs.

import type { Settings, State } from "./state.ts";

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

  /** Start the microphone, or stop it and end the conversation; nothing while loading. */
  toggleStreaming(): Promise<void>;
  /** Stop, begin a new session on a new connection, and clear what is shown. */
  restart(): void;
  /** Forget the messages here; the server remembers the session. */
  clearHistory(): void;
  toggleMicMute(): void;
  /** End for good: closes the socket, the microphone and the audio. */
  close(): void;

  changeVoice(name: string): void;
  /** 0.5 to 1.5 */
  changeTTSSpeed(speed: number): void;
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

  /** Device id "" is the browser's choice. The microphone changes without a restart. */
  selectInput(deviceId: string): Promise<void>;
  selectOutput(deviceId: string): Promise<void>;
  refreshDevices(): Promise<void>;
  /** 0 to 1 */
  setVolume(volume: number): void;

  onNewAudioOutput(listener: AudioListener): Unsubscribe;
}

/**
 * Open a conversation and connect at once, to `url` or to `ws` beside the page.
 *
 * It reconnects by itself, with a new session, as long as `close()` has not been called.
 */
export declare function createConversation(
  url?: string | URL | null,
  options?: ConversationOptions | null,
): Conversation;
