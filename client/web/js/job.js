/**
 * One job as its events tell it: no document, no connection, no clock.
 *
 * @typedef {import('./types.js').JobInfo} JobInfo
 * @typedef {import('./types.js').JobEvent} JobEvent
 * @typedef {{epoch: number, loss: number}} Point
 * @typedef {{event: string, epoch: number | null, batch: number | null, logs: Map<string, number>}} Report
 * @typedef {{text: string, kind: 'out' | 'progress' | 'error' | 'note'}} Line
 */

/** Lines that are kept: the page shows the end of the output, the worker has all of it. */
const MAX_LINES = 200;

/** Points of a curve, at most: beyond, every second one goes. */
const MAX_POINTS = 2_000;

/** Characters of a line that are kept. */
const MAX_LINE = 500;

export class Job {
  /** @type {string} */
  id;
  state = 'queued';
  reason = '';
  /** The number of the event to ask for next. */
  next = 1;
  over = false;
  /** @type {number | null} */
  epochs = null;
  /** Epochs that are done. */
  done = 0;
  /** Batches of the present epoch that are done. */
  batch = 0;
  /** @type {number | null} */
  batches = null;
  train = new Curve();
  val = new Curve();
  /** @type {Line[]} */
  lines = [];
  /** @type {string[]} */
  results = [];

  /** @param {string} id */
  constructor(id) {
    this.id = id;
  }

  /** How much is done, from 0 to 1; `null` where nobody says how much there is. */
  get share() {
    if (this.epochs === null || this.epochs <= 0) return null;
    const part = this.batches ? Math.min(this.batch / this.batches, 1) : 0;
    return Math.min((this.done + part) / this.epochs, 1);
  }

  /** @param {JobEvent} event */
  take(event) {
    if (!Number.isInteger(event?.n) || event.n < this.next) return;
    this.next = event.n + 1;
    switch (event.kind) {
      case 'state':
        this.state = String(event['state']);
        this.reason = String(event['reason'] ?? '');
        break;
      case 'line': {
        const isError = event['stream'] === 'stderr';
        this.#line(String(event['text']), event['progress'] ? 'progress' : isError ? 'error' : 'out');
        break;
      }
      case 'progress': {
        const report = readReport(String(event['report']));
        if (report) this.#progress(report);
        break;
      }
      case 'result':
        this.results.push(String(event['path']));
        break;
      case 'note':
        this.#line(String(event['message']), 'note');
        break;
      default:
        break;
    }
  }

  /** @param {string} text @param {Line['kind']} kind */
  #line(text, kind) {
    // Progress is written over by what comes next.
    if (kind !== 'note' && this.lines.at(-1)?.kind === 'progress') this.lines.pop();
    this.lines.push({ text: text.slice(0, MAX_LINE), kind });
    if (this.lines.length > MAX_LINES) this.lines.shift();
  }

  /** @param {Report} report */
  #progress({ event, epoch, batch, logs }) {
    switch (event) {
      case 'train_begin':
        this.done = 0;
        this.batch = 0;
        this.train = new Curve();
        this.val = new Curve();
        break;
      case 'epoch_begin':
        this.batch = 0;
        break;
      case 'batch_end':
        this.batch = (batch ?? this.batch) + 1;
        break;
      case 'epoch_end':
        if (this.batch > 0) this.batches = this.batch;
        this.batch = 0;
        this.done = (epoch ?? this.done) + 1;
        this.train.add(this.done, logs.get('train/loss') ?? logs.get('loss'));
        this.val.add(this.done, logs.get('val/loss') ?? logs.get('val_loss'));
        break;
      default:
        break;
    }
  }
}

/** A loss over epochs. What is no number is counted and not drawn. */
export class Curve {
  /** @type {Point[]} */
  points = [];
  /** @type {number | null} */
  last = null;
  notNumbers = 0;
  #every = 1;

  /** @param {number} epoch @param {number | undefined} loss */
  add(epoch, loss) {
    if (loss === undefined) return;
    this.last = loss;
    if (!Number.isFinite(loss)) {
      this.notNumbers += 1;
    } else if (epoch % this.#every === 0) {
      this.points.push({ epoch, loss });
      if (this.points.length >= MAX_POINTS) {
        this.#every *= 2;
        this.points = this.points.filter((point) => point.epoch % this.#every === 0);
      }
    }
  }
}

/**
 * Reads what a trainer said. Python writes bare `NaN` and `Infinity`, which are not JSON, and a
 * loss that is no number is what people watch for.
 *
 * @param {string} text
 * @returns {Report | null}
 */
export function readReport(text) {
  const quoted = text.replace(/"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g, (word) =>
    word.startsWith('"') ? word : `"\\u0000${word}"`,
  );
  let value;
  try {
    value = JSON.parse(quoted);
  } catch {
    return null;
  }
  if (typeof value?.event !== 'string') return null;
  const logs = new Map();
  for (const [name, figure] of Object.entries(value.logs ?? {}).slice(0, 256)) {
    if (typeof figure === 'number') logs.set(name, figure);
    else if (typeof figure === 'string' && figure.startsWith('\0')) logs.set(name, Number(figure.slice(1)));
  }
  /** @param {unknown} number */
  const whole = (number) => (Number.isInteger(number) && Number(number) >= 0 ? Number(number) : null);
  return { event: value.event, epoch: whole(value.epoch), batch: whole(value.batch), logs };
}

/**
 * A loss with the digits that matter.
 *
 * @param {number} loss
 */
export function figure(loss) {
  if (!Number.isFinite(loss)) return String(loss);
  const size = Math.abs(loss);
  return size !== 0 && (size < 1e-3 || size >= 1e5) ? loss.toExponential(2) : loss.toFixed(4);
}
