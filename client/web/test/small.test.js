import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from '../js/backoff.js';
import { large, remembered, swapped, withSecond } from '../js/cameras.js';
import { preferH264 } from '../js/codec.js';
import { Emitter } from '../js/emitter.js';
import { clip, formatBitrate, formatBytes, formatDate, formatDuration, shortName, shortenNames } from '../js/format.js';
import { FROZEN_MS, Quality } from '../js/quality.js';
import { Rate } from '../js/rate.js';
import { microphoneWords, wishes } from '../js/sound.js';
import { words } from '../js/status.js';
import { compass, rows } from '../js/telemetry.js';
import { closeReason, fileWords, finalClose, finalRefusal } from '../js/words.js';

test('waiting times double, are bounded, vary, and start over after a success', () => {
  const least = new Backoff({ first: 500, longest: 15_000, random: () => 0 });
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7].map(() => least.next()), [250, 500, 1000, 2000, 4000, 7500, 7500]);
  least.reset();
  assert.equal(least.next(), 250);
  const most = new Backoff({ first: 500, longest: 15_000, random: () => 0.999999 });
  for (let attempt = 0; attempt < 2000; attempt += 1) assert.ok(most.next() <= 15_000);
});

test('H.264 that may span packets comes first, and nothing is lost', () => {
  const codecs = [
    { mimeType: 'video/VP8' },
    { mimeType: 'video/rtx' },
    { mimeType: 'video/H264', sdpFmtpLine: 'packetization-mode=1;profile-level-id=64001f' },
    { mimeType: 'video/H264', sdpFmtpLine: 'packetization-mode=0;profile-level-id=42e01f' },
    { mimeType: 'video/H264', sdpFmtpLine: 'packetization-mode=1;profile-level-id=42e01f' },
  ];
  const sorted = preferH264(codecs);
  assert.deepEqual(sorted.map((codec) => codecs.indexOf(codec)), [4, 2, 0, 1, 3]);
});

test('listeners hear what they asked for until they are taken away', () => {
  const emitter = new Emitter();
  const heard = [];
  const off = emitter.on('a', (value) => heard.push(value));
  emitter.emit('a', 1);
  emitter.emit('b', 2);
  off();
  emitter.emit('a', 3);
  assert.deepEqual(heard, [1]);
});

test('numbers are written for people', () => {
  assert.deepEqual([0, 999, 1000, 532_000, 999_960, 24_000_001].map(formatBytes), ['0 B', '999 B', '1.0 kB', '532 kB', '1.0 MB', '24.0 MB']);
  assert.deepEqual([0.2, 59, 61, 7200].map(formatDuration), ['1 s', '59 s', '2 min', '2.0 h']);
  assert.deepEqual([820_000, 2_540_000].map(formatBitrate), ['820 kbit/s', '2.5 Mbit/s']);
  assert.equal(shortName('0d670123-1111-4222-8333-444455556666'), '0d670123');
  assert.equal(shortName('worker-ab12'), 'worker-ab12');
  assert.equal(shortName(null), 'somebody');
  assert.equal(clip('abcdef', 4), 'abc…');
  const [ann, bob] = ['0d670123-1111-4222-8333-444455556666', '1e670123-1111-4222-8333-444455556666'];
  assert.equal(shortenNames(`nothing was heard from ${ann}, ${bob} drives`, bob), 'nothing was heard from 0d670123, you drives');
  const now = new Date(2026, 5, 1, 12);
  assert.doesNotMatch(formatDate(new Date(2026, 5, 1, 9, 30).getTime(), now), /2026/);
  assert.match(formatDate(new Date(2026, 4, 31).getTime(), now), /2026/);
  assert.equal(formatDate(NaN, now), '');
});

test('the picture’s numbers: rate, age, frames missed and repeated, and standing still', () => {
  const quality = new Quality();
  assert.equal(quality.isFrozen(0), false, 'nothing was ever there');
  for (let frame = 0; frame < 60; frame += 1) quality.add(frame * (1000 / 30), { frame: 65_500 + frame & 0xffff, ageMs: 20 + frame });
  const last = 59 * (1000 / 30);
  assert.equal(Math.round(quality.fps(last)), 30);
  assert.deepEqual([quality.missed, quality.repeats, quality.strips], [0, 0, 60]);
  assert.equal(quality.age, 65);
  quality.add(last + 100, { frame: 65_500 + 63 & 0xffff, ageMs: 20 });
  assert.equal(quality.missed, 3);
  quality.add(last + 133, { frame: 65_500 + 63 & 0xffff, ageMs: 20 });
  assert.equal(quality.repeats, 1);
  quality.add(last + 166, { frame: 12_345, ageMs: 20 });
  assert.equal(quality.missed, 3 + ((12_345 - 27) & 0xffff) - 1);
  assert.equal(quality.isFrozen(last + 166 + FROZEN_MS), false);
  assert.equal(quality.isFrozen(last + 167 + FROZEN_MS), true);
});

test('two pictures change places, and what was chosen before is taken as far as it is there', () => {
  const names = ['front', 'rear', 'gripper'];
  const alone = { main: 'front', inset: null };
  assert.deepEqual(large(alone, 'rear'), { main: 'rear', inset: null });
  const both = withSecond(alone, names);
  assert.deepEqual(both, { main: 'front', inset: 'rear' });
  assert.deepEqual(large(both, 'rear'), { main: 'rear', inset: 'front' });
  assert.deepEqual(large(both, 'gripper'), { main: 'gripper', inset: 'rear' });
  assert.deepEqual(swapped(alone), alone);
  assert.deepEqual(withSecond(both, names), alone);
  assert.deepEqual(withSecond(alone, ['front']), alone, 'there is no other');
  assert.deepEqual(remembered(names, { main: 'rear', inset: 'front' }), { main: 'rear', inset: 'front' });
  assert.deepEqual(remembered(names, { main: 'gone', inset: 'front' }), alone);
  assert.deepEqual(remembered([], {}), { main: null, inset: null });
});

test('sound begins quietly unless it was wanted before, and a missing microphone is explained', () => {
  assert.deepEqual(wishes(null), { on: false, volume: 100 });
  assert.deepEqual(wishes({ on: true, volume: 30 }), { on: true, volume: 30 });
  assert.deepEqual(wishes({ on: 'yes', volume: 300 }), { on: false, volume: 100 });
  assert.match(microphoneWords('NotAllowedError'), /Allow it beside the address/);
  assert.match(microphoneWords('anything'), /could not be opened/);
});

test('an age that no picture can have means that the clocks disagree', () => {
  const quality = new Quality();
  quality.add(0, { frame: 1, ageMs: 3_600_000 });
  assert.equal(quality.age, null);
});

test('the rate is over the last seconds, and a resumed transfer starts it over', () => {
  const rate = new Rate();
  assert.equal(rate.perSecond, null);
  for (let at = 0; at <= 5000; at += 100) rate.add(at, at * 10);
  assert.equal(Math.round(rate.perSecond), 10_000);
  rate.add(5100, 0);
  assert.equal(rate.perSecond, null);
});

test('telemetry has units, north is up, and unknown values keep their names', () => {
  const shown = rows({ seq: 1, speed: 1.234, pose: { x: 1, y: -2, heading: Math.PI / 2 }, battery: 0.5, angular_speed: -0.001, gripper_load: 0.12345, mode: 'idle', nested: {} });
  assert.deepEqual(shown.map(({ label, text }) => [label, text]), [
    ['Speed', '1.23 m/s'],
    ['Turning', '0°/s'],
    ['Heading', '0°'],
    ['Position', '1.0, −2.0 m'],
    ['Battery', '50 %'],
    ['gripper load', '0.123'],
    ['mode', 'idle'],
  ]);
  assert.deepEqual([0, Math.PI, -Math.PI / 2].map(compass), [90, 270, 180]);
  assert.deepEqual(rows({ speed: NaN, pose: 'here', battery: null }), []);
});

test('a computer is shown with its graphics cards, and hostile words about it show nothing', () => {
  const shown = rows({
    host: {
      cpu: 0.126, memory_used_mb: 2048, memory_mb: 24064,
      gpus: [{ model: 'A card', utilization: 0.5, memory_used_mb: 512, memory_mb: 8192, temperature_c: 61 }, 'no card'],
    },
  });
  assert.deepEqual(shown.map(({ label, text }) => `${label}: ${text}`), [
    'Processor: 13 %',
    'Memory: 2.0 of 23.5 GiB',
    'A card: 50 %, 0.5 of 8.0 GiB, 61 °C',
  ]);
  assert.deepEqual(rows(/** @type {any} */ ({ host: { cpu: 'all', gpus: { length: 9 } } })), []);
});

test('every state of the connection has words, and what is lost says so', () => {
  const state = { access: 'operator', worker: 'w', others: 0, serverLost: null, reason: null, problem: null };
  for (const phase of ['signing-in', 'joining', 'waiting', 'connecting', 'connected', 'interrupted', 'ended']) {
    const [line, title] = words({ ...state, phase }, true);
    assert.ok(line.length > 3 && title.length > 3, phase);
  }
  const away = { reason: 'the server cannot be reached', retryAt: Infinity };
  assert.match(words({ ...state, phase: 'connected', serverLost: away }, true)[0], /^Connected.*server is away/);
  assert.match(words({ ...state, phase: 'joining', serverLost: away }, true)[2], /^The server cannot be reached\./);
  assert.match(words({ ...state, phase: 'connecting', reason: 'the machine closed the connection' }, true)[2], /^The machine closed/);
});

test('refusals that retrying cannot mend are told from those that it can', () => {
  for (const code of ['ROOM_NOT_FOUND', 'ROOM_EXPIRED', 'INVALID_TOKEN', 'FORBIDDEN']) {
    assert.equal(finalRefusal(code).code, code);
  }
  for (const code of ['LIMIT_EXCEEDED', 'UNAVAILABLE', 'SOMETHING_NEW', undefined]) assert.equal(finalRefusal(code), null);
  assert.deepEqual([4000, 4003, 4004].map((code) => finalClose(code).code), ['REPLACED', 'REVOKED', 'ROOM_CLOSED']);
  for (const code of [1000, 1001, 1006, 1011, 4001, 4002]) {
    assert.equal(finalClose(code), null);
    assert.ok(closeReason(code).length > 0);
  }
});

test('a refused transfer is told in the other end’s words, or in ours', () => {
  assert.equal(fileWords('no_space', 'the disk has 3 MB left'), 'The disk has 3 MB left.');
  assert.match(fileWords('disabled', ''), /--files/);
  assert.match(fileWords('something_new', undefined), /failed/);
});
