import { Emitter } from './emitter.js';
import { Rate } from './rate.js';
import { fileWords } from './words.js';

/**
 * What an upload and a download have in common: a name, a state in which people see it, and one
 * attempt after another until it is done, refused or called off. A lost connection pauses it; the
 * next attempt goes on where both sides still hold the same bytes.
 *
 * @typedef {'queued' | 'running' | 'checking' | 'paused' | 'done' | 'failed' | 'cancelled'} TransferState
 *
 * @typedef {object} Wire What a transfer needs of a connection.
 * @property {(prefix: string, payload: object) => boolean} send on `control`
 * @property {(message: Uint8Array<ArrayBuffer>, signal: AbortSignal) => Promise<void>} sendChunk
 *   on `bulk`, waiting until there is room for more
 * @property {(bytes: number) => void} taken that much of `bulk` was taken, whole messages counted
 *
 * @typedef {{prefix: string, payload: Record<string, any>}} Message
 * @typedef {{offset: number, bytes: Uint8Array<ArrayBuffer>}} Chunk
 */

/** The other end does not want it, or no longer. */
export class Refused extends Error {
  /**
   * @param {unknown} code
   * @param {unknown} message
   */
  constructor(code, message) {
    super(fileWords(String(code), message));
    this.code = String(code);
  }
}

/** The person called it off. */
export class Cancelled extends Error {}

/** The connection is gone; the transfer goes on over the next one. */
export class Disconnected extends Error {}

/** @extends {Emitter<{changed: Transfer}>} */
export class Transfer extends Emitter {
  /** @type {TransferState} */
  state = 'queued';
  /** How much went over so far. */
  bytes = 0;
  /** Why it failed, in words. */
  error = '';
  rate = new Rate();
  /** How often it was begun. */
  attempts = 0;
  /** @type {AbortController | null} */
  abort = null;

  /**
   * @param {'up' | 'down'} direction
   * @param {string} name for people
   * @param {number} size bytes
   */
  constructor(direction, name, size) {
    super();
    this.direction = direction;
    this.name = name;
    this.size = size;
  }

  get isOver() {
    return this.state === 'done' || this.state === 'failed' || this.state === 'cancelled';
  }

  /** @param {TransferState} state */
  enter(state) {
    this.state = state;
    this.emit('changed', this);
  }

  /** @param {number} bytes so far */
  moved(bytes) {
    this.bytes = bytes;
    this.rate.add(performance.now(), bytes);
    this.emit('changed', this);
  }

  /** @param {string} words */
  fail(words) {
    this.error = words;
    this.enter('failed');
  }

  cancel() {
    if (this.isOver) return;
    if (this.abort) this.abort.abort(new Cancelled('called off'));
    else this.enter('cancelled');
  }

  /**
   * One attempt.
   *
   * @param {Wire} _wire
   * @param {Inbox} _inbox what the other end says about it
   * @param {number} _id unique among this page's attempts
   * @param {AbortSignal} _signal aborted with `Cancelled` or `Disconnected`
   * @returns {Promise<void>}
   */
  run(_wire, _inbox, _id, _signal) {
    throw new Error('a transfer is an upload or a download');
  }

  /** Whether what the other end says is about this attempt. @param {Message} _message */
  isMeant(_message) {
    return false;
  }

  /** Whether a chunk of this transfer id belongs to this attempt. @param {number} _id */
  wants(_id) {
    return false;
  }

  /** Frees what it holds; called once it is over. */
  async finish() {}
}

/** Bytes that may wait here for a slow disk before the transfer is given up. */
const MAX_WAITING_BYTES = 256 * 1024 * 1024;

/** What the other end said, in order, waiting to be looked at. */
export class Inbox {
  /** @type {(Message | Chunk)[]} */
  #items = [];
  #bytes = 0;
  /** @type {() => void} */
  #wake = () => {};
  #taken;

  /** @param {(bytes: number) => void} taken hears of the file bytes that were looked at */
  constructor(taken) {
    this.#taken = taken;
  }

  /** @param {Message | Chunk} item */
  push(item) {
    if ('bytes' in item) this.#bytes += item.bytes.length;
    this.#items.push(item);
    this.#wake();
  }

  /** Without waiting. */
  poll() {
    if (this.#bytes > MAX_WAITING_BYTES) {
      throw new Refused('io', 'The bytes arrive faster than this device can store them');
    }
    const item = this.#items.shift();
    if (item && 'bytes' in item) {
      this.#bytes -= item.bytes.length;
      this.#taken(item.bytes.length);
    }
    return item;
  }

  /** Nothing more is looked at. */
  drain() {
    this.#taken(this.#bytes);
    this.#items = [];
    this.#bytes = 0;
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<Message | Chunk>}
   */
  async next(signal) {
    for (;;) {
      signal.throwIfAborted();
      const item = this.poll();
      if (item) return item;
      await /** @type {Promise<void>} */ (
        new Promise((resolve) => {
          this.#wake = resolve;
          signal.addEventListener('abort', () => resolve(), { once: true });
        })
      );
    }
  }
}
