/**
 * What time it is on the machine, without comparing its clock with this one's. Every report says
 * when it was made; the one that came quickest says most about the difference, and half a round
 * trip is what even that one took. Pure: times go in. The clock here has to be one that only goes
 * forward (`performance.now`), so setting this computer's clock changes nothing.
 */

/** The quickest report of the last seconds counts: clocks drift apart slowly. */
const SECONDS = 10;

/** A difference that jumps this far means that the machine's clock was set. */
export const JUMP_MS = 2_000;

/** For so long after that, what was stamped before and what was stamped after it come mixed. */
const MIXED_MS = 2_000;

export class MachineClock {
  /** The largest difference seen in each second, newest last. @type {{second: number, ahead: number}[]} */
  #best = [];
  /** When it was noticed that the machine's clock was set. @type {number | null} */
  #setAt = null;

  /** Another machine, or the same one started anew. */
  reset() {
    this.#best = [];
  }

  /**
   * A report was heard.
   *
   * @param {number} now here
   * @param {number} timeMs there, when it was made
   */
  heard(now, timeMs) {
    const ahead = timeMs - now;
    const known = this.#ahead;
    if (known !== null && Math.abs(ahead - known) > JUMP_MS) {
      this.reset();
      this.#setAt = now;
    }
    const second = Math.floor(now / 1000);
    const last = this.#best.at(-1);
    if (last?.second === second) last.ahead = Math.max(last.ahead, ahead);
    else this.#best.push({ second, ahead });
    while (second - (this.#best[0]?.second ?? second) >= SECONDS) this.#best.shift();
  }

  /**
   * @param {number} now here
   * @param {number | null} roundTripMs between here and there, if it was measured
   * @returns {number | null} the machine's Unix time in ms; `null` before anything was heard
   */
  at(now, roundTripMs) {
    const ahead = this.#ahead;
    return ahead === null ? null : now + ahead + (roundTripMs ?? 0) / 2;
  }

  /** Whether stamps of a moment ago may be of another time than this clock's. @param {number} now */
  isMixed(now) {
    return this.#setAt !== null && now - this.#setAt < MIXED_MS;
  }

  get #ahead() {
    return this.#best.length === 0 ? null : Math.max(...this.#best.map(({ ahead }) => ahead));
  }
}
