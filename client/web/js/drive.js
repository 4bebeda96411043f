/**
 * Driving as pure logic: what is pressed and the time go in, what to say to the machine comes out.
 *
 * The machine follows only while messages keep coming and say that a hand is on the controls, so
 * whatever happens to this page stops it.
 *
 * @typedef {import('./types.js').Lease} Lease
 * @typedef {'forward' | 'back' | 'left' | 'right'} Direction
 *
 * @typedef {{linear: number, angular: number}} Stick shares of the full speed, left is positive
 *
 * @typedef {{kind: 'request'} | {kind: 'release'}
 *   | {kind: 'drive', lease: number, seq: number, linear: number, angular: number, held: boolean}} Action
 */

/** 20 messages a second while something is held. */
export const TICK_MS = 50;

/** A driver who has not driven for this long gives the controls back, so that others may have them. */
export const IDLE_RELEASE_MS = 30_000;

/** The message that says "let go" is not sent again when it is lost, so it is said three times. */
const STOP_REPEATS = 3;

/** Who has the controls and holds nothing says so this often: the machine goes on knowing how old
 * the driver's picture is. */
const IDLE_MS = 250;

/** How long to wait for an answer before asking for the controls again. */
const ASK_AGAIN_MS = 1_000;

/** Share of the full speed while Shift is held. */
const SLOW = 0.35;

export class Drive {
  /** What is pressed, by where it is pressed, so that a key and a finger do not undo each other.
   * @type {Map<string, Direction>} */
  #held = new Map();
  /** Sticks that are held, each from -1 to 1. @type {Map<string, Stick>} */
  #sticks = new Map();
  #slow = false;
  #silent = false;
  #saidAt = -Infinity;
  /** @type {string | null} */
  #blocked = null;
  /** @type {Lease} */
  #lease = { holder: null, number: 0, you: false };
  #limits = { forward: 0, back: 0, angular: 0 };
  #seq = 0;
  #stopsOwed = 0;
  #askedAt = -Infinity;
  #lastHeldAt = -Infinity;

  /**
   * Starts over on a new connection.
   *
   * @param {{max_linear: number, max_reverse?: number, max_angular: number} | undefined} limits
   */
  reset(limits) {
    this.releaseAll();
    this.#lease = { holder: null, number: 0, you: false };
    this.#limits = {
      forward: finite(limits?.max_linear),
      back: finite(limits?.max_reverse ?? limits?.max_linear),
      angular: finite(limits?.max_angular),
    };
    this.#stopsOwed = 0;
    this.#askedAt = -Infinity;
  }

  /** @param {Lease} lease */
  setLease(lease) {
    this.#lease = lease;
    if (!lease.you) this.#stopsOwed = 0;
  }

  /**
   * Nothing is driven for this reason; `null` lifts it. Whatever is held has to be pressed anew.
   *
   * @param {string | null} reason
   */
  block(reason) {
    this.#blocked = reason;
    if (reason !== null) this.releaseAll();
  }

  /** Why nothing is driven, if so. */
  get blocked() {
    return this.#blocked;
  }

  /**
   * @param {string} source a key or a button
   * @param {Direction} direction
   */
  press(source, direction) {
    if (this.#blocked === null) this.#held.set(source, direction);
  }

  /**
   * A stick, while its dead-man's switch is held.
   *
   * @param {string} source
   * @param {Stick} stick
   */
  steer(source, stick) {
    if (this.#blocked === null) this.#sticks.set(source, stick);
  }

  /** @param {string} source */
  release(source) {
    this.#held.delete(source);
    this.#sticks.delete(source);
  }

  releaseAll() {
    this.#held.clear();
    this.#sticks.clear();
    this.#slow = false;
  }

  /** @param {boolean} slow */
  setSlow(slow) {
    this.#slow = slow;
  }

  /** Nothing more is said, not even that nothing is held: for a page that nobody looks at.
   * @param {boolean} silent */
  silence(silent) {
    this.#silent = silent;
  }

  /** Whether a hand is on the controls. */
  get isHeld() {
    return this.#held.size > 0 || this.#sticks.size > 0;
  }

  /** Which directions are pressed. */
  get held() {
    return new Set(this.#held.values());
  }

  /** Whether `tick` has anything to say or to wait for. */
  get isBusy() {
    return this.isHeld || this.#stopsOwed > 0 || this.#lease.you;
  }

  /**
   * @param {number} now milliseconds, of any clock that only goes forward
   * @returns {Action[]}
   */
  tick(now) {
    if (this.isHeld) {
      this.#lastHeldAt = now;
      if (this.#lease.you) {
        this.#stopsOwed = STOP_REPEATS;
        this.#saidAt = now;
        return [this.#message(true)];
      }
      if (this.#lease.holder === null && now - this.#askedAt >= ASK_AGAIN_MS) {
        this.#askedAt = now;
        return [{ kind: 'request' }];
      }
      return [];
    }
    this.#askedAt = -Infinity;
    if (!this.#lease.you) return [];
    if (this.#stopsOwed > 0) {
      this.#stopsOwed -= 1;
      this.#saidAt = now;
      return [this.#message(false)];
    }
    if (this.#lastHeldAt === -Infinity) this.#lastHeldAt = now;
    if (now - this.#lastHeldAt >= IDLE_RELEASE_MS) {
      this.#lastHeldAt = now;
      return [{ kind: 'release' }];
    }
    if (!this.#silent && now - this.#saidAt >= IDLE_MS) {
      this.#saidAt = now;
      return [this.#message(false)];
    }
    return [];
  }

  /**
   * Lets go of everything and says so now: for a page that may not get another chance.
   *
   * @returns {Action[]}
   */
  stopNow() {
    this.releaseAll();
    if (!this.#lease.you || this.#stopsOwed === 0) return [];
    this.#stopsOwed -= 1;
    return [this.#message(false)];
  }

  /**
   * @param {boolean} held
   * @returns {Action}
   */
  #message(held) {
    const directions = this.held;
    const share = this.#slow ? SLOW : 1;
    /** @type {(plus: Direction, minus: Direction, stick: keyof Stick) => number} */
    const axis = (plus, minus, stick) => {
      let sum = Number(directions.has(plus)) - Number(directions.has(minus));
      for (const held of this.#sticks.values()) sum += finite(held[stick]);
      return Math.max(-1, Math.min(1, sum));
    };
    const along = axis('forward', 'back', 'linear');
    this.#seq += 1;
    return {
      kind: 'drive',
      lease: this.#lease.number,
      seq: this.#seq,
      linear: held ? along * share * (along < 0 ? this.#limits.back : this.#limits.forward) : 0,
      angular: held ? axis('left', 'right', 'angular') * share * this.#limits.angular : 0,
      held,
    };
  }
}

/** @type {Readonly<Record<string, Direction>>} keys by their place on the keyboard */
const KEYS = {
  ArrowUp: 'forward',
  KeyW: 'forward',
  ArrowDown: 'back',
  KeyS: 'back',
  ArrowLeft: 'left',
  KeyA: 'left',
  ArrowRight: 'right',
  KeyD: 'right',
};

/**
 * The direction that a key drives in, by its place on the keyboard.
 *
 * @param {string} code of the keyboard event
 */
export function directionOf(code) {
  return Object.hasOwn(KEYS, code) ? (KEYS[code] ?? null) : null;
}

/** @param {unknown} value */
function finite(value) {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}
