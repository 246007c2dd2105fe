// Time, so that tests can bring their own.

export interface Clock {
  /** Milliseconds that only grow, for differences. */
  now(): number;
  /** Milliseconds since 1970, for other machines. */
  wall(): number;
  /** Calls back once, unless the function returned is called before. */
  after(ms: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};
