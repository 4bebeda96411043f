/**
 * A gamepad: the left stick drives while a shoulder button is held, which is its dead-man's switch,
 * and the right-hand button of the four is the emergency stop. Pure: what the browser says of the
 * pad goes in.
 *
 * @typedef {{axes: readonly number[], buttons: readonly {pressed: boolean}[], connected: boolean}} Pad
 * @typedef {{kind: 'steer', linear: number, angular: number} | {kind: 'release'} | {kind: 'estop'} | {kind: 'lost'}} PadAction
 */

/** Sticks do not come to rest at exactly nothing. */
const DEAD_ZONE = 0.12;

/** Of the standard layout. */
const ESTOP_BUTTON = 1;
const SHOULDERS = [4, 5, 6, 7];

export class Gamepad {
  #holds = false;
  #stops = false;
  #was = false;

  /**
   * @param {Pad | null} pad as it is now; `null` when there is none
   * @returns {PadAction[]}
   */
  poll(pad) {
    const is = pad?.connected === true;
    if (!pad || !is) {
      const wasHeld = this.#holds;
      const had = this.#was;
      this.#was = this.#holds = this.#stops = false;
      if (!had) return [];
      return wasHeld ? [{ kind: 'release' }, { kind: 'lost' }] : [{ kind: 'lost' }];
    }
    this.#was = true;
    /** @type {PadAction[]} */
    const actions = [];
    const stops = pad.buttons[ESTOP_BUTTON]?.pressed === true;
    if (stops && !this.#stops) actions.push({ kind: 'estop' });
    this.#stops = stops;
    const holds = SHOULDERS.some((at) => pad.buttons[at]?.pressed === true);
    if (holds) {
      // Up and left are negative on a pad; forwards and left are positive here.
      actions.push({ kind: 'steer', linear: share(-(pad.axes[1] ?? 0)), angular: share(-(pad.axes[0] ?? 0)) });
    } else if (this.#holds) {
      actions.push({ kind: 'release' });
    }
    this.#holds = holds;
    return actions;
  }
}

/** Without the dead zone, and with fine control near the middle. @param {number} axis */
function share(axis) {
  if (!Number.isFinite(axis)) return 0;
  const beyond = Math.max(0, Math.min(1, Math.abs(axis)) - DEAD_ZONE) / (1 - DEAD_ZONE);
  return beyond === 0 ? 0 : Math.sign(axis) * beyond * beyond;
}
