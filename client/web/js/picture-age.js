import { JUMP_MS } from './clock.js';
import { ageMs } from './strip.js';

/** No picture is of the future; this much is what the difference of the clocks may be wrong by. */
const AHEAD_MS = 250;

/**
 * How old the picture is that is shown: with the strip by the machine's own time, without it by when
 * its last packet came in. It grows while no new picture comes. Pure: times go in.
 *
 * When the machine's clock is set, strips and reports of both times come mixed for a moment. Then
 * strips do not count: by them a picture could be of the future, and would never grow old.
 *
 * @typedef {import('./clock.js').MachineClock} MachineClock
 */
export class PictureAge {
  #clock;
  /** When the newest picture was taken or came in, on this page's clock. @type {{takenAt: number, isExact: boolean} | null} */
  #newest = null;
  /** The last strip. @type {number | null} */
  #strip = null;
  /** A strip went back at this time: the machine's clock was set. @type {number | null} */
  #wentBackAt = null;

  /** @param {MachineClock} clock */
  constructor(clock) {
    this.#clock = clock;
  }

  /** There is no picture any more. */
  reset() {
    this.#newest = null;
    this.#strip = null;
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
    const age = stripMs === null ? null : this.#byStrip(now, stripMs, roundTripMs);
    if (age !== null) {
      this.#newest = { takenAt: now - age, isExact: true };
      return;
    }
    const received = receivedAt !== undefined && receivedAt <= now ? receivedAt : now;
    this.#newest = { takenAt: received - (roundTripMs ?? 0) / 2, isExact: false };
  }

  /**
   * @param {number} now
   * @param {number} stripMs
   * @param {number | null} roundTripMs
   * @returns {number | null} `null` where the strip and the machine's clock are not of one time
   */
  #byStrip(now, stripMs, roundTripMs) {
    if (this.#strip !== null && ageMs(stripMs, this.#strip) > JUMP_MS) this.#wentBackAt = now;
    this.#strip = stripMs;
    const isMixed = this.#clock.isMixed(now) || (this.#wentBackAt !== null && now - this.#wentBackAt < JUMP_MS);
    const machine = this.#clock.at(now, roundTripMs);
    if (machine === null || isMixed) return null;
    const age = ageMs(stripMs, machine);
    return age < -AHEAD_MS ? null : Math.max(0, age);
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
