// The page as a whole.

import { useEffect, useLayoutEffect, useMemo, useState } from "preact/hooks";

import type { Conversation } from "../conversation.ts";
import { asked, choices as askChoices, type About, type Choices } from "./about.ts";
import { Dock } from "./dock.tsx";
import { PageContext, useConversation, useWords, type Page } from "./hooks.ts";
import { words as wordsOf } from "./i18n.ts";
import { Sliders, Stairs, Wave } from "./icons.tsx";
import { Decisions, Insights } from "./insights.tsx";
import { Messages } from "./messages.tsx";
import { Insecure, Notices } from "./notices.tsx";
import { save, storage, type Preferences } from "./preferences.ts";
import { SettingsDialog } from "./settings.tsx";
import { Timing } from "./timing.tsx";
import { Welcome } from "./welcome.tsx";

interface AppProps {
  readonly conversation: Conversation;
  readonly written: About;
  readonly kept: Preferences;
}

export function App({ conversation, written, kept }: AppProps) {
  const { about, choices } = useServer(conversation, written);
  const [preferences, setPreferences] = useState(kept);
  const [dismissed, dismiss] = useState(0);
  useEffect(
    () =>
      conversation.subscribe(({ settings }) =>
        setPreferences((old) => (old.settings === settings ? old : { ...old, settings })),
      ),
    [conversation],
  );
  // At once: the page may be left before the next frame.
  useLayoutEffect(() => {
    save(storage(), preferences);
    document.documentElement.lang = preferences.language === "zh" ? "zh-Hans" : "en";
    document.documentElement.dataset["theme"] = preferences.theme;
  }, [preferences]);
  const { language } = preferences;
  const words = useMemo(() => wordsOf(language), [language]);
  const page: Page = {
    ...{ conversation, about, choices, preferences, words, language, dismissed, dismiss },
    prefer: (change) => setPreferences((old) => ({ ...old, ...change })),
  };
  return (
    <PageContext.Provider value={page}>
      <Whole />
    </PageContext.Provider>
  );
}

const NO_CHOICES: Choices = { voices: [], ttsModels: [], llmModels: [] };

/** What the server tells of itself: asked again when a session begins before it was ready. */
function useServer(conversation: Conversation, written: About) {
  const [about, setAbout] = useState(written);
  const [choices, setChoices] = useState(NO_CHOICES);
  const ready = about.status === "ok";
  useEffect(() => {
    if (ready) {
      askChoices().then(setChoices, console.warn);
      return undefined;
    }
    return conversation.subscribe(({ currentSessionId }) => {
      if (currentSessionId !== null) asked().then(setAbout, console.warn);
    });
  }, [ready, conversation]);
  return { about, choices };
}

function Whole() {
  const words = useWords();
  const empty = useConversation((state) => state.messages.every(({ role }) => role === "info"));
  const [open, setOpen] = useState<"settings" | "details" | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const secure = window.isSecureContext;
  return (
    <>
      <Header open={open} setOpen={setOpen} />
      <div class={open === "details" ? "body details-open" : "body"}>
        <main>
          <Notices own={failure} dismissOwn={() => setFailure(null)} />
          {!secure && <Insecure />}
          {empty ? <Welcome /> : <Messages />}
          <Dock usable={secure} fail={setFailure} />
        </main>
        <aside id="details" aria-label={words("details")} tabIndex={-1}>
          <Timing />
          <Decisions />
          <Insights />
        </aside>
      </div>
      <SettingsDialog open={open === "settings"} close={() => setOpen(null)} />
    </>
  );
}

interface HeaderProps {
  readonly open: string | null;
  setOpen(open: "settings" | "details" | null): void;
}

function Header({ open, setOpen }: HeaderProps) {
  const words = useWords();
  return (
    <header class="top">
      <a class="brand" href="./">
        <Wave />
        xtalk
      </a>
      <Connection />
      <button
        type="button"
        class="plain show-details"
        aria-expanded={open === "details"}
        aria-controls="details"
        onClick={() => setOpen(open === "details" ? null : "details")}
        aria-label={words("details")}
        title={words("details")}
      >
        <Stairs />
      </button>
      <button
        type="button"
        class="plain"
        id="settings"
        onClick={() => setOpen("settings")}
        aria-label={words("settings")}
        title={words("settings")}
      >
        <Sliders />
      </button>
    </header>
  );
}

function Connection() {
  const words = useWords();
  const connection = useConversation((state) => state.connection);
  return (
    <p class={`connection ${connection}`} role="status">
      {words(`connection_${connection}`)}
    </p>
  );
}
