// axe-core finds nothing on any screen of the page, in light and dark, small and large; and the page
// works from the keyboard alone.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { launch } from './lib/browser.js';
import { OperatorPage } from './lib/operator-page.js';
import { standalone } from './lib/programs.js';

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {Awaited<ReturnType<typeof standalone>>} */
let rover;
before(async () => {
  browser = await launch();
  // How busy this machine is, is not what is tested.
  rover = await standalone({ log: 'accessibility', args: ['--max-picture-age', '5s'] });
});
after(async () => {
  await browser?.close();
  await rover?.program.stop();
});

/** The rules that are broken, with the elements that break them. @param {OperatorPage} page */
async function violations(page) {
  await page.page.addScriptTag({ path: axe });
  const found = await page.page.evaluate(() => /** @type {any} */ (window).axe.run());
  return found.violations.map((/** @type {any} */ { id, help, nodes }) => ({
    id,
    help,
    nodes: nodes.map((/** @type {any} */ node) => `${node.target}: ${node.failureSummary}`),
  }));
}

/** @type {Record<string, {link: () => string, ready: (page: OperatorPage) => Promise<unknown>}>} */
const screens = {
  operator: { link: () => rover.operator, ready: (page) => page.waitForVideo() },
  viewer: { link: () => rover.viewer, ready: (page) => page.waitForVideo() },
  landing: {
    link: () => new URL('/', rover.operator).href,
    ready: (page) => page.element('join-link').waitFor(),
  },
  'question for the token': {
    link: () => rover.operator.replace(/#.*/, ''),
    ready: (page) => page.element('ask-token').waitFor(),
  },
  refusal: {
    link: () => rover.operator.replace(/#.*/, '#wrong'),
    ready: (page) => page.waitForText('ended', /./),
  },
};

for (const [screen, { link, ready }] of Object.entries(screens)) {
  test(`${screen}: axe finds nothing to object to`, async (t) => {
    for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
      for (const [width, height] of [[390, 844], [1440, 900]]) {
        const page = await OperatorPage.open(browser, link(), `axe-${screen.replaceAll(' ', '-')}`, t, {
          viewport: { width, height },
          colorScheme,
          // Axe is put into the page by the test, past the page's content security policy.
          bypassCSP: true,
        });
        await ready(page);
        assert.deepEqual(await violations(page), [], `${width}x${height} ${colorScheme}`);
        await page.close();
      }
    }
  });
}

test('everything can be reached and worked with the keyboard alone', async (t) => {
  const page = await OperatorPage.open(browser, rover.operator, 'keyboard', t);
  await page.waitToDrive();
  const reached = new Set();
  for (let presses = 0; presses < 60; presses += 1) {
    await page.page.keyboard.press('Tab');
    const focused = await page.page.evaluate(() => {
      const { dataset, id } = /** @type {HTMLElement} */ (document.activeElement);
      return dataset['testid'] ?? id;
    });
    reached.add(focused);
  }
  for (const wanted of ['drive-forward', 'drive-left', 'drive-back', 'drive-right', 'estop']) {
    assert.ok(reached.has(wanted), `${wanted} is among ${[...reached].join(', ')}`);
  }

  // A drive button that has the focus is held with Enter or Space like any key: drive with it.
  await page.element('drive-forward').focus();
  const start = await page.telemetry();
  await page.drive(
    'Enter',
    'a rover that moved',
    (now) => Math.hypot(now.pose.x - start.pose.x, now.pose.y - start.pose.y) > 0.1,
  );
  await page.page.keyboard.up('Enter');
  await page.waitForTelemetry('a rover that stands', (now) => now.speed === 0);
});
