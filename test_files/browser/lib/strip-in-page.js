// Reads the latency strip of every frame that the page shows: 64 black or white cells, 16 px high,
// along the bottom edge of the picture. Written apart from the page's own reader, as its check.

/**
 * @typedef {object} Sample
 * @property {number} width pixels
 * @property {number} height pixels
 * @property {{frame: number, ageMs: number} | null} strip `null` when it could not be read
 */

/**
 * Looks at every frame for some seconds.
 *
 * @param {import('playwright-core').Page} page
 * @param {number} seconds
 * @returns {Promise<Sample[]>}
 */
export function sampleStrips(page, seconds) {
  return page.evaluate(async (duration) => {
    const SYNC = 0b1010_0101;
    const video = /** @type {HTMLVideoElement} */ (document.querySelector('video'));
    const canvas = new OffscreenCanvas(1, 1);
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (
      canvas.getContext('2d', { willReadFrequently: true })
    );

    /** @param {number[]} bytes */
    const crc8 = (bytes) => {
      let crc = 0;
      for (const byte of bytes) {
        crc ^= byte;
        for (let bit = 0; bit < 8; bit += 1) crc = ((crc << 1) ^ (crc & 0x80 ? 0x107 : 0)) & 0xff;
      }
      return crc;
    };

    /** @param {number} shownAt Unix time in ms */
    const read = (shownAt) => {
      const width = video.videoWidth;
      // One row through the middle of the cells is all that is copied.
      if (canvas.width !== width) canvas.width = width;
      context.drawImage(video, 0, video.videoHeight - 8, width, 1, 0, 0, width, 1);
      const pixels = context.getImageData(0, 0, width, 1).data;
      const cell = Math.floor(width / 64);
      const bytes = new Array(8).fill(0);
      for (let index = 0; index < 64; index += 1) {
        const at = 4 * (index * cell + (cell >> 1));
        const luma = 0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2];
        bytes[index >> 3] = (bytes[index >> 3] << 1) | (luma > 127 ? 1 : 0);
      }
      if (bytes[0] !== SYNC || crc8(bytes.slice(1, 7)) !== bytes[7]) return null;
      const rendered = ((bytes[1] << 24) | (bytes[2] << 16) | (bytes[3] << 8) | bytes[4]) >>> 0;
      const whole = Math.floor(shownAt);
      const ageMs = ((((whole % 2 ** 32) - rendered) | 0) + (shownAt - whole));
      return { frame: (bytes[5] << 8) | bytes[6], ageMs };
    };

    /** @type {Sample[]} */
    const samples = [];
    const until = performance.now() + duration * 1000;
    while (performance.now() < until) {
      /** @type {VideoFrameCallbackMetadata | null} */
      const shown = await new Promise((done) => {
        const timer = setTimeout(() => done(null), 2000);
        video.requestVideoFrameCallback((_, metadata) => {
          clearTimeout(timer);
          done(metadata);
        });
      });
      if (shown === null) break; // the picture stands still
      samples.push({
        width: video.videoWidth,
        height: video.videoHeight,
        strip: read(performance.timeOrigin + shown.expectedDisplayTime),
      });
    }
    return samples;
  }, seconds);
}
