/**
 * BLAKE3 of files, computed in a worker so that the page stays smooth. One worker serves all
 * files; it is loaded early, because the server it comes from may be away when a file is sent.
 */

/** Bytes of one file that may wait in the worker before `update` holds the caller up. */
const MAX_WAITING_BYTES = 8 * 1024 * 1024;

const FAILED = 'The part of this page that checks files could not be loaded. Reload the page and try again.';

/** @type {Worker | null} */
let worker = null;
let lastId = 0;
/** @type {Map<number, Hasher>} */
const open = new Map();

/** Loads the worker, if it is not there yet. */
export function prepareHasher() {
  if (worker) return worker;
  const started = new Worker(new URL('./hash-worker.js', import.meta.url), { type: 'module' });
  started.addEventListener('message', ({ data }) => open.get(data.id)?.heard(data));
  started.addEventListener('error', () => {
    worker = null;
    for (const hasher of open.values()) hasher.fail();
  });
  worker = started;
  return started;
}

export class Hasher {
  #worker = prepareHasher();
  #id = (lastId += 1);
  #waiting = 0;
  #failed = false;
  /** @type {{resolve: (hex: string) => void, reject: (error: Error) => void}[]} */
  #asked = [];
  /** @type {(() => void)[]} */
  #held = [];

  constructor() {
    open.set(this.#id, this);
    this.reset();
  }

  /**
   * Takes the next bytes over: the caller's buffer is empty afterwards.
   *
   * @param {Uint8Array<ArrayBuffer>} bytes a whole buffer
   */
  async update(bytes) {
    const { length } = bytes;
    this.#waiting += length;
    this.#worker.postMessage({ id: this.#id, bytes }, [bytes.buffer]);
    if (this.#waiting > MAX_WAITING_BYTES && !this.#failed) {
      await /** @type {Promise<void>} */ (new Promise((resolve) => this.#held.push(resolve)));
    }
  }

  /** Starts over with nothing. */
  reset() {
    this.#worker.postMessage({ id: this.#id, word: 'new' });
  }

  /** Of everything so far, in hexadecimal; more may follow. @returns {Promise<string>} */
  digest() {
    if (this.#failed) return Promise.reject(new Error(FAILED));
    return new Promise((resolve, reject) => {
      this.#asked.push({ resolve, reject });
      this.#worker.postMessage({ id: this.#id, word: 'digest' });
    });
  }

  close() {
    open.delete(this.#id);
    this.#worker.postMessage({ id: this.#id, word: 'forget' });
    this.#letGo();
  }

  /** What the worker says about this file. @param {{hex?: string, taken?: number}} said */
  heard({ hex, taken = 0 }) {
    if (hex !== undefined) this.#asked.shift()?.resolve(hex);
    this.#waiting -= taken;
    if (this.#waiting <= MAX_WAITING_BYTES) this.#letGo();
  }

  /** The worker is no more. */
  fail() {
    this.#failed = true;
    for (const { reject } of this.#asked) reject(new Error(FAILED));
    this.#asked = [];
    this.#letGo();
  }

  #letGo() {
    const held = this.#held;
    this.#held = [];
    for (const resolve of held) resolve();
  }
}
