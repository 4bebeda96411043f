import { byId, create, setText } from './dom.js';
import { formatBitrate } from './format.js';

/**
 * How the connection itself does: the way it takes, round trip, rate, loss, decoding.
 *
 * @typedef {import('./session.js').Session} Session
 * @typedef {{way: string, roundTripMs: number | null, bitrate: number | null, lossPercent: number | null, carries: number | null, target: number | null, rendition: string | null, scale: number | null, repaired: number | null, decodeMs: number | null, bufferMs: number | null}} LinkNumbers
 */

const EVERY_MS = 1_000;

const WAYS = new Map([
  ['host', 'Direct, same network'],
  ['srflx', 'Direct'],
  ['prflx', 'Direct'],
  ['relay', 'Through a relay'],
]);

/** @type {LinkNumbers} */
const NOTHING = {
  way: '–',
  roundTripMs: null,
  bitrate: null,
  lossPercent: null,
  carries: null,
  target: null,
  rendition: null,
  scale: null,
  repaired: null,
  decodeMs: null,
  bufferMs: null,
};

export class LinkStats {
  #session;
  /** @type {any} */
  #before = null;
  /** What the machine said last. @type {import('./types.js').PathStats} */
  #path = {};
  /** @type {LinkNumbers} */
  latest = NOTHING;
  #cells = new Map(
    ['Route', 'Round trip', 'Video', 'The way carries', 'Encoder aims at', 'Lost packets', 'Decoding'].map((label) => [label, create('dd')]),
  );

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
    byId('link-values').replaceChildren(
      ...[...this.#cells].map(([label, cell]) => create('div', {}, [create('dt', { text: label }), cell])),
    );
    session.on('path', (path) => {
      this.#path = path;
    });
    session.on('gone', () => {
      this.#before = null;
      this.#path = {};
      this.latest = NOTHING;
      this.#draw();
    });
    setInterval(() => void this.#measure(), EVERY_MS);
    this.#draw();
  }

  async #measure() {
    if (document.hidden) return;
    const report = await this.#session.stats()?.catch(() => null);
    if (!report) return;
    /** @type {any[]} */
    const all = [...report.values()];
    const pair = all.find((s) => s.type === 'candidate-pair' && s.nominated && s.state === 'succeeded');
    const local = pair && all.find((s) => s.id === pair.localCandidateId);
    const remote = pair && all.find((s) => s.id === pair.remoteCandidateId);
    const video = all.find((s) => s.type === 'inbound-rtp' && s.kind === 'video');
    const before = this.#before;
    this.#before = video ?? null;
    const way = remote?.candidateType === 'relay' ? 'relay' : local?.candidateType;
    const isNext = video && before && before.id === video.id && video.timestamp > before.timestamp;
    /** @param {string} name */
    const grown = (name) => (isNext ? video[name] - before[name] : 0);
    const packets = grown('packetsReceived') + grown('packetsLost');
    const frames = grown('framesDecoded');
    const emitted = grown('jitterBufferEmittedCount');
    this.latest = {
      way: WAYS.get(way) ?? '–',
      roundTripMs: pair?.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000,
      bitrate: isNext ? (grown('bytesReceived') * 8000) / (video.timestamp - before.timestamp) : null,
      lossPercent: packets > 0 ? (100 * Math.max(0, grown('packetsLost'))) / packets : null,
      carries: number(this.#path.estimate),
      target: number(this.#path.target),
      rendition: text(this.#path.rendition),
      scale: number(this.#path.scale),
      repaired: number(this.#path.repaired),
      decodeMs: frames > 0 ? (1000 * grown('totalDecodeTime')) / frames : null,
      bufferMs: emitted > 0 ? (1000 * grown('jitterBufferDelay')) / emitted : null,
    };
    this.#draw();
  }

  #draw() {
    const { way, roundTripMs, bitrate, lossPercent, carries, target, rendition, scale, decodeMs } = this.latest;
    this.#set('Route', way);
    this.#set('Round trip', roundTripMs === null ? '–' : `${ms(roundTripMs)} ms`);
    this.#set('Video', bitrate === null ? '–' : formatBitrate(bitrate));
    this.#set('The way carries', carries === null ? '–' : formatBitrate(carries));
    const size = scale === null || scale === 1 ? '' : `, ${Math.round(100 * scale)} % size`;
    const which = rendition === null ? '' : `, ${rendition}`;
    this.#set('Encoder aims at', target === null ? '–' : formatBitrate(target) + which + size);
    this.#set('Lost packets', lossPercent === null ? '–' : `${lossPercent.toFixed(lossPercent > 0 ? 1 : 0)} %`);
    this.#set('Decoding', decodeMs === null ? '–' : `${ms(decodeMs)} ms`);
  }

  /** @param {string} label @param {string} text */
  #set(label, text) {
    const cell = this.#cells.get(label);
    if (cell) setText(cell, text);
  }
}

/** A number, or nothing that could be shown as one. @param {unknown} value */
function number(value) {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** A name, no longer than there is room for. @param {unknown} value */
function text(value) {
  return typeof value === 'string' ? value.slice(0, 24) : null;
}

/** @param {number} value */
function ms(value) {
  return value < 10 ? value.toFixed(1) : value.toFixed(0);
}
