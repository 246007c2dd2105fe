// A first visit: what this is, and what can be said.

import { usePage, useWords } from "./hooks.ts";
import { languageName, type Key } from "./i18n.ts";
import { understood } from "./about.ts";

/** What the rules of the embedded agent answer, in the one language that it understands. */
const SAYINGS: readonly (readonly [string, Key, Key?])[] = [
  ["What time is it?", "what_time"],
  ["What is seven times eight?", "what_sum"],
  ["Count to twenty", "what_count", "what_count_hint"],
  ["Use the British voice", "what_voice"],
  ["Speak a bit faster", "what_speed"],
  ["What can you do?", "what_can"],
];

export function Welcome() {
  const { about, language } = usePage();
  const words = useWords();
  const known = understood(about);
  const names = known.map((tag) => languageName(tag, language)).join(", ");
  const onlyEnglish = known.length === 1 && known[0] === "en";
  const embedded = about.models?.["llm_agent"] === "RuleAgent";
  return (
    <section class="welcome">
      <h1>{words("title")}</h1>
      <p class="lead">{words("lead")}</p>
      {known.length > 0 && (
        <p class="understands">
          {onlyEnglish ? words("understandsOnly") : words("understands", { languages: names })}{" "}
          {embedded && words("noLanguageModel")}
        </p>
      )}
      {embedded && <Sayings />}
      <p class="hint">{words("privacy", { host: location.host })}</p>
    </section>
  );
}

function Sayings() {
  const { language } = usePage();
  const words = useWords();
  return (
    <>
      <h2>{words("tryThese")}</h2>
      <ul class="sayings">
        {SAYINGS.map(([english, meaning, hint]) => (
          <li key={english}>
            <q lang="en">{english}</q>
            {language !== "en" && <span>{words(meaning)}</span>}
            {hint && <span>{words(hint)}</span>}
          </li>
        ))}
      </ul>
    </>
  );
}
