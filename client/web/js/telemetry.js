import { hostRows } from './computer.js';
import { byId, create, setText } from './dom.js';

/**
 * What the machine says of itself, latest wins. Known values get their unit and their words;
 * numbers and short texts that this page does not know are shown under their own names.
 *
 * @typedef {import('./types.js').Telemetry} Telemetry
 */

/** The page draws this often; telemetry comes twenty times a second. */
const DRAW_EVERY_MS = 100;

/** After this long without a word the values are old. */
const STALE_MS = 1_500;

/** Values under their own names, at most. */
const MAX_OTHERS = 8;

/** Shown elsewhere, or nothing for people. */
const HIDDEN = new Set(['seq', 'time_ms', 'pose', 'speed', 'angular_speed', 'battery', 'goal', 'distance_to_goal', 'estop', 'driver', 'stamp', 'stopped']);

/** Fields of a machine whose units are remembered. */
const MAX_FIELDS = 128;

/** @typedef {{label: string, text: string, testid: string}} Row */

/**
 * @param {Record<string, unknown>} telemetry
 * @param {ReadonlyMap<string, string>} [units] of the fields that only this machine has
 * @returns {Row[]}
 */
export function rows(telemetry, units = new Map()) {
  const { pose, speed, angular_speed: turning, battery, distance_to_goal: distance } =
    /** @type {Telemetry} */ (telemetry);
  /** @type {Row[]} */
  const known = [];
  /** @param {string} label @param {string} testid @param {string | null} text */
  const add = (label, testid, text) => {
    if (text !== null) known.push({ label, testid: `telemetry-${testid}`, text });
  };
  add('Speed', 'speed', number(speed, 2, 'm/s'));
  add('Turning', 'angular-speed', number(degrees(turning), 0, '°/s'));
  add('Heading', 'heading', number(compass(pose?.heading), 0, '°'));
  add('Position', 'position', isNumber(pose?.x) && isNumber(pose?.y) ? `${fixed(pose.x, 1)}, ${fixed(pose.y, 1)} m` : null);
  add('To the goal', 'goal', number(distance, 1, 'm'));
  add('Battery', 'battery', isNumber(battery) ? `${Math.round(battery * 100)} %` : null);
  const others = Object.entries(telemetry)
    .filter(([name, value]) => !HIDDEN.has(name) && ['number', 'string', 'boolean'].includes(typeof value))
    .slice(0, MAX_OTHERS)
    .map(([name, value]) => ({
      label: name.replaceAll('_', ' ').slice(0, 40),
      testid: `telemetry-${name}`,
      text: `${isNumber(value) ? Math.round(value * 1000) / 1000 : String(value).slice(0, 60)}${unitOf(units, name)}`,
    }));
  return [...known, ...others, ...hostRows(telemetry.host)];
}

export class TelemetryView {
  #values = byId('telemetry-values');
  #note = byId('telemetry-note');
  /** @type {Map<string, HTMLElement>} */
  #cells = new Map();
  /** @type {Telemetry | null} */
  #latest = null;
  /** Comes less often than the rest. @type {unknown} */
  #host;
  #heardAt = -Infinity;
  /** @type {number | null} */
  #stamp = null;
  /** Units by the names of fields. @type {Map<string, string>} */
  #units = new Map();

  constructor() {
    setInterval(() => this.#draw(), DRAW_EVERY_MS);
  }

  /** The last thing that was said. */
  get latest() {
    return this.#latest;
  }

  /** The newest stamp of the machine's clock, for who echoes it; `null` on a new connection. */
  get stamp() {
    return this.#stamp;
  }

  /** What the machine says its fields mean. @param {Record<string, any>} schema */
  describe(schema) {
    const fields = Array.isArray(schema['fields']) ? schema['fields'].slice(0, MAX_FIELDS) : [];
    this.#units = new Map(
      fields
        .filter(({ name, unit }) => typeof name === 'string' && typeof unit === 'string')
        .map(({ name, unit }) => [name, unit.slice(0, 12)]),
    );
  }

  /** @param {Telemetry} telemetry */
  take(telemetry) {
    const { stamp } = telemetry;
    if (isNumber(stamp) && stamp > (this.#stamp ?? -1)) this.#stamp = stamp;
    // The lane does not keep the order.
    const [was, is] = [this.#latest?.time_ms, telemetry.time_ms];
    const isOld = isNumber(was) && isNumber(is) && is < was && was - is < 5_000;
    if (isOld) return;
    this.#latest = telemetry;
    this.#host = telemetry.host ?? this.#host;
    this.#heardAt = performance.now();
  }

  /** The connection is gone: what is shown is old. */
  gone() {
    this.#stamp = null;
    this.#heardAt = -Infinity;
  }

  #draw() {
    const isStale = performance.now() - this.#heardAt > STALE_MS;
    this.#values.toggleAttribute('data-stale', isStale);
    setText(this.#note, isStale ? (this.#latest ? 'not up to date' : 'nothing heard yet') : '');
    if (!this.#latest || document.hidden) return;
    const wanted = rows({ .../** @type {any} */ (this.#latest), host: this.#host }, this.#units);
    const names = wanted.map(({ testid }) => testid).join();
    if ([...this.#cells.keys()].join() !== names) this.#rebuild(wanted);
    for (const { testid, text } of wanted) {
      const cell = this.#cells.get(testid);
      if (cell) setText(cell, text);
    }
  }

  /** @param {Row[]} wanted */
  #rebuild(wanted) {
    this.#cells = new Map(wanted.map(({ testid }) => [testid, create('dd', { testid })]));
    this.#values.replaceChildren(
      ...wanted.map(({ label, testid }) =>
        create('div', {}, [create('dt', { text: label }), this.#cells.get(testid) ?? create('dd')]),
      ),
    );
  }
}

/** @param {ReadonlyMap<string, string>} units @param {string} name */
function unitOf(units, name) {
  const unit = units.get(name);
  return unit === undefined || unit === '1' ? '' : ` ${unit}`;
}

/** Of a heading in radians, counter-clockwise from east: degrees clockwise from north.
 * @param {number | undefined} heading */
export function compass(heading) {
  if (!isNumber(heading)) return undefined;
  const clockwise = 90 - (heading * 180) / Math.PI;
  return Math.round(((clockwise % 360) + 360) % 360) % 360;
}

/** @param {number | undefined} radians */
function degrees(radians) {
  return isNumber(radians) ? (radians * 180) / Math.PI : undefined;
}

/**
 * @param {number | undefined} value
 * @param {number} digits
 * @param {string} unit
 */
function number(value, digits, unit) {
  return isNumber(value) ? `${fixed(value, digits)}${unit === '°' ? '' : ' '}${unit}`.replace(' °/s', '°/s') : null;
}

/** Without a minus before nothing. @param {number} value @param {number} digits */
function fixed(value, digits) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? (0).toFixed(digits) : text.replace('-', '−');
}

/** @param {unknown} value @returns {value is number} */
function isNumber(value) {
  return typeof value === 'number' && Number.isFinite(value);
}
