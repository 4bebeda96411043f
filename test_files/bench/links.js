// Bad networks: what the operator sees over each profile, and how a drop is followed and made up for.
// The picture turns all the time, so that it wants all the bits it can get.
import { setTimeout as delay } from 'node:timers/promises';
import { launch } from '../browser/lib/browser.js';
import { Link, PROFILES } from '../browser/lib/link.js';
import { OperatorPage } from '../browser/lib/operator-page.js';
import { standalone } from '../browser/lib/programs.js';
import { watch } from '../browser/lib/watch.js';
import { median, percentile } from './lib/figures.js';

const SECONDS = Number(process.env.MEASURE_SECONDS ?? 60);
const WARM_UP_SECONDS = Number(process.env.WARM_UP_SECONDS ?? 10);
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
 * @param {(page: import('playwright-core').Page) => Promise<T>} measure
 */
async function turning(name, link, measure) {
  // The picture is what is measured: it goes on turning on links that nobody should drive over.
  const unguarded = ['--max-picture-age', 'off', '--max-command-age', '5s'];
  const args = ['--bitrate', String(MOST), ...unguarded];
  const { program, operator } = await standalone({ log: `bench-${name}`, args });
  const browser = await launch();
  try {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
    await link.stand(context);
    const page = new OperatorPage(await context.newPage(), name);
    await page.page.goto(operator);
    await page.waitForVideo();
    await page.waitForConnection();
    await page.page.keyboard.down('KeyA');
    return await measure(page.page);
  } finally {
    await browser.close();
    link.close();
    await program.stop();
  }
}

console.log(`### Bad networks, Chromium behind a UDP proxy, ${SECONDS} s each

The encoder may take ${mbit(MOST)} Mbit/s; the queue of each link holds 200 ms.

| link | Mbit/s | delay, jitter, loss | frames/s | freezes over 1 s | longest still | median age | p95 age | Mbit/s used | of what it carries |
| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |`);
for (const [name, way] of Object.entries(PROFILES)) {
  const link = new Link(way);
  const seen = await turning(name, link, async (page) => {
    await delay(WARM_UP_SECONDS * 1000);
    return watch(page, link, SECONDS);
  });
  const most = Math.min(way.kbit * 1000, MOST);
  const path = `${way.delayMs} ms ±${way.jitterMs}, ${(way.loss * 100).toFixed(0)} %`;
  const ages = seen.ages.length ? [median(seen.ages), percentile(seen.ages, 0.95)] : [NaN, NaN];
  console.log(
    `| ${name} | ${mbit(way.kbit * 1000)} | ${path} | ${(seen.frames / SECONDS).toFixed(1)} | ${seen.freezes.length} | ${ms(seen.longest)} ms | ${ms(ages[0])} ms | ${ms(ages[1])} ms | ${mbit(seen.bitrate)} | ${((100 * seen.bitrate) / most).toFixed(0)} % |`,
  );
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

const way = { kbit: 5_000, delayMs: 20, jitterMs: 3, loss: 0 };
const link = new Link(way);
await turning('drop', link, async (page) => {
  await delay(WARM_UP_SECONDS * 1000);
  const before = await watch(page, link, 10);
  link.set({ ...way, kbit: 1_000 });
  const [falling, fallen] = await Promise.all([rates(link, 20), watch(page, link, 20)]);
  const low = falling.slice((10 * 1000) / STEP_MS);
  link.set(way);
  const [rising, risen] = await Promise.all([rates(link, 20), watch(page, link, 20)]);
  const average = low.reduce((sum, rate) => sum + rate, 0) / low.length;
  const high = rising.slice((10 * 1000) / STEP_MS);
  const again = high.reduce((sum, rate) => sum + rate, 0) / high.length;
  console.log(`
### From 5 to 1 and back to 5 Mbit/s

| | 5 Mbit/s | 1 Mbit/s | 5 Mbit/s again |
| --- | ---: | ---: | ---: |
| Mbit/s used (from the tenth second on) | ${mbit(before.bitrate)} | ${mbit(average)} | ${mbit(again)} |
| within 30 % of that for two seconds after | | ${settled(falling, 0.7e6, 1.3e6)} | ${settled(rising, before.bitrate * 0.7, Infinity)} |
| longest still | ${ms(before.longest)} ms | ${ms(fallen.longest)} ms | ${ms(risen.longest)} ms |
| p95 age | ${ms(percentile(before.ages, 0.95))} ms | ${ms(percentile(fallen.ages, 0.95))} ms | ${ms(percentile(risen.ages, 0.95))} ms |`);
});
