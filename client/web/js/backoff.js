/** Waiting times between attempts: they double, and are drawn at random so that many pages do not
 * come back to a restarted server in the same instant. */
export class Backoff {
  #attempt = 0;
  #first;
  #longest;
  #random;

  /**
   * @param {object} [options]
   * @param {number} [options.first] milliseconds, around which the first wait lies
   * @param {number} [options.longest] milliseconds
   * @param {() => number} [options.random] from 0 up to 1
   */
  constructor({ first = 500, longest = 15_000, random = Math.random } = {}) {
    this.#first = first;
    this.#longest = longest;
    this.#random = random;
  }

  /** How often in a row it went wrong. */
  get attempt() {
    return this.#attempt;
  }

  /** Milliseconds to wait before the next attempt. */
  next() {
    const full = Math.min(this.#longest, this.#first * 2 ** Math.min(this.#attempt, 16));
    this.#attempt += 1;
    return full * (0.5 + this.#random() / 2);
  }

  /** It worked. */
  reset() {
    this.#attempt = 0;
  }
}
