// Bad networks: what the operator sees over each profile, and how a drop is followed and made up for.
// The picture turns all the time, so that it wants all the bits it can get.
import { setTimeout as delay } from 'node:timers/promises';
import { launch } from '../browser/lib/browser.js';
import { Link, PROFILES } from '../browser/lib/link.js';
import { turning } from '../browser/lib/turning.js';
import { watch } from '../browser/lib/watch.js';
import { percentile } from './lib/figures.js';

const SECONDS = Number(process.env.MEASURE_SECONDS ?? 60);
const WARM_UP_SECONDS = Number(process.env.WARM_UP_SECONDS ?? 10);
/** Each part of the drop and of the way back; what is used is counted in the second half of it. */
const DROP_SECONDS = Number(process.env.DROP_SECONDS ?? 20);
/** The most that the encoder may take, in bits a second: more than it needs for a good picture. */
const MOST = 8_000_000;
/** Where the rate is looked at while a drop is followed, in ms. */
const STEP_MS = 500;

const mbit = (/** @type {number} */ bitrate) => (bitrate / 1e6).toFixed(2);
const ms = (/** @type {number} */ value) => value.toFixed(0);

/**
 * @template T
 * @param {string} name
 * @param {Link} link
 * @param {(page: import('../browser/lib/operator-page.js').OperatorPage) => Promise<T>} measure
 */
async function over(name, link, measure) {
  const browser = await launch();
  try {
    const rover = await turning(browser, link, { name: `bench-${name}`, args: ['--bitrate', String(MOST)] });
    try {
      return await measure(rover.page);
    } finally {
      await rover.stop();
    }
  } finally {
    await browser.close();
  }
}

/** @param {number[]} values @param {number} share */
const age = (values, share) => (values.length ? `${ms(percentile(values, share))} ms` : '-');

console.log(`### Bad networks, Chromium behind a UDP proxy, ${SECONDS} s each

The encoder may take ${mbit(MOST)} Mbit/s; the queue of each link holds 200 ms. *Sent again* counts repairs against
the packets that the link lost or had no room for.

| link | Mbit/s | delay, jitter, loss | frames/s | freezes over 1 s | longest still | median age | p95 age | Mbit/s used | of what it carries | sent again |
| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |`);
for (const [name, way] of Object.entries(PROFILES)) {
  const link = new Link(way);
  const gone = () => link.toPage.lost + link.toPage.overflowed;
  const { seen, repaired, lost } = await over(name, link, async (page) => {
    await delay(WARM_UP_SECONDS * 1000);
    const [repairs, losses] = [(await page.stats()).link?.repaired ?? 0, gone()];
    const watched = await watch(page.page, link, SECONDS);
    return { seen: watched, repaired: ((await page.stats()).link?.repaired ?? 0) - repairs, lost: gone() - losses };
  });
  const most = Math.min(way.kbit * 1000, MOST);
  const cells = [
    name,
    mbit(way.kbit * 1000),
    `${way.delayMs} ms ±${way.jitterMs}, ${(way.loss * 100).toFixed(0)} %`,
    (seen.frames / SECONDS).toFixed(1),
    seen.freezes.length,
    `${ms(seen.longest)} ms`,
    age(seen.ages, 0.5),
    age(seen.ages, 0.95),
    mbit(seen.bitrate),
    `${((100 * seen.bitrate) / most).toFixed(0)} %`,
    `${repaired} of ${lost}`,
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

/** The rate over the link in steps. @param {Link} link @param {number} seconds */
async function rates(link, seconds) {
  /** @type {number[]} */
  const found = [];
  for (let left = (seconds * 1000) / STEP_MS; left > 0; left -= 1) {
    const [bytes, begun] = [link.toPage.sentBytes, performance.now()];
    await delay(STEP_MS);
    found.push(((link.toPage.sentBytes - bytes) * 8000) / (performance.now() - begun));
  }
  return found;
}

/** When the rate first stays within these bounds for two seconds, in s. @param {number[]} found @param {number} least @param {number} most */
function settled(found, least, most) {
  const steps = 2000 / STEP_MS;
  const at = found.findIndex(
    (_, index) =>
      index + steps <= found.length &&
      found.slice(index, index + steps).every((rate) => rate >= least && rate <= most),
  );
  return at < 0 ? 'not' : `${((at * STEP_MS) / 1000).toFixed(1)} s`;
}

/** @param {number[]} found */
const secondHalf = (found) => {
  const half = found.slice(Math.floor(found.length / 2));
  return half.reduce((sum, rate) => sum + rate, 0) / half.length;
};

const way = { kbit: 5_000, delayMs: 20, jitterMs: 3, loss: 0 };
const link = new Link(way);
await over('drop', link, async ({ page }) => {
  await delay(WARM_UP_SECONDS * 1000);
  const before = await watch(page, link, DROP_SECONDS / 2);
  link.set({ ...way, kbit: 1_000 });
  const [falling, fallen] = await Promise.all([rates(link, DROP_SECONDS), watch(page, link, DROP_SECONDS)]);
  link.set(way);
  const [rising, risen] = await Promise.all([rates(link, DROP_SECONDS), watch(page, link, DROP_SECONDS)]);
  const [low, again] = [secondHalf(falling), secondHalf(rising)];
  const share = (/** @type {number} */ rate, /** @type {number} */ of) => `${((100 * rate) / of).toFixed(0)} %`;
  console.log(`
### From 5 to 1 and back to 5 Mbit/s

| | 5 Mbit/s | 1 Mbit/s | 5 Mbit/s again |
| --- | ---: | ---: | ---: |
| Mbit/s used (from ${DROP_SECONDS / 2} s after the change on) | ${mbit(before.bitrate)} | ${mbit(low)} | ${mbit(again)} |
| of what the link carries | ${share(before.bitrate, 5e6)} | ${share(low, 1e6)} | ${share(again, 5e6)} |
| within 30 % of that for two seconds after | | ${settled(falling, 0.7e6, 1.3e6)} | ${settled(rising, before.bitrate * 0.7, Infinity)} |
| longest still | ${ms(before.longest)} ms | ${ms(fallen.longest)} ms | ${ms(risen.longest)} ms |
| p95 age | ${age(before.ages, 0.95)} | ${age(fallen.ages, 0.95)} | ${age(risen.ages, 0.95)} |`);
});
