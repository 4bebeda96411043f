/**
 * Binary messages of the `bulk` lane: some bytes of a file behind a header of 16 bytes.
 *
 * ```text
 *  byte 0      1..4      4..8         8..16     16..
 *  version 1   zero      transfer id  offset    bytes of the file
 * ```
 * Numbers are big-endian.
 */

export const HEADER_BYTES = 16;

/** File bytes in one message; header and bytes together stay inside 64 KiB. */
export const CHUNK_BYTES = 60 * 1024;

const VERSION = 1;

/**
 * @param {number} transfer
 * @param {number} offset
 * @param {Uint8Array} bytes at most `CHUNK_BYTES`
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeChunk(transfer, offset, bytes) {
  const message = new Uint8Array(HEADER_BYTES + bytes.length);
  const view = new DataView(message.buffer);
  view.setUint8(0, VERSION);
  view.setUint32(4, transfer);
  view.setBigUint64(8, BigInt(offset));
  message.set(bytes, HEADER_BYTES);
  return message;
}

/**
 * Reads a message; `bytes` looks into it and copies nothing. `null` when it is no chunk.
 *
 * @param {ArrayBuffer} message
 * @returns {{transfer: number, offset: number, bytes: Uint8Array<ArrayBuffer>} | null}
 */
export function decodeChunk(message) {
  const size = message.byteLength - HEADER_BYTES;
  if (size < 0 || size > CHUNK_BYTES) return null;
  const view = new DataView(message);
  const offset = view.getBigUint64(8);
  if (view.getUint8(0) !== VERSION || offset > Number.MAX_SAFE_INTEGER) return null;
  return {
    transfer: view.getUint32(4),
    offset: Number(offset),
    bytes: new Uint8Array(message, HEADER_BYTES),
  };
}
