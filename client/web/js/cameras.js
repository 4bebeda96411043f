import { byId, create } from './dom.js';
import { Emitter } from './emitter.js';

/**
 * Several pictures of one machine: which is large, and which is shown small in its corner. The
 * choice is remembered in this browser by the names of the cameras.
 *
 * @typedef {import('./session.js').Session} Session
 * @typedef {import('./types.js').Hello} Hello
 * @typedef {{main: string | null, inset: string | null}} Choice
 *
 * @typedef {object} Events
 * @property {string | null} main the large picture is another one now
 */

const REMEMBERED = 'halyard.cameras';

const NOTHING = /** @type {Choice} */ ({ main: null, inset: null });

/** @extends {Emitter<Events>} */
export class CamerasView extends Emitter {
  #session;
  /** @type {string[]} */
  #names = [];
  /** What is wanted. @type {Choice} */
  #choice = NOTHING;
  /** What the machine says that it shows. @type {Choice} */
  #shown = NOTHING;
  #buttons = byId('cameras');
  #inset = byId('inset');
  #small = /** @type {HTMLVideoElement} */ (byId('inset-video'));
  #label = byId('inset-name');

  /** @param {Session} session */
  constructor(session) {
    super();
    this.#session = session;
    this.#inset.addEventListener('click', () => this.#choose(swapped(this.#choice)));
    session.on('hello', (hello) => this.#greeted(hello));
    session.on('watch', (tracks) => this.#told(tracks));
    session.on('gone', () => {
      this.#shown = NOTHING;
      this.#draw();
    });
    session.on('track', ({ place, track }) => {
      if (place === 1) this.#small.srcObject = new MediaStream([track]);
    });
  }

  /** The name of the large picture, once it is known. */
  get main() {
    return this.#shown.main;
  }

  /** For the page's own numbers. */
  get numbers() {
    return { names: [...this.#names], ...this.#shown };
  }

  /** @param {Hello} hello */
  #greeted({ video }) {
    this.#names = video.map(({ name }) => name);
    this.#shown = { main: this.#names[0] ?? null, inset: null };
    this.#choice = remembered(this.#names, recall());
    if (this.#choice.main !== this.#shown.main || this.#choice.inset !== null) this.#ask();
    this.emit('main', this.#shown.main);
    this.#draw();
  }

  /** @param {(string | null)[]} tracks one for each place */
  #told([main = null, inset = null]) {
    // Before the picture can flow nothing is shown, and what comes then is what was asked for.
    if (main === null && inset === null) return;
    const before = this.#shown.main;
    this.#shown = { main, inset };
    if (main !== before) this.emit('main', main);
    this.#draw();
  }

  /** @param {Choice} choice */
  #choose(choice) {
    this.#choice = choice;
    remember(choice);
    this.#ask();
    this.#draw();
  }

  #ask() {
    const { main, inset } = this.#choice;
    this.#session.send('WATCH', { tracks: inset === null ? [main] : [main, inset] });
  }

  #draw() {
    const several = this.#names.length > 1;
    this.#buttons.hidden = !several;
    const { main, inset } = this.#choice;
    this.#inset.hidden = !several || this.#shown.inset === null;
    this.#inset.setAttribute('aria-label', `${this.#shown.inset}: show it large`);
    this.#label.textContent = this.#shown.inset;
    if (!several) return;
    const choices = this.#names.map((name) => {
      const button = create('button', { class: 'camera', type: 'button', text: name, testid: `camera-${name}` });
      button.setAttribute('aria-pressed', String(name === main));
      button.addEventListener('click', () => this.#choose(large(this.#choice, name)));
      return button;
    });
    const second = create('button', { class: 'camera second', type: 'button', text: 'Second picture', testid: 'camera-second' });
    second.setAttribute('aria-pressed', String(inset !== null));
    second.addEventListener('click', () => this.#choose(withSecond(this.#choice, this.#names)));
    // The one that has the focus is made anew too.
    const focused = [...this.#buttons.children].indexOf(/** @type {Element} */ (document.activeElement));
    this.#buttons.replaceChildren(...choices, second);
    const again = this.#buttons.children[focused];
    if (again instanceof HTMLElement) again.focus();
  }
}

/**
 * This one large. What was large becomes the small one only where the two change places.
 *
 * @param {Choice} choice
 * @param {string} name
 * @returns {Choice}
 */
export function large(choice, name) {
  return choice.inset === name ? swapped(choice) : { ...choice, main: name };
}

/** @param {Choice} choice @returns {Choice} */
export function swapped({ main, inset }) {
  return inset === null ? { main, inset } : { main: inset, inset: main };
}

/**
 * With a small picture: the one after the large one; or without it again.
 *
 * @param {Choice} choice
 * @param {string[]} names
 * @returns {Choice}
 */
export function withSecond({ main, inset }, names) {
  if (inset !== null || main === null) return { main, inset: null };
  const next = names[(names.indexOf(main) + 1) % names.length] ?? null;
  return { main, inset: next === main ? null : next };
}

/**
 * The choice of an earlier visit, as far as this machine has such cameras.
 *
 * @param {string[]} names
 * @param {Partial<Choice>} saved
 * @returns {Choice}
 */
export function remembered(names, saved) {
  const known = (/** @type {unknown} */ name) => (typeof name === 'string' && names.includes(name) ? name : null);
  const main = known(saved.main) ?? names[0] ?? null;
  const inset = known(saved.inset);
  return { main, inset: inset === main ? null : inset };
}

/** @returns {Partial<Choice>} */
function recall() {
  try {
    const saved = JSON.parse(window.localStorage.getItem(REMEMBERED) ?? '{}');
    return typeof saved === 'object' && saved !== null ? saved : {};
  } catch {
    // A browser that keeps nothing begins with the first picture.
    return {};
  }
}

/** @param {Choice} choice */
function remember(choice) {
  try {
    window.localStorage.setItem(REMEMBERED, JSON.stringify(choice));
  } catch {
    // The same.
  }
}
