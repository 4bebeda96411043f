/**
 * Commands that were given and are not answered yet, as pure logic. While there is no connection
 * they wait; with the next one they go out, unless their time is over. One that went out and was not
 * answered is said again under the same id: a machine that did it answers again and does not do it
 * again.
 *
 * @typedef {{id: string, name: string, args: object, until: number, said: boolean}} Given
 */

/** A command that waited longer than this is not what anybody wants any more. */
export const LIFE_MS = 30_000;

/** Commands that wait, at most. */
export const MAX_WAITING = 16;

/** Beyond its own time a command that was said is waited for this long: it may be under way. */
const ANSWER_MS = 60_000;

export class CommandQueue {
  /** @type {Map<string, Given>} */
  #given = new Map();

  /**
   * @param {{id: string, name: string, args: object}} command
   * @param {number} now
   * @returns {boolean} whether there was room
   */
  add({ id, name, args }, now) {
    if (this.#given.size >= MAX_WAITING) return false;
    this.#given.set(id, { id, name, args, until: now + LIFE_MS, said: false });
    return true;
  }

  /**
   * There is a connection: says what waits.
   *
   * @param {number} now
   * @param {(command: {id: string, name: string, args: object, deadline_ms: number}) => boolean} say whether it went out
   */
  flush(now, say) {
    for (const given of this.#given.values()) {
      if (given.said) continue;
      const left = Math.floor(given.until - now);
      if (left <= 0) continue;
      const { id, name, args } = given;
      given.said = say({ id, name, args, deadline_ms: left });
    }
  }

  /** The connection is gone: what was not answered is said again with the next one. */
  lost() {
    for (const given of this.#given.values()) given.said = false;
  }

  /** This page is a stranger to the machine from now on, which could do again what it did already.
   * @returns {Given[]} what nobody will hear of again */
  forget() {
    const all = this.waiting;
    this.#given.clear();
    return all;
  }

  /** @param {string} id @returns {Given | null} what was answered, or called off */
  take(id) {
    const given = this.#given.get(id) ?? null;
    this.#given.delete(id);
    return given;
  }

  /** @param {number} now @returns {Given[]} those whose time is over; they are not kept any more */
  expire(now) {
    const over = this.waiting.filter(({ said, until }) => now >= until + (said ? ANSWER_MS : 0));
    for (const { id } of over) this.#given.delete(id);
    return over;
  }

  /** In the order in which they were given. */
  get waiting() {
    return [...this.#given.values()];
  }
}
