import { ageMs } from './strip.js';

/**
 * How old the picture is that is shown: with the strip by the machine's own time, without it by when
 * its last packet came in. It grows while no new picture comes. Pure: times go in.
 *
 * @typedef {import('./clock.js').MachineClock} MachineClock
 */
export class PictureAge {
  #clock;
  /** When the newest picture was taken or came in, on this page's clock. @type {{takenAt: number, isExact: boolean} | null} */
  #newest = null;

  /** @param {MachineClock} clock */
  constructor(clock) {
    this.#clock = clock;
  }

  /** There is no picture any more. */
  reset() {
    this.#newest = null;
  }

  /**
   * A picture is shown.
   *
   * @param {number} now on the clock of `performance.now`
   * @param {number | null} stripMs what its strip says
   * @param {number | undefined} receivedAt when its last packet came in, where the browser says so
   * @param {number | null} roundTripMs
   */
  shown(now, stripMs, receivedAt, roundTripMs) {
    const machine = stripMs === null ? null : this.#clock.at(now, roundTripMs);
    if (stripMs !== null && machine !== null) {
      this.#newest = { takenAt: now - ageMs(stripMs, machine), isExact: true };
      return;
    }
    const received = receivedAt !== undefined && receivedAt <= now ? receivedAt : now;
    this.#newest = { takenAt: received - (roundTripMs ?? 0) / 2, isExact: false };
  }

  /**
   * @param {number} now
   * @returns {number | null} milliseconds; `null` without a picture
   */
  at(now) {
    return this.#newest === null ? null : Math.max(0, now - this.#newest.takenAt);
  }

  /** Whether it counts from when the picture was taken, and not only from when it came in. */
  get isExact() {
    return this.#newest?.isExact === true;
  }
}
