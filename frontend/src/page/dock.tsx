// The controls: start and stop, mute, a text to upload, and whose turn it is.

import { useRef } from "preact/hooks";

import type { State } from "../state.ts";
import { useConversation, usePage, useWords } from "./hooks.ts";
import type { Key } from "./i18n.ts";
import { Again, Document, Microphone, MicrophoneOff, StopSquare } from "./icons.tsx";
import { height, Ribbon } from "./ribbon.tsx";

/** Says why a file is not even sent; null takes it back. */
type Fail = (sentence: string | null) => void;

export function Dock({ usable, fail }: { usable: boolean; fail: Fail }) {
  const streaming = useConversation((state) => state.streaming);
  const begun = useConversation(
    (state) => state.streaming || state.messages.some(({ role }) => role !== "info"),
  );
  return (
    <section class={begun ? "dock" : "dock resting"}>
      <Turn />
      <Ribbon running={streaming} />
      <div class="controls">
        <div class="side">
          <Mute />
          <Level />
        </div>
        <Start usable={usable} />
        <div class="side">
          <Upload fail={fail} />
          <Restart />
        </div>
      </div>
    </section>
  );
}

/** What is going on, as the key of a sentence. */
export function turnKey(state: State): Key {
  if (!state.streaming) return "turn_off";
  if (state.connection !== "open") return "turn_away";
  if (state.queued) return "turn_queued";
  if (state.currentSessionId === null) return "turn_unready";
  if (state.playback === "ducked") return "turn_ducked";
  if (state.playback === "paused") return "turn_paused";
  if (state.streamState === "speaking") return "turn_speaking";
  if (state.streamState === "processing") return "turn_processing";
  if (state.micMuted) return "turn_muted";
  return state.streamState === "listening" ? "turn_listening" : "turn_idle";
}

type Owner = "you" | "agent" | "nobody";

function owner(state: State): Owner {
  if (!state.streaming || state.currentSessionId === null) return "nobody";
  if (state.playback === "paused") return "you";
  return state.streamState === "speaking" || state.streamState === "processing" ? "agent" : "you";
}

function Turn() {
  const words = useWords();
  const whose = useConversation(owner);
  const key = useConversation(turnKey);
  return (
    <div class="turn" data-whose={whose} data-turn={key}>
      <span class="side-name you">{words("you")}</span>
      <p>
        <span class="unseen">{words(`whose_${whose}`)}. </span>
        {words(key)}
      </p>
      <span class="side-name agent">{words("agent")}</span>
    </div>
  );
}

function Start({ usable }: { usable: boolean }) {
  const { conversation } = usePage();
  const words = useWords();
  const streaming = useConversation((state) => state.streaming);
  const loading = useConversation((state) => state.loading && !state.queued);
  const label = loading ? "loading" : streaming ? "stop" : "start";
  return (
    <button
      type="button"
      class={`start ${label}`}
      id="start"
      disabled={!usable}
      aria-disabled={loading}
      onClick={() => void conversation.toggleStreaming()}
      aria-label={words(loading ? "loading" : streaming ? "stopLong" : "startLong")}
    >
      {streaming ? <StopSquare /> : <Microphone />}
      <span>{words(label)}</span>
    </button>
  );
}

function Mute() {
  const { conversation } = usePage();
  const words = useWords();
  const muted = useConversation((state) => state.micMuted);
  const streaming = useConversation((state) => state.streaming);
  return (
    <button
      type="button"
      class="round"
      id="mute"
      disabled={!streaming}
      aria-pressed={muted}
      onClick={() => conversation.toggleMicMute()}
      title={words(muted ? "unmute" : "mute")}
      aria-label={words("mute")}
    >
      {muted ? <MicrophoneOff /> : <Microphone />}
    </button>
  );
}

function Level() {
  const words = useWords();
  const level = useConversation((state) =>
    state.streaming && !state.micMuted ? Math.round(height(state.inputLevel) * 10) : 0,
  );
  return (
    <div
      class="level"
      role="meter"
      aria-label={words("level")}
      aria-valuemin={0}
      aria-valuemax={10}
      aria-valuenow={level}
    >
      {Array.from({ length: 10 }, (_, index) => (
        <i key={index} class={index < level ? "on" : ""} />
      ))}
    </div>
  );
}

function Upload({ fail }: { fail: Fail }) {
  const { conversation, about } = usePage();
  const words = useWords();
  const input = useRef<HTMLInputElement>(null);
  const uploading = useConversation((state) => state.uploading);
  const session = useConversation((state) => state.currentSessionId);
  const send = async (file: File) => {
    fail(null);
    const limit = about.upload_bytes ?? Infinity;
    const name = file.name;
    if (file.size === 0) return fail(words("fileEmpty", { name }));
    if (file.size > limit) {
      return fail(words("fileTooLarge", { name, kilobytes: Math.floor(limit / 1024) }));
    }
    // A refusal is in the state's problems, in words.
    return conversation.uploadFile(file).catch(() => undefined);
  };
  return (
    <>
      <button
        type="button"
        class="round"
        id="upload"
        disabled={session === null || uploading}
        onClick={() => input.current?.click()}
        title={words(uploading ? "uploading" : "upload")}
        aria-label={words(uploading ? "uploading" : "upload")}
      >
        <Document />
      </button>
      <input
        type="file"
        ref={input}
        hidden
        accept="text/*,.txt,.md,.csv"
        onChange={(event) => {
          const [file] = event.currentTarget.files ?? [];
          event.currentTarget.value = "";
          if (file) void send(file);
        }}
      />
    </>
  );
}

function Restart() {
  const { conversation } = usePage();
  const words = useWords();
  const begun = useConversation((state) => state.messages.length > 0);
  return (
    <button
      type="button"
      class="round"
      id="restart"
      disabled={!begun}
      onClick={() => conversation.restart()}
      title={words("restart")}
      aria-label={words("restart")}
    >
      <Again />
    </button>
  );
}
