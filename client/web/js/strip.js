/**
 * The latency strip: 64 black or white cells along the bottom edge of a picture, most significant
 * bit first: 8 bits `10100101`, 32 bits Unix time in ms modulo 2^32 when the frame was rendered, 16
 * bits frame number, 8 bits CRC-8 (polynomial 0x07) over the 48 bits between.
 */

export const CELLS = 64;

/** Pixels of the picture. */
export const CELL_HEIGHT = 16;

const SYNC = 0b1010_0101;

/** Luma above this is a 1. */
const THRESHOLD = 127;

/** @typedef {{timeMs: number, frame: number}} Strip */

/**
 * Reads a strip from RGBA pixels of one row, `width` pixels wide and cut to 64 whole cells.
 *
 * @param {Uint8ClampedArray | Uint8Array} rgba
 * @param {number} cellWidth pixels
 * @returns {Strip | null} `null` when there is none, or it is damaged
 */
export function readStrip(rgba, cellWidth) {
  /** @type {number[]} */
  const bytes = [];
  for (let cell = 0; cell < CELLS; cell += 1) {
    const at = 4 * (cell * cellWidth + (cellWidth >> 1));
    const [r = 0, g = 0, b = 0] = rgba.subarray(at, at + 3);
    const bit = 0.299 * r + 0.587 * g + 0.114 * b > THRESHOLD ? 1 : 0;
    const last = cell >> 3;
    bytes[last] = ((bytes[last] ?? 0) << 1) | bit;
  }
  return fromBytes(bytes);
}

/**
 * @param {number[]} bytes the eight bytes of a strip
 * @returns {Strip | null}
 */
export function fromBytes(bytes) {
  const [sync, t3 = 0, t2 = 0, t1 = 0, t0 = 0, f1 = 0, f0 = 0, crc] = bytes;
  if (sync !== SYNC || crc !== crc8(bytes.slice(1, 7))) return null;
  return {
    timeMs: ((t3 << 24) | (t2 << 16) | (t1 << 8) | t0) >>> 0,
    frame: (f1 << 8) | f0,
  };
}

/**
 * How old a frame is. Negative when the clocks disagree.
 *
 * @param {number} timeMs from the strip
 * @param {number} nowMs Unix time
 */
export function ageMs(timeMs, nowMs) {
  const whole = Math.floor(nowMs);
  return (((whole % 2 ** 32) - timeMs) | 0) + (nowMs - whole);
}

/**
 * CRC-8, polynomial 0x07, initial value 0.
 *
 * @param {number[]} bytes
 */
export function crc8(bytes) {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : crc << 1;
  }
  return crc;
}
