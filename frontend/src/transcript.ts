// What was said, message by message, and how much of it was heard.

import type { Message, Problem } from "./state.ts";

type Kind = NonNullable<Message["kind"]>;

const WORD = /[\p{L}\p{N}]/u; // what has none, as a smile, is not there to be spoken

/**
 * One message for each role of a turn: later text replaces it.
 *
 * Turns are looked for in the current session only, since every session counts from 1.
 */
export class Transcript {
  readonly #now: () => number;
  #messages: readonly Message[] = [];
  #next = 1;
  #session = 1; // the id of its first message

  /** `now` is the wall clock, ms. */
  constructor(now: () => number) {
    this.#now = now;
  }

  get messages(): readonly Message[] {
    return this.#messages;
  }

  user(content: string, turnId: number, final: boolean): void {
    const change = { content, final, heardChars: content.length };
    if (this.#change("user", turnId, change)) return;
    const message = this.#made("user", turnId, change);
    const answer = this.#find("assistant", turnId);
    this.#insert(message, answer < 0 ? this.#messages.length : answer);
  }

  assistant(content: string, turnId: number, final: boolean): void {
    const at = this.#find("assistant", turnId);
    if (at < 0) {
      this.cutOff(turnId);
      const message = this.#made("assistant", turnId, { content, final });
      return this.#insert(message, this.#messages.length);
    }
    const heardChars = Math.min((this.#messages[at] as Message).heardChars, content.length);
    this.#replace(at, { content, final, heardChars });
  }

  /** A line that nobody said; of a tool, above the reply that it belongs to. */
  info(content: string, kind: Kind, tool?: NonNullable<Message["tool"]>): void {
    this.#inform({ content, kind, ...(tool && { tool }) });
  }

  /** A line that tells of a problem. */
  problem(content: string, kind: Kind, problem: Problem): void {
    this.#inform({ content, kind, problem });
  }

  #inform(line: Partial<Message>): void {
    const message = this.#made("info", 0, { ...line, final: true });
    const last = this.#messages.at(-1);
    const above = line.tool && last?.role === "assistant" && !last.final ? 1 : 0;
    this.#insert(message, this.#messages.length - above);
  }

  /** So many characters (code points) of the reply have been heard, or all of it. */
  heard(turnId: number, codePoints: number): void {
    const at = this.#find("assistant", turnId);
    const message = this.#messages[at];
    if (!message) return;
    const heardChars = Math.max(message.heardChars, units(message.content, codePoints));
    this.#put(at, { ...message, heardChars });
  }

  /** No more of the reply will sound; what was cut off before stays cut off. */
  silent(turnId: number): void {
    const at = this.#find("assistant", turnId);
    const message = this.#messages[at];
    if (!message || message.interrupted) return;
    const { content, heardChars } = message;
    if (WORD.test(content.slice(heardChars))) this.#put(at, { ...message, unspoken: true });
    else this.#put(at, { ...message, heardChars: content.length });
  }

  /** The reply sounds after all, having been taken for cut off or silent. */
  goesOn(turnId: number): void {
    const at = this.#find("assistant", turnId);
    const message = this.#messages[at];
    if (!message?.interrupted && !message?.unspoken) return;
    const { interrupted: _, unspoken: __, ...rest } = message;
    this.#put(at, rest);
  }

  /** Another turn has begun: what was not heard of the replies before never will be. */
  cutOff(before: number): void {
    this.#messages = this.#messages.map((message) => {
      const { id, role, turnId, content, heardChars, unspoken } = message;
      const old = id >= this.#session && role === "assistant" && turnId < before;
      const open = old && heardChars < content.length && !unspoken;
      return open ? { ...message, interrupted: true } : message;
    });
  }

  /** The user's last words were taken for nothing. */
  dismiss(): void {
    const at = this.#messages.findLastIndex(({ role }) => role === "user");
    const message = this.#messages[at];
    if (message && !message.final && message.id >= this.#session) {
      this.#messages = this.#messages.filter((each) => each !== message);
    }
  }

  /** One running transcript for all that the user has said in this session. */
  refine(content: string): void {
    const own = ({ id, role }: Message) => role === "user" && id >= this.#session;
    const last = this.#messages.findLast(own);
    const change = { content, heardChars: content.length };
    if (!last) return this.#insert(this.#made("user", 0, change), this.#messages.length);
    this.#messages = this.#messages
      .filter((message) => message === last || !own(message))
      .map((message) => (message === last ? { ...message, ...change } : message));
  }

  /** The messages stay; nothing is added to those of the session before. */
  newSession(): void {
    this.cutOff(Infinity);
    this.#messages = this.#messages.map((message) =>
      message.final ? message : { ...message, final: true },
    );
    this.#session = this.#next;
  }

  clear(): void {
    this.#messages = [];
  }

  #made(role: Message["role"], turnId: number, rest: Partial<Message>): Message {
    const at = this.#now();
    const base = { id: this.#next++, role, turnId, content: "", final: false, heardChars: 0, at };
    return { ...base, ...rest };
  }

  #find(role: Message["role"], turnId: number): number {
    return this.#messages.findLastIndex(
      (each) => each.role === role && each.turnId === turnId && each.id >= this.#session,
    );
  }

  #change(role: Message["role"], turnId: number, change: Partial<Message>): boolean {
    const at = this.#find(role, turnId);
    if (at >= 0) this.#replace(at, change);
    return at >= 0;
  }

  #replace(at: number, change: Partial<Message>): void {
    this.#put(at, { ...(this.#messages[at] as Message), ...change });
  }

  #put(at: number, message: Message): void {
    this.#messages = this.#messages.with(at, message);
  }

  #insert(message: Message, at: number): void {
    this.#messages = this.#messages.toSpliced(at, 0, message);
  }
}

/** Where a count of code points ends in JavaScript's UTF-16 units. */
function units(text: string, codePoints: number): number {
  if (codePoints >= text.length) return text.length;
  let end = 0;
  for (let left = codePoints; left > 0 && end < text.length; left--) {
    end += (text.codePointAt(end) as number) > 0xffff ? 2 : 1;
  }
  return end;
}
