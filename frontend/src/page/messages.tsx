// Both sides' words: what was heard, what is still to come, and what was cut off.

import { Component } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

import type { Message } from "../state.ts";
import { useConversation, useWords } from "./hooks.ts";
import type { Words } from "./i18n.ts";
import { Wrench } from "./icons.tsx";
import { worded } from "./problems.ts";
import { parts } from "./waterfall.ts";

/**
 * Not a live region: a screen reader's voice would be heard by the microphone and interrupt the
 * agent, which speaks aloud itself. It is a region that can be reached and read.
 */
export function Messages() {
  const messages = useConversation((state) => state.messages);
  const words = useWords();
  const list = useFollowing(messages);
  return (
    <div class="messages" role="region" aria-label={words("conversation")} tabIndex={0} ref={list}>
      <ol>
        {messages.map(
          (message) =>
            message.kind !== "queue" && <Line key={message.id} message={message} words={words} />,
        )}
      </ol>
    </div>
  );
}

/** Keeps the end in sight, unless the reader has scrolled up. */
function useFollowing(messages: readonly Message[]) {
  const list = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  useLayoutEffect(() => {
    const element = list.current;
    if (element === null) return undefined;
    let top = element.scrollTop;
    // Our own scrolling is told of a frame later, when there may be more: only a reader goes up.
    const scrolled = () => {
      const left = element.scrollHeight - element.scrollTop - element.clientHeight;
      if (left < 60) following.current = true;
      else if (element.scrollTop < top) following.current = false;
      top = element.scrollTop;
    };
    element.addEventListener("scroll", scrolled, { passive: true });
    const resized = new ResizeObserver(() => follow(list.current, following.current));
    resized.observe(element);
    return () => {
      element.removeEventListener("scroll", scrolled);
      resized.disconnect();
    };
  }, []);
  useLayoutEffect(() => follow(list.current, following.current), [messages]);
  return list;
}

function follow(element: HTMLElement | null, following: boolean): void {
  if (following && element !== null) element.scrollTop = element.scrollHeight;
}

interface LineProps {
  readonly message: Message;
  readonly words: Words;
}

/** A message is never changed, so the same one looks the same. */
class Line extends Component<LineProps> {
  override shouldComponentUpdate(next: LineProps): boolean {
    return next.message !== this.props.message || next.words !== this.props.words;
  }

  override render({ message, words }: LineProps) {
    if (message.role === "info") return <Info message={message} words={words} />;
    return message.role === "user" ? (
      <li class={message.final ? "said user" : "said user unsure"}>
        <span class="who">{words("you")}</span>
        <p>{message.content}</p>
      </li>
    ) : (
      <Reply message={message} words={words} />
    );
  }
}

function Reply({ message, words }: LineProps) {
  const { heard, rest } = parts(message);
  return (
    <li class="said agent" data-heard={message.heardChars}>
      <span class="who">{words("agent")}</span>
      <p>
        <span class="heard">{heard}</span>
        {rest && !message.interrupted && (
          <>
            <span class="unseen"> {words(message.unspoken ? "notSpoken" : "stillToCome")} </span>
            <span class={message.unspoken ? "unspoken" : "coming"}>{rest}</span>
          </>
        )}
        {message.interrupted && (
          <>
            <span class="cut">{words("interruptedHere")}</span>
            {rest && <span class="unseen"> {words("notHeard")} </span>}
            <del>{rest.trim()}</del>
          </>
        )}
      </p>
    </li>
  );
}

function Info({ message, words }: LineProps) {
  const { tool, problem } = message;
  return (
    <li class={`info ${message.kind ?? "notice"}`}>
      {tool ? (
        <span>
          <Wrench />
          {words("toolCall", { name: tool.name })} <code>{inOneLine(tool.args)}</code>
        </span>
      ) : (
        problem ? worded(problem, words) : message.content
      )}
    </li>
  );
}

/** `name=British, speed=1.2` */
export function inOneLine(values: Readonly<Record<string, unknown>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(", ");
}
