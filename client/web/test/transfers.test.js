import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { CHUNK_BYTES, decodeChunk, encodeChunk } from '../js/chunk.js';
import { blake3 } from '../vendor/noble-hashes/blake3.js';
import { seeded } from './helpers.js';

/** The browser's `Worker`, with the page's one worker script run in this thread. */
class WorkerHere extends EventTarget {
  postMessage(message) {
    queueMicrotask(() => globalThis.self.onmessage({ data: structuredClone(message) }));
  }
}

let Transfers;
before(async () => {
  const worker = new WorkerHere();
  globalThis.Worker = function () {
    return worker;
  };
  globalThis.self = {
    postMessage: (data) => queueMicrotask(() => worker.dispatchEvent(Object.assign(new Event('message'), { data }))),
  };
  await import('../js/hash-worker.js');
  ({ Transfers } = await import('../js/transfers.js'));
});

const hex = (bytes) => Buffer.from(blake3(bytes)).toString('hex');

function randomBytes(length, seed = 1) {
  const random = seeded(seed);
  return Uint8Array.from({ length }, () => random() * 256);
}

function file(name, bytes) {
  return new File([bytes], name, { lastModified: 1_700_000_000_000 });
}

/** A worker's end of a connection that speaks the protocol of `channel/files.rs`. */
class Machine {
  files = new Map();
  partial = new Map();
  said = [];
  cutAfter = Infinity;
  spoil = false;
  #incoming = new Map();
  #outgoing = new Map();
  #lastId = 900;

  constructor() {
    this.transfers = new Transfers({
      send: (prefix, payload) => {
        this.said.push([prefix, payload]);
        queueMicrotask(() => this.#heard(prefix, structuredClone(payload)));
        return true;
      },
      sendChunk: async (message, signal) => {
        await Promise.resolve();
        signal.throwIfAborted();
        this.#chunk(decodeChunk(message.buffer));
      },
      taken: (bytes) => {
        this.taken += bytes;
      },
    });
    this.taken = 0;
    this.transfers.connected();
  }

  words(prefix) {
    return this.said.filter(([said]) => said === prefix).map(([, payload]) => payload);
  }

  /** Until a transfer is over, or paused. */
  settled(state = /done|failed|cancelled|paused/) {
    return new Promise((resolve) => {
      this.transfers.on('added', (transfer) => {
        transfer.on('changed', () => state.test(transfer.state) && setTimeout(() => resolve(transfer)));
      });
    });
  }

  #say(prefix, payload) {
    queueMicrotask(() => this.transfers.take({ prefix, payload }));
  }

  #heard(prefix, payload) {
    const { transfer } = payload;
    if (prefix === 'TRANSFER_OFFER') {
      const held = this.partial.get(payload.name) ?? new Uint8Array();
      this.#incoming.set(transfer, { ...payload, bytes: [...held] });
      this.#say('TRANSFER_ACCEPT', { transfer, offset: held.length, ...(held.length && { prefix: hex(held) }) });
    } else if (prefix === 'TRANSFER_END') {
      const { name, bytes } = this.#incoming.get(transfer);
      const whole = Uint8Array.from(bytes);
      if (hex(whole) === payload.blake3) {
        this.files.set(name, whole);
        this.#say('TRANSFER_DONE', { transfer });
      } else {
        this.#say('TRANSFER_REFUSE', { transfer, code: 'hash_mismatch', message: '' });
      }
    } else if (prefix === 'FILE_GET') {
      const bytes = this.files.get(payload.path);
      if (!bytes) return this.#say('FILE_ERROR', { id: payload.id, code: 'not_found', message: 'there is no such file' });
      this.#lastId += 1;
      this.#outgoing.set(this.#lastId, bytes);
      this.#say('TRANSFER_OFFER', { transfer: this.#lastId, name: payload.path, size: bytes.length, request: payload.id });
    } else if (prefix === 'TRANSFER_ACCEPT') {
      this.#send(transfer, payload);
    }
  }

  #send(transfer, { offset, prefix }) {
    const bytes = this.#outgoing.get(transfer);
    const start = prefix && prefix !== hex(bytes.subarray(0, offset)) ? 0 : offset;
    // The end travels on another lane: here it always overtakes the bytes.
    this.#say('TRANSFER_END', { transfer, blake3: hex(bytes) });
    for (let at = start; at < bytes.length; at += CHUNK_BYTES) {
      if (this.cutAfter-- <= 0) return void setTimeout(() => this.transfers.disconnected());
      const piece = bytes.slice(at, at + CHUNK_BYTES);
      if (this.spoil) piece[0] ^= 1;
      queueMicrotask(() => this.transfers.takeChunk(encodeChunk(transfer, at, piece).buffer));
    }
  }

  #chunk({ transfer, offset, bytes }) {
    if (this.cutAfter-- <= 0) return this.transfers.disconnected();
    const incoming = this.#incoming.get(transfer);
    if (offset === 0) incoming.bytes = [];
    assert.equal(offset, incoming.bytes.length, 'no gap');
    incoming.bytes.push(...bytes);
    this.partial.set(incoming.name, Uint8Array.from(incoming.bytes));
  }
}

class Sink {
  bytes = [];
  resets = 0;
  finished = false;
  abandoned = false;
  async write(bytes) {
    this.bytes.push(...bytes);
  }
  async reset() {
    this.bytes = [];
    this.resets += 1;
  }
  async finish() {
    this.finished = true;
  }
  async abandon() {
    this.abandoned = true;
  }
}

for (const size of [0, 1, CHUNK_BYTES, 5 * CHUNK_BYTES + 7, 17 * CHUNK_BYTES]) {
  test(`a file of ${size} bytes goes up whole`, async () => {
    const machine = new Machine();
    const bytes = randomBytes(size);
    const settled = machine.settled();
    machine.transfers.upload(file('a b.bin', bytes), 'logs/today');
    const transfer = await settled;
    assert.equal(transfer.state, 'done', transfer.error);
    assert.deepEqual(machine.files.get('logs/today/a b.bin'), bytes);
    assert.equal(machine.words('TRANSFER_OFFER')[0].modified_ms, 1_700_000_000_000);
  });

  test(`a file of ${size} bytes comes down whole`, async () => {
    const machine = new Machine();
    machine.files.set('x.bin', randomBytes(size));
    const sink = new Sink();
    const settled = machine.settled();
    machine.transfers.download('x.bin', 'x.bin', size, sink);
    const transfer = await settled;
    assert.equal(transfer.state, 'done', transfer.error);
    assert.deepEqual(Uint8Array.from(sink.bytes), machine.files.get('x.bin'));
    assert.ok(sink.finished);
    const messages = Math.ceil(size / CHUNK_BYTES);
    assert.equal(machine.taken, size + 16 * messages, 'every byte of bulk is given back to the window');
  });
}

test('an upload that was cut goes on where the machine already has it', async () => {
  const machine = new Machine();
  const bytes = randomBytes(9 * CHUNK_BYTES + 5);
  machine.cutAfter = 4;
  const paused = machine.settled(/paused/);
  const done = machine.settled(/done|failed/);
  machine.transfers.upload(file('big', bytes), '');
  await paused;
  machine.cutAfter = Infinity;
  machine.transfers.connected();
  assert.equal((await done).state, 'done');
  assert.deepEqual(machine.files.get('big'), bytes);
});

test('what the machine holds of another file is not built upon', async () => {
  const machine = new Machine();
  const bytes = randomBytes(3 * CHUNK_BYTES);
  machine.partial.set('big', randomBytes(CHUNK_BYTES, 99));
  const settled = machine.settled();
  machine.transfers.upload(file('big', bytes), '');
  assert.equal((await settled).state, 'done');
  assert.deepEqual(machine.files.get('big'), bytes);
});

test('a download that was cut goes on where it was, and checks the whole', async () => {
  const machine = new Machine();
  const bytes = randomBytes(7 * CHUNK_BYTES + 3);
  machine.files.set('x', bytes);
  machine.cutAfter = 3;
  const sink = new Sink();
  const paused = machine.settled(/paused/);
  const done = machine.settled(/done|failed/);
  machine.transfers.download('x', 'x', bytes.length, sink);
  await paused;
  machine.cutAfter = Infinity;
  machine.transfers.connected();
  assert.equal((await done).state, 'done');
  const [first, second] = machine.words('TRANSFER_ACCEPT');
  assert.deepEqual([first.offset, second.offset], [0, 3 * CHUNK_BYTES]);
  assert.deepEqual(Uint8Array.from(sink.bytes), bytes);
  assert.equal(sink.resets, 0);
});

test('a download whose file changed meanwhile starts over', async () => {
  const machine = new Machine();
  machine.files.set('x', randomBytes(7 * CHUNK_BYTES, 1));
  machine.cutAfter = 3;
  const sink = new Sink();
  const paused = machine.settled(/paused/);
  const done = machine.settled(/done|failed/);
  machine.transfers.download('x', 'x', 0, sink);
  await paused;
  machine.cutAfter = Infinity;
  machine.files.set('x', randomBytes(5 * CHUNK_BYTES, 2));
  machine.transfers.connected();
  assert.equal((await done).state, 'done');
  assert.deepEqual(Uint8Array.from(sink.bytes), machine.files.get('x'));
  assert.equal(sink.resets, 1);
});

test('bytes that were changed on the way are refused and never handed over', async () => {
  const machine = new Machine();
  machine.files.set('x', randomBytes(2 * CHUNK_BYTES));
  machine.spoil = true;
  const sink = new Sink();
  const settled = machine.settled();
  machine.transfers.download('x', 'x', 0, sink);
  const transfer = await settled;
  assert.equal(transfer.state, 'failed');
  assert.match(transfer.error, /not those that were sent/);
  assert.equal(machine.words('TRANSFER_REFUSE')[0].code, 'hash_mismatch');
  assert.deepEqual([sink.finished, sink.abandoned], [false, true]);
});

test('a file that is not there fails in the machine’s words', async () => {
  const machine = new Machine();
  const settled = machine.settled();
  machine.transfers.download('nothing', 'nothing', 0, new Sink());
  assert.equal((await settled).error, 'There is no such file.');
});

test('a transfer that is called off tells the other end, and only once', async () => {
  const machine = new Machine();
  const settled = machine.settled(/cancelled/);
  machine.transfers.on('added', (transfer) => transfer.on('changed', () => transfer.bytes > 0 && transfer.cancel()));
  machine.transfers.upload(file('big', randomBytes(20 * CHUNK_BYTES)), '');
  await settled;
  assert.deepEqual(machine.words('TRANSFER_CANCEL').map(({ code }) => code), ['cancelled']);
  assert.equal(machine.transfers.isBusy, false);
});

test('a file that nobody asked for is refused', () => {
  const machine = new Machine();
  assert.ok(machine.transfers.take({ prefix: 'TRANSFER_OFFER', payload: { transfer: 5, name: 'virus.exe', size: 1 } }));
  assert.equal(machine.words('TRANSFER_REFUSE')[0].transfer, 5);
});

test('many files are sent two at a time, and all arrive', async () => {
  const machine = new Machine();
  let most = 0;
  let running = 0;
  const over = new Promise((resolve) => {
    let left = 12;
    machine.transfers.on('over', () => (left -= 1) === 0 && resolve());
  });
  machine.transfers.on('added', (transfer) => {
    let was = transfer.state;
    transfer.on('changed', () => {
      running += Number(transfer.state === 'running' && was !== 'running');
      running -= Number(was === 'running' && transfer.state !== 'running');
      was = transfer.state;
      most = Math.max(most, running);
    });
  });
  for (let at = 0; at < 12; at += 1) machine.transfers.upload(file(`f${at}`, randomBytes(1000, at)), '');
  await over;
  assert.equal(machine.files.size, 12);
  assert.equal(most, 2);
});
