import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blake3 } from '../vendor/noble-hashes/blake3.js';

const hex = (bytes) => Buffer.from(bytes).toString('hex');

test('the vendored BLAKE3 gives the official test vectors', () => {
  // The official inputs repeat 0 to 250.
  const input = (length) => Uint8Array.from({ length }, (_, at) => at % 251);
  const vectors = [
    [0, 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'],
    [1, '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213'],
    [1024, '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7'],
    [1025, 'd00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444'],
  ];
  for (const [length, expected] of vectors) assert.equal(hex(blake3(input(length))), expected, String(length));
});

test('hashing in pieces, with a look in between, gives the same as hashing at once', () => {
  const whole = Uint8Array.from({ length: 300_000 }, (_, at) => (at * 7) & 255);
  const hash = blake3.create({});
  for (let at = 0; at < whole.length; at += 61_440) {
    hash.update(whole.subarray(at, at + 61_440));
    hash.clone().digest();
  }
  assert.equal(hex(hash.digest()), hex(blake3(whole)));
});
