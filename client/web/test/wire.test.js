import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, encode } from '../js/channel.js';
import { CHUNK_BYTES, HEADER_BYTES, decodeChunk, encodeChunk } from '../js/chunk.js';
import { seeded } from './helpers.js';

test('a message is its prefix, two colons and one JSON object', () => {
  assert.equal(encode('ESTOP', { action: 'press' }), 'ESTOP::{"action":"press"}');
  assert.deepEqual(decode('ESTOP::{"latched":true,"by":"a::b"}'), {
    prefix: 'ESTOP',
    payload: { latched: true, by: 'a::b' },
  });
});

test('what is no message is passed over', () => {
  for (const text of ['', '::', '::{}', 'HELLO', 'HELLO::', 'HELLO::{', 'HELLO::[]', 'HELLO::null', 'HELLO::3']) {
    assert.equal(decode(text), null, text);
  }
});

test('a chunk’s header is pinned byte for byte', () => {
  const message = encodeChunk(0x01020304, 0x0a0b0c0d0e, Uint8Array.of(9, 8));
  assert.deepEqual(
    [...message],
    [1, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 9, 8],
  );
});

test('every chunk reads back as it was written', () => {
  const random = seeded(7);
  for (let round = 0; round < 500; round += 1) {
    const transfer = Math.floor(random() * 2 ** 32);
    const offset = Math.floor(random() * Number.MAX_SAFE_INTEGER);
    const bytes = Uint8Array.from({ length: Math.floor(random() * 200) }, () => random() * 256);
    const read = decodeChunk(encodeChunk(transfer, offset, bytes).buffer);
    assert.deepEqual({ ...read, bytes: [...read.bytes] }, { transfer, offset, bytes: [...bytes] });
  }
});

test('what is no chunk is passed over', () => {
  assert.equal(decodeChunk(new ArrayBuffer(HEADER_BYTES - 1)), null);
  assert.equal(decodeChunk(new ArrayBuffer(HEADER_BYTES)), null, 'version 0');
  const long = new Uint8Array(HEADER_BYTES + CHUNK_BYTES + 1);
  long[0] = 1;
  assert.equal(decodeChunk(long.buffer), null, 'too long');
  const far = encodeChunk(1, 0, new Uint8Array(1));
  far.fill(255, 8, 16);
  assert.equal(decodeChunk(far.buffer), null, 'beyond what a number can count');
});

test('a full chunk fits into a channel message of 64 KiB', () => {
  assert.ok(encodeChunk(1, 0, new Uint8Array(CHUNK_BYTES)).length <= 64 * 1024);
});
