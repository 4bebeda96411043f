// A rover that turns all the time behind a network of the tests: a picture in motion wants all its bits.
import { setTimeout as delay } from 'node:timers/promises';
import { OperatorPage } from './operator-page.js';
import { standalone } from './programs.js';

/** The picture is what is measured: it goes on turning on links that nobody should drive over. */
const UNGUARDED = ['--max-picture-age', 'off', '--max-command-age', '5s'];

/** How often the rover is looked at, how long a key is let go, and how long it may take to be felt, in ms. */
const LOOK_MS = 250;
const LET_GO_MS = 150;
const FELT_MS = 1_200;

/** Slower than this it stands, in rad/s. */
const STANDS = 0.05;

/**
 * A rover, a page that drives it over the link, and a hand on the key.
 *
 * @param {import('playwright-core').Browser} browser
 * @param {import('./link.js').Link} link
 * @param {{name: string, args?: string[]}} options
 */
export async function turning(browser, link, { name, args = [] }) {
  const { program, operator } = await standalone({ log: name, args: [...UNGUARDED, ...args] });
  let isWanted = true;
  /** @type {Promise<void>} */
  let steering = Promise.resolve();
  const stop = async () => {
    isWanted = false;
    await steering;
    await context?.close();
    link.close();
    await program.stop();
  };
  /** @type {import('playwright-core').BrowserContext | undefined} */
  let context;
  try {
    context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
    await link.stand(context);
    const page = new OperatorPage(await context.newPage(), name);
    await page.page.goto(operator);
    await page.waitForVideo();
    await page.waitForConnection();
    // A page that went away ends it; what is measured then says so.
    steering = steer(page, () => isWanted).catch(() => {});
    await page.waitForTelemetry('it turns', ({ angular_speed: speed }) => Math.abs(speed) > STANDS);
    return { page, program, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Who was cut off was stopped, and goes on when the key was let go once. @param {OperatorPage} page @param {() => boolean} isWanted */
async function steer(page, isWanted) {
  const { keyboard } = page.page;
  while (isWanted()) {
    const { telemetry } = await page.stats();
    const speed = telemetry?.angular_speed ?? 0;
    if (Math.abs(speed) <= STANDS) {
      await keyboard.up('KeyA');
      await delay(LET_GO_MS);
      await keyboard.down('KeyA');
      await delay(FELT_MS);
    }
    await delay(LOOK_MS);
  }
}
