/**
 * The join link, `http(s)://HOST/r/ROOM_ID#TOKEN`. The token stands behind `#`, which browsers
 * never send.
 */

/** Longest token that is looked at; the broker's own have 22 characters. */
const MAX_TOKEN_CHARS = 512;

const ROOM_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** @typedef {{base: string, room: string | null, token: string | null}} Place */

/**
 * What an address of this page says: the broker's base address (ending in `/`), the room and the
 * token, where there are any.
 *
 * @param {string} address
 * @returns {Place}
 */
export function readAddress(address) {
  const url = new URL(address);
  const at = url.pathname.lastIndexOf('/r/');
  const room = at < 0 ? '' : url.pathname.slice(at + 3).replace(/\/+$/, '');
  const prefix = at < 0 ? url.pathname.replace(/[^/]*$/, '') : `${url.pathname.slice(0, at)}/`;
  return {
    base: `${url.origin}${prefix}`,
    room: ROOM_ID.test(room) ? room : null,
    token: readToken(url.hash.slice(1)),
  };
}

/**
 * Reads what somebody pasted as a join link.
 *
 * @param {string} text
 * @returns {{href: string, place: Place} | {error: string}}
 */
export function readLink(text) {
  let url;
  try {
    url = new URL(text.trim());
  } catch {
    return { error: 'This is not a link. A join link looks like https://host/r/ROOM_ID#TOKEN' };
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    return { error: `The link starts with ${url.protocol}// but only http:// and https:// work here.` };
  }
  const place = readAddress(url.href);
  if (place.room === null) {
    return { error: 'The link has no room in it. A join link looks like https://host/r/ROOM_ID#TOKEN' };
  }
  if (place.token === null) {
    return { error: 'The link has no token: copy the whole link, with the part behind the # sign.' };
  }
  return { href: url.href, place };
}

/**
 * Reads what somebody pasted where a token of this room is asked for: the token, or the whole link.
 *
 * @param {string} text
 * @param {string} room
 * @returns {{token: string} | {error: string}}
 */
export function readTokenOrLink(text, room) {
  const trimmed = text.trim();
  if (trimmed.includes('://')) {
    const link = readLink(trimmed);
    if ('error' in link) return link;
    if (link.place.room !== room) {
      return { error: `That link is for room ${link.place.room}, and this is room ${room}. Open the link itself instead.` };
    }
    return { token: /** @type {string} */ (link.place.token) };
  }
  const token = readToken(trimmed.replace(/^#/, ''));
  return token === null
    ? { error: 'Paste the token: the part of the join link behind the # sign.' }
    : { token };
}

/** @param {string} text */
function readToken(text) {
  return text !== '' && text.length <= MAX_TOKEN_CHARS && /^[!-~]+$/.test(text) ? text : null;
}
