// What a visitor chose, kept for the next visit.

import { initialState, type Settings } from "../state.ts";
import { LANGUAGES, preferred, type Language } from "./i18n.ts";

export const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export interface Preferences {
  readonly language: Language;
  readonly theme: Theme;
  readonly settings: Settings;
}

/** As much of a Storage as is needed. */
export type Store = Pick<Storage, "getItem" | "setItem">;

/** The browser's store, or one that forgets where the visitor allows none. */
export function storage(): Store {
  try {
    return localStorage;
  } catch {
    return { getItem: () => null, setItem: () => undefined };
  }
}

const KEY = "xtalk.preferences";

/** What was kept, with a default for all that is missing or cannot be. */
export function load(store: Store, languages: readonly string[]): Preferences {
  const kept = parsed(store);
  return {
    language:
      typeof kept.language === "string" && kept.language in LANGUAGES
        ? (kept.language as Language)
        : preferred(languages),
    theme: THEMES.find((theme) => theme === kept.theme) ?? "auto",
    settings: settings(kept.settings),
  };
}

export function save(store: Store, preferences: Preferences): void {
  try {
    store.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // A full or forbidden store: the choice holds until the page is left.
  }
}

function parsed(store: Store): Partial<Record<keyof Preferences, unknown>> {
  try {
    const kept: unknown = JSON.parse(store.getItem(KEY) ?? "{}");
    return typeof kept === "object" && kept !== null ? kept : {};
  } catch {
    return {};
  }
}

/** Each setting of the right type, the others as if they had never been changed. */
function settings(kept: unknown): Settings {
  const given = (typeof kept === "object" && kept !== null ? kept : {}) as Record<string, unknown>;
  const known = Object.entries(initialState.settings).map(([name, normal]) => [
    name,
    typeof given[name] === typeof normal ? given[name] : normal,
  ]);
  return Object.fromEntries(known) as Settings;
}
