// How a picture goes on while it is watched: when each frame was shown, and how old it was.
import { sampleStrips } from './strip-in-page.js';

/**
 * Watches for some seconds.
 *
 * @param {import('playwright-core').Page} page
 * @param {import('./link.js').Link} link
 * @param {number} seconds
 */
export async function watch(page, link, seconds) {
  const bytes = link.toPage.sentBytes;
  const begun = performance.now();
  const gaps = page.evaluate(
    (duration) =>
      new Promise((done) => {
        const video = /** @type {HTMLVideoElement} */ (document.querySelector('video'));
        const start = performance.now();
        let last = start;
        /** @type {number[]} */
        const found = [];
        const frame = () => {
          const now = performance.now();
          found.push(now - last);
          last = now;
          video.requestVideoFrameCallback(frame);
        };
        video.requestVideoFrameCallback(frame);
        setTimeout(() => {
          found.push(performance.now() - last);
          done(found);
        }, duration * 1000);
      }),
    seconds,
  );
  const [samples, pauses] = await Promise.all([sampleStrips(page, seconds), /** @type {Promise<number[]>} */ (gaps)]);
  return {
    /** Bits a second that came over the link. */
    bitrate: ((link.toPage.sentBytes - bytes) * 8000) / (performance.now() - begun),
    /** The longest time that one frame was shown, in ms. */
    longest: Math.max(...pauses),
    /** Times that a frame was shown longer than a second, and how long in all. */
    freezes: pauses.filter((pause) => pause > 1000),
    frames: pauses.length - 1,
    ages: samples.flatMap(({ strip }) => (strip === null ? [] : [strip.ageMs])),
    height: samples.at(-1)?.height ?? 0,
  };
}
