/**
 * How good the picture is, from what is known of each frame shown: rate, age, frames missed and
 * shown twice. Pure: time and frames go in.
 */

/** Ages kept, about ten seconds. */
const MAX_AGES = 300;

/** The frame rate is taken over this long. */
const RATE_MS = 2_000;

/** The picture stands still after this long without a frame. At 30 frames a second that is thirty
 * in a row, and still before a machine at walking pace is a step further. */
export const FROZEN_MS = 1_000;

/** Ages beyond this mean that the two clocks disagree, not that the picture is old. */
const PLAUSIBLE_MS = 5_000;

export class Quality {
  /** Frames shown since the connection was made. */
  frames = 0;
  /** Frames whose strip could be read. */
  strips = 0;
  /** Frames that the machine rendered and this page never showed. */
  missed = 0;
  /** Frames shown again. */
  repeats = 0;
  /** Ages of the last frames in ms, oldest first. @type {number[]} */
  ages = [];
  /** @type {number[]} */
  #times = [];
  /** @type {number | null} */
  #lastFrame = null;
  #lastAt = -Infinity;

  /**
   * A frame was shown.
   *
   * @param {number} now milliseconds
   * @param {{frame: number, ageMs: number} | null} strip what its strip says, if it has one
   */
  add(now, strip) {
    this.frames += 1;
    this.#lastAt = now;
    this.#times.push(now);
    while (now - (this.#times[0] ?? now) > RATE_MS) this.#times.shift();
    if (!strip) return;
    this.strips += 1;
    this.ages.push(strip.ageMs);
    if (this.ages.length > MAX_AGES) this.ages.shift();
    if (this.#lastFrame !== null) {
      const step = (strip.frame - this.#lastFrame) & 0xffff;
      if (step === 0) this.repeats += 1;
      // A jump of more than half the numbers is a machine that started anew.
      else if (step < 0x8000) this.missed += step - 1;
    }
    this.#lastFrame = strip.frame;
  }

  /** Frames a second. @param {number} now */
  fps(now) {
    const first = this.#times[0];
    const last = this.#times.at(-1);
    if (first === undefined || last === undefined || now - last > RATE_MS || last === first) return 0;
    return ((this.#times.length - 1) * 1000) / (last - first);
  }

  /** The middle of the last second's ages; `null` without strips, or when the clocks disagree. */
  get age() {
    const recent = this.ages.slice(-30).sort((a, b) => a - b);
    const middle = recent[recent.length >> 1];
    return middle === undefined || Math.abs(middle) > PLAUSIBLE_MS ? null : middle;
  }

  /** Whether a picture that had been there stands still. @param {number} now */
  isFrozen(now) {
    return this.frames > 0 && now - this.#lastAt > FROZEN_MS;
  }
}
