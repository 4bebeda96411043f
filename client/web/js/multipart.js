/**
 * Reads `multipart/x-mixed-replace` as it comes: bytes go in, whole parts come out. Pure.
 *
 * @typedef {{headers: Map<string, string>, body: Uint8Array<ArrayBuffer>}} Part
 */

/** A head is a few lines. */
const MAX_HEAD_BYTES = 4 * 1024;

/** No picture is larger. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;

const LINE_END = 10;

export class PartReader {
  #boundary;
  /** What came and belongs to no whole part yet. */
  #rest = new Uint8Array(0);
  /** @type {{headers: Map<string, string>, length: number} | null} */
  #head = null;

  /** @param {string} contentType of the answer, which names the boundary */
  constructor(contentType) {
    const [type = '', ...parameters] = contentType.split(';').map((part) => part.trim());
    const boundary = parameters.find((one) => one.toLowerCase().startsWith('boundary='));
    if (type.toLowerCase() !== 'multipart/x-mixed-replace' || !boundary) {
      throw new Error(`the answer is ${type || 'nothing'} and no row of pictures`);
    }
    this.#boundary = `--${boundary.slice('boundary='.length).replace(/^"(.*)"$/, '$1')}`;
  }

  /**
   * @param {Uint8Array} bytes
   * @returns {Part[]} those that are whole now, oldest first
   */
  push(bytes) {
    const joined = new Uint8Array(this.#rest.length + bytes.length);
    joined.set(this.#rest);
    joined.set(bytes, this.#rest.length);
    this.#rest = joined;
    /** @type {Part[]} */
    const parts = [];
    for (;;) {
      this.#head ??= this.#readHead();
      if (this.#head === null || this.#rest.length < this.#head.length) return parts;
      const { headers, length } = this.#head;
      parts.push({ headers, body: this.#rest.slice(0, length) });
      this.#rest = this.#rest.subarray(length);
      this.#head = null;
    }
  }

  /** Takes boundary and head away, once all of it is there. */
  #readHead() {
    /** @type {Map<string, string>} */
    const headers = new Map();
    let isInside = false;
    for (let at = 0; ; ) {
      const end = this.#rest.indexOf(LINE_END, at);
      if (end < 0) {
        if (this.#rest.length > MAX_HEAD_BYTES) throw new Error('a picture’s head is too long');
        return null;
      }
      const line = new TextDecoder().decode(this.#rest.subarray(at, end)).trimEnd();
      at = end + 1;
      if (at > MAX_HEAD_BYTES) throw new Error('a picture’s head is too long');
      if (line === this.#boundary) {
        isInside = true;
      } else if (line === '' && isInside) {
        const length = Number(headers.get('content-length'));
        if (!Number.isInteger(length) || length < 0 || length > MAX_BODY_BYTES) {
          throw new Error('a picture does not say how long it is');
        }
        this.#rest = this.#rest.subarray(at);
        return { headers, length };
      } else if (isInside) {
        const colon = line.indexOf(':');
        headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
      } else if (line !== '') {
        throw new Error('between two pictures is something else');
      }
    }
  }
}
