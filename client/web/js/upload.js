import { CHUNK_BYTES, encodeChunk } from './chunk.js';
import { Hasher } from './hasher.js';
import { Cancelled, Disconnected, Refused, Transfer } from './transfer.js';

/** Bytes read from the file at a time. */
const READ_BYTES = 16 * CHUNK_BYTES;

/**
 * A file on its way to the worker: offered, sent from where the worker already has it, and ended
 * with the hash of the whole. Only a small piece of it is in memory at a time.
 */
export class Upload extends Transfer {
  #file;
  #path;
  #id = -1;

  /**
   * @param {File} file
   * @param {string} folder at the worker; empty for the top
   */
  constructor(file, folder) {
    super('up', file.name, file.size);
    this.#file = file;
    this.#path = folder === '' ? file.name : `${folder}/${file.name}`;
  }

  /** @override @type {Transfer['isMeant']} */
  isMeant({ prefix, payload }) {
    const words = ['TRANSFER_ACCEPT', 'TRANSFER_PROGRESS', 'TRANSFER_DONE', 'TRANSFER_REFUSE'];
    return words.includes(prefix) && payload['transfer'] === this.#id;
  }

  /** @override @type {Transfer['run']} */
  async run(wire, inbox, id, signal) {
    this.#id = id;
    const hasher = new Hasher();
    try {
      await this.#send(wire, inbox, hasher, signal);
    } catch (error) {
      const code = error instanceof Cancelled ? 'cancelled' : 'io';
      if (!(error instanceof Refused) && !(error instanceof Disconnected)) {
        wire.send('TRANSFER_CANCEL', { transfer: id, code, message: 'the sender stopped' });
      }
      throw error;
    } finally {
      hasher.close();
    }
  }

  /**
   * @param {import('./transfer.js').Wire} wire
   * @param {import('./transfer.js').Inbox} inbox
   * @param {Hasher} hasher
   * @param {AbortSignal} signal
   */
  async #send(wire, inbox, hasher, signal) {
    wire.send('TRANSFER_OFFER', {
      transfer: this.#id,
      name: this.#path,
      size: this.size,
      modified_ms: this.#file.lastModified,
    });
    const accept = await answer(inbox, signal, 'TRANSFER_ACCEPT');
    const start = await this.#startOf(accept, hasher, signal);

    this.moved(start);
    for (let at = start; at < this.size; at += READ_BYTES) {
      const piece = await this.#read(at, Math.min(at + READ_BYTES, this.size));
      for (let inner = 0; inner < piece.length; inner += CHUNK_BYTES) {
        const bytes = piece.subarray(inner, inner + CHUNK_BYTES);
        await wire.sendChunk(encodeChunk(this.#id, at + inner, bytes), signal);
        this.moved(at + inner + bytes.length);
        for (let said = inbox.poll(); said; said = inbox.poll()) refusedBy(said);
      }
      await hasher.update(piece);
    }

    this.enter('checking');
    wire.send('TRANSFER_END', { transfer: this.#id, blake3: await hasher.digest() });
    await answer(inbox, signal, 'TRANSFER_DONE');
  }

  /**
   * Where to go on: where the worker says, if what it holds is how this file begins.
   *
   * @param {Record<string, any>} accept
   * @param {Hasher} hasher has taken everything before the start afterwards
   * @param {AbortSignal} signal
   */
  async #startOf(accept, hasher, signal) {
    const offset = Number(accept['offset']);
    if (!Number.isSafeInteger(offset) || offset <= 0 || offset > this.size) return 0;
    for (let at = 0; at < offset; at += READ_BYTES) {
      signal.throwIfAborted();
      await hasher.update(await this.#read(at, Math.min(at + READ_BYTES, offset)));
    }
    if ((await hasher.digest()) === accept['prefix']) return offset;
    hasher.reset();
    return 0;
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  async #read(from, to) {
    try {
      return new Uint8Array(await this.#file.slice(from, to).arrayBuffer());
    } catch {
      const words = 'The file cannot be read any more: it was changed, moved or deleted. Choose it again.';
      throw new FileGone(words);
    }
  }
}

/** The file changed while it was read. */
class FileGone extends Error {}

/**
 * Waits for one word of the receiver; progress in between is only good news.
 *
 * @param {import('./transfer.js').Inbox} inbox
 * @param {AbortSignal} signal
 * @param {string} prefix
 */
async function answer(inbox, signal, prefix) {
  for (;;) {
    const said = await inbox.next(signal);
    refusedBy(said);
    if ('prefix' in said && said.prefix === prefix) return said.payload;
  }
}

/** @param {import('./transfer.js').Message | import('./transfer.js').Chunk} said */
function refusedBy(said) {
  if ('prefix' in said && said.prefix === 'TRANSFER_REFUSE') {
    throw new Refused(said.payload['code'], said.payload['message']);
  }
}
