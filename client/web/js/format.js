/** Numbers as people read them. */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** @param {number} bytes */
export function formatBytes(bytes) {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** @param {number} seconds */
export function formatDuration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.ceil(seconds))} s`;
  if (seconds < 3600) return `${Math.ceil(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/**
 * When something was, as short as it can be said: the time today, otherwise the day.
 *
 * @param {number} ms since 1970
 * @param {Date} now
 */
export function formatDate(ms, now) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return '';
  return date.toDateString() === now.toDateString()
    ? date.toLocaleTimeString(undefined, { timeStyle: 'short' })
    : date.toLocaleDateString(undefined, { dateStyle: 'medium' });
}

/** @param {number} bitsPerSecond */
export function formatBitrate(bitsPerSecond) {
  return bitsPerSecond >= 1e6
    ? `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s`
    : `${Math.round(bitsPerSecond / 1e3)} kbit/s`;
}

/**
 * A peer's name, short: most are random UUIDs.
 *
 * @param {string | null | undefined} peerId
 */
export function shortName(peerId) {
  if (!peerId) return 'somebody';
  return /^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(peerId) ? peerId.slice(0, 8) : peerId.slice(0, 32);
}

/**
 * The same text with random names cut short, and this page's own name replaced by "you".
 *
 * @param {string} text
 * @param {string} self peer id
 */
export function shortenNames(text, self) {
  return text.replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}/gi, (name) =>
    name === self ? 'you' : shortName(name),
  );
}

/**
 * The part of `text` that a person sees when only `max` characters fit.
 *
 * @param {string} text
 * @param {number} max
 */
export function clip(text, max) {
  return text.length <= max ? text : `${text.slice(0, max - 1)}…`;
}

/**
 * A text as a sentence begins.
 *
 * @param {string} text
 */
export function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
