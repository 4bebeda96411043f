import { HEADER_BYTES, decodeChunk } from './chunk.js';
import { Download } from './download.js';
import { Emitter } from './emitter.js';
import { Cancelled, Disconnected, Inbox, Refused } from './transfer.js';
import { Upload } from './upload.js';

/**
 * All transfers of this page: lets a few run at a time, hands each what is said to it, and runs
 * them again when a lost connection is back.
 *
 * @typedef {import('./transfer.js').Message} Message
 * @typedef {import('./transfer.js').Transfer} Transfer
 * @typedef {import('./transfer.js').Wire} Wire
 */

/** At a time, in each direction. More would only share the same bandwidth. */
const MAX_RUNNING = 2;

/** A worker may still hold the file for the connection that was lost: it is asked again. */
const BUSY_RETRIES = 20;
const BUSY_WAIT_MS = 1_500;

/** @extends {Emitter<{added: Transfer, over: Transfer}>} */
export class Transfers extends Emitter {
  #wire;
  #connected = false;
  #lastId = 0;
  /** @type {Transfer[]} */
  #waiting = [];
  /** @type {Map<Transfer, Inbox>} */
  #running = new Map();

  /** @param {Wire} wire */
  constructor(wire) {
    super();
    this.#wire = wire;
  }

  /** Whether anything would be lost by leaving now. */
  get isBusy() {
    return this.#running.size > 0 || this.#waiting.length > 0;
  }

  connected() {
    this.#connected = true;
    this.#pump();
  }

  disconnected() {
    this.#connected = false;
    for (const transfer of this.#running.keys()) {
      transfer.abort?.abort(new Disconnected('the connection is gone'));
    }
  }

  /**
   * @param {File} file
   * @param {string} folder at the worker
   */
  upload(file, folder) {
    this.#add(new Upload(file, folder));
  }

  /**
   * @param {string} path at the worker
   * @param {string} name
   * @param {number} size
   * @param {import('./sink.js').Sink} sink
   */
  download(path, name, size, sink) {
    this.#add(new Download(path, name, size, sink));
  }

  /**
   * @param {Message} message
   * @returns {boolean} whether it was about a transfer of this page
   */
  take(message) {
    for (const [transfer, inbox] of this.#running) {
      if (transfer.isMeant(message)) {
        inbox.push(message);
        return true;
      }
    }
    if (message.prefix === 'TRANSFER_OFFER') {
      const words = 'this page takes only files that it asked for';
      const { transfer } = message.payload;
      this.#wire.send('TRANSFER_REFUSE', { transfer, code: 'disabled', message: words });
      return true;
    }
    return false;
  }

  /** @param {ArrayBuffer} message */
  takeChunk(message) {
    const chunk = decodeChunk(message);
    if (!chunk) return;
    this.#wire.taken(HEADER_BYTES);
    for (const [transfer, inbox] of this.#running) {
      if (!transfer.wants(chunk.transfer)) continue;
      inbox.push({ offset: chunk.offset, bytes: chunk.bytes });
      return;
    }
    this.#wire.taken(chunk.bytes.length);
  }

  /** @param {Transfer} transfer */
  #add(transfer) {
    this.#waiting.push(transfer);
    this.emit('added', transfer);
    transfer.on('changed', () => {
      if (transfer.state === 'cancelled') this.#forget(transfer);
    });
    this.#pump();
  }

  #pump() {
    if (!this.#connected) return;
    for (const direction of ['up', 'down']) {
      const running = [...this.#running.keys()].filter((t) => t.direction === direction).length;
      const next = this.#waiting.filter((t) => t.direction === direction);
      for (const transfer of next.slice(0, MAX_RUNNING - running)) {
        this.#waiting.splice(this.#waiting.indexOf(transfer), 1);
        void this.#run(transfer);
      }
    }
  }

  /** @param {Transfer} transfer */
  async #run(transfer) {
    const inbox = new Inbox((bytes) => this.#wire.taken(bytes));
    const abort = new AbortController();
    transfer.abort = abort;
    this.#running.set(transfer, inbox);
    transfer.attempts += 1;
    transfer.enter('running');
    this.#lastId += 1;
    /** @type {unknown} */
    let error = null;
    try {
      await transfer.run(this.#wire, inbox, this.#lastId, abort.signal);
    } catch (thrown) {
      error = thrown;
    }
    this.#running.delete(transfer);
    inbox.drain();
    transfer.abort = null;
    this.#settle(transfer, error);
    this.#pump();
  }

  /**
   * @param {Transfer} transfer
   * @param {unknown} error `null` when it is done
   */
  #settle(transfer, error) {
    const gone = error instanceof Disconnected || !this.#connected;
    if (error === null) {
      transfer.enter('done');
    } else if (error instanceof Cancelled) {
      transfer.enter('cancelled');
    } else if (error instanceof Refused) {
      const waits = error.code === 'busy' && transfer.attempts > 1 && transfer.attempts < BUSY_RETRIES;
      if (waits) {
        transfer.enter('paused');
        setTimeout(() => this.#again(transfer), BUSY_WAIT_MS);
      } else {
        transfer.fail(error.message);
      }
    } else if (gone || (error instanceof DOMException && error.name === 'InvalidStateError')) {
      transfer.enter('paused');
      this.#waiting.unshift(transfer);
    } else {
      transfer.fail(error instanceof Error ? error.message : 'The transfer failed.');
    }
    if (transfer.isOver && transfer.state !== 'cancelled') this.#forget(transfer);
  }

  /** @param {Transfer} transfer */
  #again(transfer) {
    if (transfer.isOver) return;
    this.#waiting.unshift(transfer);
    this.#pump();
  }

  /** @param {Transfer} transfer */
  #forget(transfer) {
    const at = this.#waiting.indexOf(transfer);
    if (at >= 0) this.#waiting.splice(at, 1);
    void transfer.finish();
    this.emit('over', transfer);
  }
}
