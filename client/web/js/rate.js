/** Bytes a second over the last few seconds. */

const WINDOW_MS = 3_000;

export class Rate {
  /** @type {{at: number, bytes: number}[]} */
  #points = [];

  /**
   * @param {number} at milliseconds
   * @param {number} bytes so far, in all
   */
  add(at, bytes) {
    const last = this.#points.at(-1);
    if (last && bytes < last.bytes) this.#points = [];
    if (!last || at - last.at >= 100) this.#points.push({ at, bytes });
    while (this.#points.length > 2 && at - (this.#points[0]?.at ?? at) > WINDOW_MS) {
      this.#points.shift();
    }
  }

  /** `null` while too little is known. */
  get perSecond() {
    const first = this.#points[0];
    const last = this.#points.at(-1);
    if (!first || !last || last.at - first.at < 300) return null;
    return ((last.bytes - first.bytes) * 1000) / (last.at - first.at);
  }
}
