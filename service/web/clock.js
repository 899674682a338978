/**
 * What the time is at the service, which is where holds end.
 *
 * A reply's `Date` says the second in which it was made. That was some time between sending and receiving, so each
 * reply bounds the difference between the two clocks from both sides; together they soon give it to a few
 * hundredths of a second, although `Date` has only seconds.
 */

const SECOND_MS = 1000;

class Clock {
  #least = -Infinity;
  #most = Infinity;

  /** Learn from a reply: its `Date`, and when it was asked for and received by the clock of this machine. */
  note(date, sent, received) {
    const made = Date.parse(date ?? "");
    if (Number.isNaN(made)) return;
    const least = Math.max(this.#least, made - received);
    const most = Math.min(this.#most, made + SECOND_MS - sent);
    // Bounds that contradict each other: somebody has set one of the clocks, and what was known is void.
    const still = least <= most;
    this.#least = still ? least : made - received;
    this.#most = still ? most : made + SECOND_MS - sent;
  }

  /** Return the time at the service, in milliseconds since the epoch. */
  now() {
    return Date.now() + (Number.isFinite(this.#least) ? (this.#least + this.#most) / 2 : 0);
  }
}

export { Clock };
export const clock = new Clock();
