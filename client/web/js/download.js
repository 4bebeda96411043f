import { Hasher } from './hasher.js';
import { Disconnected, Refused, Transfer } from './transfer.js';

/** How often the sender hears how far it got, in bytes. */
const PROGRESS_EVERY_BYTES = 8 * 1024 * 1024;

/**
 * A file on its way from the worker: asked for, accepted from where this page already has it,
 * written piece by piece, and handed over only when its hash is right.
 */
export class Download extends Transfer {
  #path;
  #sink;
  #hasher = new Hasher();
  #request = '';
  /** The worker's number for it. @type {number | null} */
  #id = null;
  /** Bytes in the sink, and in the hasher. */
  #have = 0;

  /**
   * @param {string} path at the worker
   * @param {string} name
   * @param {number} size
   * @param {import('./sink.js').Sink} sink
   */
  constructor(path, name, size, sink) {
    super('down', name, size);
    this.#path = path;
    this.#sink = sink;
  }

  /** @override @type {Transfer['isMeant']} */
  isMeant({ prefix, payload }) {
    if (prefix === 'TRANSFER_OFFER') return payload['request'] === this.#request;
    if (prefix === 'FILE_ERROR') return payload['id'] === this.#request;
    const words = ['TRANSFER_END', 'TRANSFER_CANCEL'];
    return words.includes(prefix) && this.wants(payload['transfer']);
  }

  /** @override @type {Transfer['wants']} */
  wants(id) {
    return this.#id !== null && id === this.#id;
  }

  /** @override @type {Transfer['run']} */
  async run(wire, inbox, id, signal) {
    this.#id = null;
    this.#request = `get-${id}`;
    wire.send('FILE_GET', { id: this.#request, path: this.#path });
    const offer = await this.#offered(inbox, signal);
    this.#id = Number(offer['transfer']);
    try {
      await this.#receive(wire, inbox, offer, signal);
      wire.send('TRANSFER_DONE', { transfer: this.#id });
    } catch (error) {
      if (!(error instanceof Disconnected) && !(error instanceof SenderStopped)) {
        const code = error instanceof Refused ? error.code : 'cancelled';
        const message = error instanceof Error ? error.message : 'the receiver stopped';
        wire.send('TRANSFER_REFUSE', { transfer: this.#id, code, message });
      }
      throw error;
    } finally {
      this.#id = null;
    }
  }

  /** @override @type {Transfer['finish']} */
  async finish() {
    this.#hasher.close();
    if (this.state !== 'done') await this.#sink.abandon().catch(() => {});
  }

  /**
   * @param {import('./transfer.js').Inbox} inbox
   * @param {AbortSignal} signal
   */
  async #offered(inbox, signal) {
    for (;;) {
      const said = await inbox.next(signal);
      if (!('prefix' in said)) continue;
      const { prefix, payload } = said;
      if (prefix === 'FILE_ERROR') throw new SenderStopped(payload['code'], payload['message']);
      if (prefix === 'TRANSFER_OFFER') return payload;
    }
  }

  /**
   * @param {import('./transfer.js').Wire} wire
   * @param {import('./transfer.js').Inbox} inbox
   * @param {Record<string, any>} offer
   * @param {AbortSignal} signal
   */
  async #receive(wire, inbox, offer, signal) {
    const size = Number(offer['size']);
    if (!Number.isSafeInteger(size) || size < 0) throw new Refused('protocol', '');
    this.size = size;
    if (this.#have > size) await this.#startOver();
    const accept = { transfer: this.#id, offset: this.#have };
    const prefix = this.#have > 0 ? { prefix: await this.#hasher.digest() } : {};
    wire.send('TRANSFER_ACCEPT', { ...accept, ...prefix });

    let told = this.#have;
    let fresh = true;
    /** @type {string | null} */
    let expected = null;
    this.moved(this.#have);
    while (this.#have < size || expected === null) {
      const said = await inbox.next(signal);
      if ('prefix' in said) {
        const { prefix: word, payload } = said;
        if (word === 'TRANSFER_CANCEL') throw new SenderStopped(payload['code'], payload['message']);
        // The end travels on another lane and may overtake the last bytes.
        if (word === 'TRANSFER_END') expected = String(payload['blake3']).toLowerCase();
        continue;
      }
      // The sender's file begins differently: it starts at 0 instead of where it was asked to.
      if (fresh && said.offset === 0 && this.#have > 0) await this.#startOver();
      fresh = false;
      await this.#take(said, size);
      if (this.#have - told >= PROGRESS_EVERY_BYTES) {
        told = this.#have;
        wire.send('TRANSFER_PROGRESS', { transfer: this.#id, durable: told });
      }
    }

    this.enter('checking');
    if ((await this.#hasher.digest()) !== expected) {
      await this.#startOver();
      throw new Refused('hash_mismatch', '');
    }
    await this.#store(() => this.#sink.finish());
  }

  /**
   * @param {import('./transfer.js').Chunk} chunk
   * @param {number} size
   */
  async #take({ offset, bytes }, size) {
    if (offset !== this.#have || offset + bytes.length > size) throw new Refused('protocol', '');
    const copy = bytes.slice();
    await this.#store(() => this.#sink.write(bytes));
    this.#have += copy.length;
    await this.#hasher.update(copy);
    this.moved(this.#have);
  }

  async #startOver() {
    this.#have = 0;
    this.#hasher.reset();
    await this.#store(() => this.#sink.reset());
  }

  /** @param {() => Promise<void>} write */
  async #store(write) {
    try {
      await write();
    } catch {
      throw new Refused('io', 'This device could not store the file. Is its disk full?');
    }
  }
}

/** The sender gave up by itself: there is nobody to tell. */
class SenderStopped extends Refused {}
