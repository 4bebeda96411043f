/** Text messages of the data channels: `PREFIX::{one JSON object}`. */

/**
 * @param {string} prefix
 * @param {object} payload
 */
export function encode(prefix, payload) {
  return `${prefix}::${JSON.stringify(payload)}`;
}

/**
 * Reads a text message. A prefix that nobody here knows is for the caller to pass over; a payload
 * that is no JSON object is not a message at all.
 *
 * @param {string} text
 * @returns {{prefix: string, payload: Record<string, any>} | null}
 */
export function decode(text) {
  const at = text.indexOf('::');
  if (at < 1) return null;
  let payload;
  try {
    payload = JSON.parse(text.slice(at + 2));
  } catch {
    return null;
  }
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return null;
  return { prefix: text.slice(0, at), payload };
}
