/**
 * Where a download goes. Neither kind holds the whole file in the page's memory.
 *
 * @typedef {object} Sink
 * @property {(bytes: Uint8Array<ArrayBuffer>) => Promise<void>} write appends
 * @property {() => Promise<void>} reset drops what was written
 * @property {() => Promise<void>} finish hands the file over to the person
 * @property {() => Promise<void>} abandon
 */

/** Above this a download is written straight into a file that the person chooses, where the
 * browser can do that. Below it lands among the downloads without a question. */
export const ASK_ABOVE_BYTES = 256 * 1024 * 1024;

/** Bytes gathered before they become a blob, which browsers keep on disk when there are many. */
const BLOB_BYTES = 4 * 1024 * 1024;

/**
 * Must be called from a click, because it may ask where to save.
 *
 * @param {string} name
 * @param {number} size
 * @returns {Promise<Sink | null>} `null` when the person called it off
 */
export async function openSink(name, size) {
  const picker = /** @type {any} */ (window).showSaveFilePicker;
  if (size <= ASK_ABOVE_BYTES || typeof picker !== 'function') return new BlobSink(name);
  try {
    const handle = await picker.call(window, { suggestedName: name });
    return new FileSink(await handle.createWritable());
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') return null;
    return new BlobSink(name);
  }
}

/** @implements {Sink} */
class BlobSink {
  /** @type {Blob[]} */
  #blobs = [];
  /** @type {Uint8Array<ArrayBuffer>[]} */
  #gathered = [];
  #bytes = 0;
  #name;

  /** @param {string} name */
  constructor(name) {
    this.#name = name;
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes */
  async write(bytes) {
    this.#gathered.push(bytes);
    this.#bytes += bytes.length;
    if (this.#bytes >= BLOB_BYTES) this.#gather();
  }

  async reset() {
    this.#blobs = [];
    this.#gathered = [];
    this.#bytes = 0;
  }

  async finish() {
    this.#gather();
    const address = URL.createObjectURL(new Blob(this.#blobs, { type: 'application/octet-stream' }));
    const anchor = document.createElement('a');
    anchor.href = address;
    anchor.download = this.#name;
    anchor.click();
    await this.reset();
    // The browser reads it after the click; a minute is ample and frees the disk.
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  }

  async abandon() {
    await this.reset();
  }

  #gather() {
    this.#blobs.push(new Blob(this.#gathered));
    this.#gathered = [];
    this.#bytes = 0;
  }
}

/** @implements {Sink} */
class FileSink {
  #file;

  /** @param {FileSystemWritableFileStream} file */
  constructor(file) {
    this.#file = file;
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes */
  async write(bytes) {
    await this.#file.write(bytes);
  }

  async reset() {
    await this.#file.truncate(0);
    await this.#file.seek(0);
  }

  async finish() {
    await this.#file.close();
  }

  async abandon() {
    await this.#file.abort();
  }
}
