import { byId } from './dom.js';
import { directionOf } from './drive.js';

/**
 * Keys and on-screen buttons, turned into calls of a `Drive`. Keys never take anything from a text
 * field; Space is the emergency stop unless somebody is working another button by keyboard.
 *
 * @typedef {import('./drive.js').Drive} Drive
 */

const EDITABLE = 'input, textarea, select, [contenteditable]:not([contenteditable="false"])';

/** What Space and Enter work by themselves. */
const PRESSABLE = 'button, a[href], summary, label';

export class Pad {
  #drive;
  #changed;
  #keys = byId('keys');
  #buttons = /** @type {HTMLButtonElement[]} */ ([...this.#keys.querySelectorAll('button')]);

  /**
   * @param {Drive} drive
   * @param {object} calls
   * @param {() => void} calls.changed something was pressed or let go
   * @param {() => void} calls.estop
   */
  constructor(drive, { changed, estop }) {
    this.#drive = drive;
    this.#changed = changed;
    document.addEventListener('keydown', (event) => this.#keyDown(event, estop));
    document.addEventListener('keyup', (event) => this.#keyUp(event));
    for (const button of this.#buttons) this.#wire(button);
    // What is held when the page is left would never be seen let go.
    window.addEventListener('blur', () => this.letGo());
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) this.letGo();
    });
    void this.#nameKeys();
  }

  /** @param {boolean} enabled */
  enable(enabled) {
    for (const button of this.#buttons) button.disabled = !enabled;
  }

  /** Shows which directions are pressed. */
  draw() {
    const held = this.#drive.held;
    for (const button of this.#buttons) {
      const isHeld = held.has(/** @type {any} */ (button.dataset['direction']));
      button.toggleAttribute('data-held', isHeld);
    }
  }

  letGo() {
    this.#drive.releaseAll();
    this.#changed();
  }

  /**
   * @param {KeyboardEvent} event
   * @param {() => void} estop
   */
  #keyDown(event, estop) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const target = event.target instanceof Element ? event.target : null;
    if (target?.closest(EDITABLE) && target.id !== 'file-input') return;
    if (event.code === 'Space') {
      const other = target?.closest(PRESSABLE);
      const isWorked = other && !other.closest('#keys, #estop') && other.matches(':focus-visible');
      if (isWorked && !this.#drive.isHeld) return;
      event.preventDefault();
      if (!event.repeat) estop();
      return;
    }
    if (event.key === 'Shift') {
      this.#drive.setSlow(true);
      return;
    }
    const direction = directionOf(event.code);
    if (!direction) return;
    const scrolls = target?.closest('.side, pre') && event.code.startsWith('Arrow');
    if (scrolls || this.#drive.blocked !== null) return;
    event.preventDefault();
    if (event.repeat) return;
    // From here on Space has to stop the machine, whatever button was worked before.
    if (target?.closest(PRESSABLE) && !target.closest('#keys')) {
      byId('stage').focus({ preventScroll: true });
    }
    this.#drive.setSlow(event.shiftKey);
    this.#drive.press(event.code, direction);
    this.#changed();
  }

  /** @param {KeyboardEvent} event */
  #keyUp(event) {
    if (event.key === 'Shift') this.#drive.setSlow(false);
    // Space works a focused button on keyup; where it stopped the machine it did its work already.
    if (event.code === 'Space' && event.target instanceof Element && event.target.closest('#keys')) {
      event.preventDefault();
    }
    if (!directionOf(event.code)) return;
    this.#drive.release(event.code);
    this.#changed();
  }

  /** @param {HTMLButtonElement} button */
  #wire(button) {
    const direction = /** @type {import('./drive.js').Direction} */ (button.dataset['direction']);
    const letGo = (/** @type {string} */ source) => {
      this.#drive.release(source);
      this.#changed();
    };
    button.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      this.#drive.press(`pointer ${event.pointerId}`, direction);
      this.#changed();
    });
    for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) {
      button.addEventListener(name, (event) => {
        letGo(`pointer ${/** @type {PointerEvent} */ (event).pointerId}`);
      });
    }
    button.addEventListener('contextmenu', (event) => event.preventDefault());
    // Enter holds a focused button for as long as it is down.
    button.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.repeat) return;
      event.preventDefault();
      this.#drive.press('enter', direction);
      this.#changed();
    });
    button.addEventListener('keyup', (event) => {
      if (event.key === 'Enter') letGo('enter');
    });
    button.addEventListener('blur', () => letGo('enter'));
  }

  /** Writes the letters that are really on this keyboard: W A S D are places, not letters. */
  async #nameKeys() {
    const keyboard = /** @type {any} */ (navigator).keyboard;
    const map = await keyboard?.getLayoutMap?.().catch(() => null);
    if (!map) return;
    for (const key of this.#keys.querySelectorAll('kbd[data-code]')) {
      const letter = map.get(/** @type {HTMLElement} */ (key).dataset['code']);
      if (typeof letter === 'string' && letter.length === 1) key.textContent = letter.toUpperCase();
    }
  }
}
