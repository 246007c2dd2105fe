// Devices, the voice, the models, the look of the page, copies of the session.

import { useEffect, useRef, useState } from "preact/hooks";

import type { Device, Settings as Chosen } from "../state.ts";
import { kept } from "./about.ts";
import { useConversation, usePage, useWords } from "./hooks.ts";
import { LANGUAGES, type Key, type Language } from "./i18n.ts";
import { Cross } from "./icons.tsx";
import { THEMES, type Theme } from "./preferences.ts";

interface DialogProps {
  readonly open: boolean;
  close(): void;
}

export function SettingsDialog({ open, close }: DialogProps) {
  const words = useWords();
  const dialog = useRef<HTMLDialogElement>(null);
  const { conversation } = usePage();
  useEffect(() => {
    if (open) {
      dialog.current?.showModal();
      void conversation.refreshDevices();
    } else dialog.current?.close();
  }, [open, conversation]);
  // A click beside the sheet is one on the dialog itself.
  const besides = (event: MouseEvent) => event.target === dialog.current && close();
  return (
    <dialog class="settings" ref={dialog} onClose={close} onClick={besides} aria-labelledby="settings-title">
      <div class="sheet">
        <header>
          <h2 id="settings-title">{words("settings")}</h2>
          <button type="button" class="plain" onClick={close} aria-label={words("close")}>
            <Cross />
          </button>
        </header>
        {open && (
          <>
            <Devices />
            <Voice />
            <Look />
            <Copies />
            <AboutServer />
          </>
        )}
      </div>
    </dialog>
  );
}

interface SelectProps {
  readonly label: Key;
  readonly value: string;
  /** Value and what is shown for it. */
  readonly options: readonly (readonly [string, string])[];
  readonly disabled?: boolean;
  choose(value: string): void;
}

function Select({ label, value, options, disabled = false, choose }: SelectProps) {
  const words = useWords();
  const change = (select: HTMLSelectElement) => {
    choose(select.value);
    select.value = value; // what was there, until the choice is confirmed
  };
  return (
    <label class="field">
      <span>{words(label)}</span>
      <select
        value={value}
        disabled={disabled}
        onChange={(event) => change(event.currentTarget)}
        name={label}
      >
        {options.map(([name, shown]) => (
          <option key={name} value={name} selected={name === value}>
            {shown}
          </option>
        ))}
      </select>
    </label>
  );
}

interface SliderProps {
  readonly label: Key;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  show(value: number): string;
  choose(value: number): void;
}

function Slider({ label, value, min, max, step, show, choose }: SliderProps) {
  const words = useWords();
  return (
    <label class="field">
      <span>
        {words(label)} <b aria-hidden="true">{show(value)}</b>
      </span>
      <input
        type="range"
        name={label}
        {...{ min, max, step, value }}
        aria-valuetext={show(value)}
        onChange={(event) => choose(Number(event.currentTarget.value))}
      />
    </label>
  );
}

function Devices() {
  const { conversation } = usePage();
  const words = useWords();
  const devices = useConversation((state) => state.devices);
  const chosen = useConversation((state) => state.settings);
  const options = (kind: Device["kind"]) => {
    const found = devices.filter((device) => device.kind === kind && device.id !== "default");
    return [
      ["", words("defaultDevice")] as const,
      ...found.map(({ id, label }, n) => [id, label || words("unnamedDevice", { n: n + 1 })] as const),
    ];
  };
  const outputs = options("output");
  return (
    <fieldset>
      <Select
        label="microphone"
        value={chosen.inputDevice}
        options={options("input")}
        choose={(id) => void conversation.selectInput(id)}
      />
      {outputs.length > 1 && (
        <Select
          label="loudspeaker"
          value={chosen.outputDevice}
          options={outputs}
          choose={(id) => void conversation.selectOutput(id)}
        />
      )}
      {!devices.some(({ label }) => label) && <p class="hint">{words("devicesHint")}</p>}
      <Slider
        label="volume"
        value={chosen.volume}
        min={0}
        max={1}
        step={0.05}
        show={(value) => `${Math.round(100 * value)} %`}
        choose={(value) => conversation.setVolume(value)}
      />
    </fieldset>
  );
}

function Voice() {
  const { conversation, about, choices } = usePage();
  const words = useWords();
  const chosen: Chosen = useConversation((state) => state.settings);
  const current = useConversation((state) => state.currentVoiceName);
  // These are a session's own, unlike the voice, which is kept for the next.
  const nobody = useConversation((state) => state.currentSessionId === null);
  const emotion = useConversation((state) => state.emotion?.name ?? "");
  const models = useConversation((state) => state.models);
  const choice: readonly [string, string] = ["", words("serverChoice")];
  const named = (names: readonly string[]) => names.map((name) => [name, name] as const);
  // What was changed in this session cannot be changed back to what nobody knows the name of.
  const changed = (value: string, names: readonly string[]) =>
    value === "" ? [choice, ...named(names)] : named(names);
  const voices = named([...new Set([...choices.voices, chosen.voice])].filter(Boolean));
  return (
    <fieldset>
      {choices.voices.length > 0 && (
        <Select
          label="voice"
          value={chosen.voice}
          options={[choice, ...voices]}
          choose={(name) => conversation.changeVoice(name)}
        />
      )}
      {chosen.voice === "" && current !== null && <p class="hint">{words("nextConversation")}</p>}
      <Slider
        label="speed"
        value={chosen.speed}
        min={0.5}
        max={1.5}
        step={0.1}
        show={(value) => `${value.toFixed(1)} ×`}
        choose={(speed) => conversation.changeTTSSpeed(speed)}
      />
      {(about.emotions?.length ?? 0) > 0 && (
        <Select
          label="emotion"
          value={emotion}
          options={changed(emotion, about.emotions ?? [])}
          disabled={nobody}
          choose={(name) => conversation.changeEmotion(name)}
        />
      )}
      {choices.ttsModels.length > 1 && (
        <Select
          label="ttsModel"
          value={models.tts}
          options={changed(models.tts, choices.ttsModels)}
          disabled={nobody}
          choose={(name) => conversation.changeTTSModel(name)}
        />
      )}
      {choices.llmModels.length > 1 && (
        <Select
          label="llmModel"
          value={models.llm}
          options={changed(models.llm, choices.llmModels)}
          disabled={nobody}
          choose={(name) => conversation.changeLLMModel(name)}
        />
      )}
    </fieldset>
  );
}

function Look() {
  const { preferences, prefer } = usePage();
  const words = useWords();
  return (
    <fieldset>
      <Select
        label="language"
        value={preferences.language}
        options={Object.entries(LANGUAGES)}
        choose={(language) => prefer({ language: language as Language })}
      />
      <Select
        label="theme"
        value={preferences.theme}
        options={THEMES.map((theme) => [theme, words(`theme_${theme}`)] as const)}
        choose={(theme) => prefer({ theme: theme as Theme })}
      />
    </fieldset>
  );
}

function Copies() {
  const { about } = usePage();
  const words = useWords();
  const session = useConversation((state) => state.currentSessionId);
  const offered = Object.values(about.downloads ?? {}).some(Boolean);
  const [sizes, setSizes] = useState<Readonly<Record<string, number>>>({});
  useEffect(() => {
    if (session !== null && offered) kept(session).then(setSizes, console.warn);
  }, [session, offered]);
  if (session === null || !offered) return null;
  const files = (["recording", "log"] as const).filter((kind) => sizes[kind]);
  return (
    <fieldset>
      <legend>{words("downloads")}</legend>
      <p class="hint">{words(files.length > 0 ? "downloadsHint" : "downloadsNone")}</p>
      {files.map((kind) => (
        <a key={kind} class="button" href={`./api/sessions/${session}/${kind}`} download>
          {words(kind)}
        </a>
      ))}
    </fieldset>
  );
}

function AboutServer() {
  const { about } = usePage();
  const words = useWords();
  const detector = useConversation((state) => state.detector);
  return (
    <footer class="hint">
      <p>{words(`detector_${detector}`)}</p>
      <p>
        {words("about", { version: about.version })} · <a href="./status">{words("status")}</a>
      </p>
    </footer>
  );
}
