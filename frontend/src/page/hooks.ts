// How the components see the conversation, the words and the server.

import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";

import type { Conversation } from "../conversation.ts";
import type { State } from "../state.ts";
import type { About, Choices } from "./about.ts";
import type { Language, Words } from "./i18n.ts";
import type { Preferences } from "./preferences.ts";

export interface Page {
  readonly conversation: Conversation;
  readonly about: About;
  readonly choices: Choices;
  readonly preferences: Preferences;
  readonly words: Words;
  readonly language: Language;
  prefer(change: Partial<Omit<Preferences, "settings">>): void;
  /** Problems up to this time (wall clock, ms) have been seen. */
  readonly dismissed: number;
  dismiss(at: number): void;
}

export const PageContext = createContext<Page | null>(null);

export function usePage(): Page {
  const page = useContext(PageContext);
  if (page === null) throw new Error("this component stands outside of the page");
  return page;
}

export const useWords = (): Words => usePage().words;

/** A part of the state; the component is drawn anew only when that part has changed. */
export function useConversation<T>(select: (state: State) => T): T {
  const { conversation } = usePage();
  const [part, setPart] = useState(() => select(conversation.state));
  useEffect(
    () => conversation.subscribe((state) => setPart(() => select(state))),
    [conversation],
  );
  return part;
}

/** The time, ms, told anew every `period` ms while `running`. */
export function useNow(period: number, running: boolean): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!running) return undefined;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), period);
    return () => clearInterval(timer);
  }, [period, running]);
  return now;
}
