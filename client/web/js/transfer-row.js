import { create, setText } from './dom.js';
import { formatBytes, formatDuration } from './format.js';

/**
 * One transfer as people see it: name, bar, rate, how long it still takes, or why it failed.
 *
 * @typedef {import('./transfer.js').Transfer} Transfer
 */

const DRAW_EVERY_MS = 150;

export class TransferRow {
  #transfer;
  #bar = create('progress', {});
  #text = create('span', { class: 'row-about', testid: 'transfer-text' });
  #button = create('button', { class: 'quiet small', type: 'button' });
  #drawnAt = -Infinity;

  /** @param {Transfer} transfer */
  constructor(transfer) {
    this.#transfer = transfer;
    const verb = transfer.direction === 'up' ? 'Sending' : 'Fetching';
    const name = create('span', { class: 'row-name', text: transfer.name });
    name.title = transfer.name;
    this.#bar.max = 1;
    this.#bar.setAttribute('aria-label', `${verb} ${transfer.name}`);
    this.element = create('li', { class: 'row transfer', testid: 'transfer-row' }, [
      create('div', { class: 'row-text' }, [name, this.#bar, this.#text]),
      this.#button,
    ]);
    this.element.dataset['name'] = transfer.name;
    this.element.dataset['direction'] = transfer.direction;
    this.#button.addEventListener('click', () => {
      if (transfer.isOver) this.element.remove();
      else transfer.cancel();
    });
    transfer.on('changed', () => this.#changed());
    this.#draw();
  }

  #changed() {
    const now = performance.now();
    const isMoving = this.#transfer.state === 'running' && this.element.dataset['state'] === 'running';
    if (isMoving && now - this.#drawnAt < DRAW_EVERY_MS) return;
    this.#drawnAt = now;
    this.#draw();
  }

  #draw() {
    const { state, size, bytes, isOver } = this.#transfer;
    this.element.dataset['state'] = state;
    this.#bar.hidden = isOver;
    this.#bar.value = size > 0 ? bytes / size : 0;
    setText(this.#text, words(this.#transfer));
    setText(this.#button, isOver ? 'Clear' : 'Cancel');
    const label = isOver ? 'Remove this line about' : 'Cancel';
    this.#button.setAttribute('aria-label', `${label} ${this.#transfer.name}`);
  }
}

/** @param {Transfer} transfer */
function words({ state, direction, size, bytes, rate, error }) {
  switch (state) {
    case 'queued':
      return 'Waits for its turn';
    case 'running': {
      const perSecond = rate.perSecond;
      const moving = `${formatBytes(bytes)} of ${formatBytes(size)}`;
      if (!perSecond) return moving;
      const left = formatDuration((size - bytes) / perSecond);
      return `${moving} · ${formatBytes(perSecond)}/s · ${left} left`;
    }
    case 'checking':
      return 'Checking that every byte arrived';
    case 'paused':
      return `Paused at ${formatBytes(bytes)}, goes on by itself`;
    case 'done':
      return `${direction === 'up' ? 'Sent' : 'Fetched'} and verified, ${formatBytes(size)}`;
    case 'cancelled':
      return 'Called off';
    default:
      return error;
  }
}
