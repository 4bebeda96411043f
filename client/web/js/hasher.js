/**
 * BLAKE3 of one file, computed in a worker of its own so that the page stays smooth.
 */

/** Bytes that may wait in the worker before `update` holds the caller up. */
const MAX_WAITING_BYTES = 8 * 1024 * 1024;

export class Hasher {
  #worker = new Worker(new URL('./hash-worker.js', import.meta.url), { type: 'module' });
  #waiting = 0;
  /** @type {{resolve: (hex: string) => void, reject: (error: Error) => void}[]} */
  #asked = [];
  /** @type {(() => void)[]} */
  #held = [];
  #failed = false;

  constructor() {
    this.#worker.addEventListener('message', ({ data }) => {
      if (typeof data === 'string') this.#asked.shift()?.resolve(data);
      else this.#waiting -= data;
      if (this.#waiting <= MAX_WAITING_BYTES) this.#letGo();
    });
    this.#worker.addEventListener('error', () => {
      this.#failed = true;
      for (const { reject } of this.#asked) reject(new Error('hashing failed'));
      this.#asked = [];
      this.#letGo();
    });
  }

  /**
   * Takes the next bytes over: the caller's buffer is empty afterwards.
   *
   * @param {Uint8Array<ArrayBuffer>} bytes a whole buffer
   */
  async update(bytes) {
    this.#waiting += bytes.length;
    this.#worker.postMessage(bytes, [bytes.buffer]);
    if (this.#waiting > MAX_WAITING_BYTES && !this.#failed) {
      await /** @type {Promise<void>} */ (new Promise((resolve) => this.#held.push(resolve)));
    }
  }

  /** Starts over with nothing. */
  reset() {
    this.#worker.postMessage('reset');
  }

  /** Of everything so far, in hexadecimal; more may follow. @returns {Promise<string>} */
  digest() {
    if (this.#failed) return Promise.reject(new Error('hashing failed'));
    return new Promise((resolve, reject) => {
      this.#asked.push({ resolve, reject });
      this.#worker.postMessage('digest');
    });
  }

  close() {
    this.#worker.terminate();
    this.#letGo();
  }

  #letGo() {
    const held = this.#held;
    this.#held = [];
    for (const resolve of held) resolve();
  }
}
