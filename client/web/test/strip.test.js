import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CELLS, ageMs, crc8, fromBytes, readStrip } from '../js/strip.js';

/** The row of pixels that a strip is painted as, like the worker does. */
function paint(timeMs, frame, cellWidth) {
  const middle = [timeMs >>> 24, (timeMs >>> 16) & 255, (timeMs >>> 8) & 255, timeMs & 255, frame >> 8, frame & 255];
  const bytes = [0b1010_0101, ...middle, crc8(middle)];
  const row = new Uint8ClampedArray(4 * CELLS * cellWidth);
  for (let x = 0; x < CELLS * cellWidth; x += 1) {
    const cell = Math.floor(x / cellWidth);
    // Video is lossy: black and white come back as nearly so.
    const luma = (bytes[cell >> 3] >> (7 - (cell & 7))) & 1 ? 224 : 27;
    row.set([luma, luma, luma, 255], 4 * x);
  }
  return row;
}

test('the check value is the one that the protocol’s own tests pin', () => {
  assert.equal(crc8([0x31, 0x32, 0x33, 0x34, 0x35, 0x36]), 0xfd);
});

test('a painted strip is read back, whatever the width of the picture', () => {
  for (const width of [1, 5, 20, 30]) {
    const strip = readStrip(paint(0xdeadbeef, 0x1234, width), width);
    assert.deepEqual(strip, { timeMs: 0xdeadbeef, frame: 0x1234 });
  }
});

test('any one flipped cell is noticed', () => {
  const width = 4;
  for (let cell = 0; cell < CELLS; cell += 1) {
    const row = paint(0x01020304, 7, width);
    for (let at = 4 * cell * width; at < 4 * (cell + 1) * width; at += 1) row[at] = 255 - row[at];
    assert.equal(readStrip(row, width), null, `cell ${cell}`);
  }
});

test('a picture without a strip has none', () => {
  assert.equal(readStrip(new Uint8ClampedArray(4 * CELLS), 1), null);
  assert.equal(fromBytes([255, 255, 255, 255, 255, 255, 255, 255]), null);
});

test('the age survives the wrap of the clock, keeps fractions and may be negative', () => {
  assert.equal(ageMs(0xffffffff - 10, 2 ** 32 * 5 + 9), 20);
  assert.equal(ageMs(1_000, 1_033.5), 33.5);
  assert.equal(ageMs(1_000, 990), -10);
});
