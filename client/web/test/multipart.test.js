import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PartReader } from '../js/multipart.js';
import { words } from '../js/status.js';
import { seeded } from './helpers.js';

const TYPE = 'multipart/x-mixed-replace; boundary=halyard-picture';
const bytes = (text) => new TextEncoder().encode(text);

/** As the machine writes them: the boundary behind each part. */
function stream(bodies) {
  const parts = [bytes('--halyard-picture\r\n')];
  for (const [number, body] of bodies.entries()) {
    parts.push(bytes(`Content-Type: image/jpeg\r\nContent-Length: ${body.length}\r\nX-Timestamp: ${number}.5\r\n\r\n`));
    parts.push(body, bytes('\r\n--halyard-picture\r\n'));
  }
  return Buffer.concat(parts);
}

test('parts come out whole however the bytes come in', () => {
  const random = seeded(7);
  // Also one that holds the boundary: its length says where it ends.
  const bodies = [bytes('one'), bytes('a\r\n--halyard-picture\r\n\r\nb'), new Uint8Array(0), new Uint8Array(5_000).fill(13)];
  const whole = stream(bodies);
  for (let round = 0; round < 50; round += 1) {
    const reader = new PartReader(TYPE);
    const found = [];
    for (let at = 0; at < whole.length; ) {
      const next = Math.min(whole.length, at + 1 + Math.floor(random() * (round < 10 ? 3 : 900)));
      found.push(...reader.push(whole.subarray(at, next)));
      at = next;
    }
    assert.deepEqual(found.map(({ body }) => [...body]), bodies.map((body) => [...body]));
    assert.deepEqual(found.map(({ headers }) => headers.get('x-timestamp')), ['0.5', '1.5', '2.5', '3.5']);
  }
});

test('what is no row of pictures is refused', () => {
  for (const type of ['', 'text/html', 'multipart/x-mixed-replace', 'image/jpeg; boundary=x']) {
    assert.throws(() => new PartReader(type), /no row of pictures/);
  }
  const reads = (text) => () => new PartReader(TYPE).push(bytes(text));
  assert.throws(reads('<html>\n'), /something else/);
  assert.throws(reads('--halyard-picture\r\nContent-Length: 99999999\r\n\r\n'), /how long/);
  assert.throws(reads('--halyard-picture\r\nContent-Type: image/jpeg\r\n\r\n'), /how long/);
  assert.throws(reads(`--halyard-picture\r\n${'x'.repeat(10_000)}`), /too long/);
  assert.equal(new PartReader('Multipart/X-Mixed-Replace; boundary="halyard-picture"').push(stream([bytes('x')])).length, 1);
});

test('without any way to the machine the page says what is wrong and what to do', () => {
  const state = { phase: 'connecting', serverLost: null, reason: 'no way to the machine was found', refused: null, others: 0 };
  const [line, title, text] = words(state, true, 'none');
  assert.match(`${line} ${title} ${text}`, /firewall.*TURN.*halyard doctor/);
  const [, off, then] = words({ ...state, refused: 'webrtc_off' }, true, 'none');
  assert.match(`${off} ${then}`, /does not use WebRTC.*ask its owner/);
  const [shown] = words(state, true, 'on');
  assert.equal(shown, 'Picture over HTTP, trying WebRTC');
});
