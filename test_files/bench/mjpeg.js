// WebRTC beside MJPEG: the same source, machine, browser and run. The age of each picture is read from
// the strip burned into it, with the same reader: of the `<video>` at the time at which Chromium expects
// to show a frame, of the `<img>` at the end of the animation frame that first has a new one.
//
// The two take turns, one at a time, so that neither decodes while the other is measured.
import { launch } from '../browser/lib/browser.js';
import { standalone } from '../browser/lib/programs.js';
import { sampleStrips } from '../browser/lib/strip-in-page.js';
import { median, percentile } from './lib/figures.js';

const ROUNDS = Number(process.env.RUNS ?? 5);
const SECONDS = Number(process.env.MEASURE_SECONDS ?? 10);
const WARM_UP_SECONDS = 3;

/** @typedef {{ages: number[], shown: number}} Seen */

/** MJPEG as it comes by default, and as fast as the source is. */
const RATES = [15, 30];

const browser = await launch();
/** @type {Map<string, Seen>} */
const seen = new Map();
let size = '';

/** @param {string} name @param {{ages: number[], shown: number}} more */
function add(name, more) {
  const before = seen.get(name) ?? { ages: [], shown: 0 };
  seen.set(name, { ages: before.ages.concat(more.ages), shown: before.shown + more.shown });
}

try {
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const fps of RATES) {
      const { program, operator, room } = await standalone({ log: `bench-mjpeg-${fps}`, args: ['--mjpeg-fps', String(fps)] });
      try {
        add('WebRTC', await webRtc(operator));
        add(`MJPEG, ${fps} frames/s at most`, await mjpeg(operator, room.token));
      } finally {
        await program.stop();
      }
    }
  }
} finally {
  await browser.close();
}

/** @param {string} link @returns {Promise<Seen>} */
async function webRtc(link) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  try {
    const page = await context.newPage();
    await page.goto(link);
    await page.waitForFunction(() => (document.querySelector('video')?.videoWidth ?? 0) > 0);
    await sampleStrips(page, WARM_UP_SECONDS);
    const samples = await sampleStrips(page, SECONDS);
    size = `${samples[0]?.width}x${samples[0]?.height}`;
    return {
      ages: samples.flatMap((sample) => (sample.strip === null ? [] : [sample.strip.ageMs])),
      shown: samples.length,
    };
  } finally {
    await context.close();
  }
}

/** @param {string} link @param {string} token @returns {Promise<Seen>} */
async function mjpeg(link, token) {
  const origin = new URL(link).origin;
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  try {
    const page = await context.newPage();
    // A page of the machine's own, for its origin, without a room and so without WebRTC.
    await page.goto(`${origin}/`);
    const ticket = await page.evaluate(async (bearer) => {
      const answer = await fetch('/mjpeg/ticket', { method: 'POST', headers: { Authorization: `Bearer ${bearer}` } });
      return (await answer.json()).url;
    }, token);
    return await page.evaluate(
      async ({ url, warmUp, duration }) => {
        const image = new Image();
        image.src = url;
        document.body.replaceChildren(image);
        const canvas = new OffscreenCanvas(1, 1);
        const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d', { willReadFrequently: true }));
        const crc8 = (/** @type {number[]} */ bytes) => {
          let crc = 0;
          for (const byte of bytes) {
            crc ^= byte;
            for (let bit = 0; bit < 8; bit += 1) crc = ((crc << 1) ^ (crc & 0x80 ? 0x107 : 0)) & 0xff;
          }
          return crc;
        };
        const read = () => {
          const width = image.naturalWidth;
          if (width === 0) return null;
          if (canvas.width !== width) canvas.width = width;
          context.drawImage(image, 0, image.naturalHeight - 8, width, 1, 0, 0, width, 1);
          const pixels = context.getImageData(0, 0, width, 1).data;
          const cell = Math.floor(width / 64);
          const bytes = new Array(8).fill(0);
          for (let index = 0; index < 64; index += 1) {
            const green = pixels[4 * (index * cell + (cell >> 1)) + 1] ?? 0;
            bytes[index >> 3] = (bytes[index >> 3] << 1) | (green > 127 ? 1 : 0);
          }
          if (bytes[0] !== 0b1010_0101 || crc8(bytes.slice(1, 7)) !== bytes[7]) return null;
          const rendered = ((bytes[1] << 24) | (bytes[2] << 16) | (bytes[3] << 8) | bytes[4]) >>> 0;
          return { frame: (bytes[5] << 8) | bytes[6], rendered };
        };
        /** @type {number[]} */
        const ages = [];
        let shown = 0;
        let last = -1;
        const from = performance.now() + warmUp * 1000;
        while (performance.now() < from + duration * 1000) {
          await new Promise((done) => requestAnimationFrame(done));
          const strip = read();
          if (strip === null || strip.frame === last) continue;
          last = strip.frame;
          if (performance.now() < from) continue;
          shown += 1;
          const now = performance.timeOrigin + performance.now();
          const whole = Math.floor(now);
          ages.push((((whole % 2 ** 32) - strip.rendered) | 0) + (now - whole));
        }
        return { ages, shown };
      },
      { url: ticket, warmUp: WARM_UP_SECONDS, duration: SECONDS },
    );
  } finally {
    await context.close();
  }
}

const ms = (/** @type {number} */ value) => `${value.toFixed(1)} ms`;
const rows = [...seen].map(([name, { ages, shown }]) => {
  const seconds = SECONDS * ROUNDS * (name === 'WebRTC' ? RATES.length : 1);
  return `| ${name} | ${seconds} | ${(shown / seconds).toFixed(1)} | ${ms(median(ages))} | ${ms(percentile(ages, 0.95))} |`;
});
console.log(`### WebRTC beside MJPEG, ${size}, Chromium on loopback, ${ROUNDS} rounds in turn

| | seconds | frames/s | median age | p95 |
| --- | ---: | ---: | ---: | ---: |
${rows.join('\n')}

The plan of the telescope application: under 100 ms, where its MJPEG took about 500 ms.`);
