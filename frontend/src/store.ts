// One value, replaced and never mutated, and those who want to hear of it.

export class Store<T extends object> {
  #value: T;
  #told = true;
  readonly #subscribers = new Set<(value: T) => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  /** Subscribers hear of it when the current piece of work is done, once for all its changes. */
  set(change: Partial<T>): void {
    const keys = Object.keys(change) as (keyof T)[];
    if (keys.every((key) => Object.is(change[key], this.#value[key]))) return;
    this.#value = Object.freeze({ ...this.#value, ...change });
    if (!this.#told) return;
    this.#told = false;
    queueMicrotask(() => this.#tell());
  }

  /** Called at once and after every change; returns what ends it. */
  subscribe(subscriber: (value: T) => void): () => void {
    const own = (value: T) => subscriber(value); // so that the same function may come twice
    this.#subscribers.add(own);
    this.#call(own);
    return () => this.#subscribers.delete(own);
  }

  #tell(): void {
    this.#told = true;
    for (const subscriber of [...this.#subscribers]) this.#call(subscriber);
  }

  #call(subscriber: (value: T) => void): void {
    isolated(() => subscriber(this.#value));
  }
}

/** Run what a page has given: its failure is reported like an uncaught one, and harms no other. */
export function isolated(run: () => void): void {
  try {
    run();
  } catch (error) {
    if (typeof reportError === "function") reportError(error);
    else console.error(error);
  }
}
