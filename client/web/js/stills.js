import { PartReader } from './multipart.js';

/**
 * The picture over plain HTTP: `GET /mjpeg` of a machine that serves this page itself.
 *
 * It is read with `fetch` and not shown in an `<img>`: so the token goes in a header, every picture
 * is known when it comes, and an end is an end.
 */

/** Nothing for this long is an end: a machine that has a picture sends several a second. */
const SILENCE_MS = 5_000;

/** There is no such way to the machine: no use in trying again soon. */
export class NoWay extends Error {}

/**
 * Shows pictures until `signal` fires. Throws when there are no more, with what to tell people;
 * `NoWay` where this address has none to give.
 *
 * @param {{base: string, token: string, signal: AbortSignal, show: (picture: ImageBitmap) => void}} options
 */
export async function showStills({ base, token, signal, show }) {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), 2 * SILENCE_MS);
  try {
    const response = await fetch(`${base}mjpeg`, {
      headers: { Authorization: `Bearer ${token}` },
      cache: 'no-store',
      signal: AbortSignal.any([signal, silence.signal]),
    });
    if (!response.ok || !response.body) throw await refusal(response);
    const reader = response.body.getReader();
    /** @type {PartReader} */
    let parts;
    try {
      parts = new PartReader(response.headers.get('content-type') ?? '');
    } catch (error) {
      throw new NoWay(String(error));
    }
    const newest = decoder(show);
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Error('the machine ended the stream');
      const last = parts.push(value).at(-1);
      if (!last) continue;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      // Who does not look is not decoded for.
      if (!document.hidden) newest(last.body);
    }
  } catch (error) {
    if (silence.signal.aborted && !signal.aborted) throw new Error('no picture comes any more', { cause: error });
    throw error;
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

/** @param {Response} response @returns {Promise<Error>} */
async function refusal(response) {
  const body = await response.json().catch(() => null);
  const words = typeof body?.message === 'string' ? body.message.slice(0, 300) : '';
  // Busy or without a picture for now. Anything else is another server, another room, or a machine
  // that shows none.
  if (response.status === 503) return new Error(words || 'the machine is busy');
  return new NoWay(words || `the answer was ${response.status}`);
}

/**
 * Decodes one picture at a time, and of those that come meanwhile only the newest.
 *
 * @param {(picture: ImageBitmap) => void} show
 */
function decoder(show) {
  let isBusy = false;
  /** @type {Uint8Array<ArrayBuffer> | null} */
  let next = null;
  return async (/** @type {Uint8Array<ArrayBuffer>} */ jpeg) => {
    next = jpeg;
    if (isBusy) return;
    isBusy = true;
    while (next) {
      const now = next;
      next = null;
      try {
        show(await createImageBitmap(new Blob([now], { type: 'image/jpeg' })));
      } catch {
        // One that is damaged is one less.
      }
    }
    isBusy = false;
  };
}
