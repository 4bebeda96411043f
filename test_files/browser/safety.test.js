// What stops the rover while somebody drives it from the page, and what the page says of it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from './lib/browser.js';
import { OperatorPage } from './lib/operator-page.js';
import { standalone } from './lib/programs.js';

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {Awaited<ReturnType<typeof standalone>>} */
let rover;
before(async () => {
  browser = await launch();
  // Wide enough for a busy machine; the rule is the same.
  rover = await standalone({ log: 'safety', args: ['--max-picture-age', '2s'] });
});
after(async () => {
  await browser?.close();
  await rover?.program.stop();
});

/** What the gate has counted. */
async function counts() {
  const address = rover.operator.split('/r/')[0];
  const answer = await fetch(`${address}/status`, { headers: { authorization: `Bearer ${rover.room.token}` } });
  return (await answer.json()).drive.counts;
}

test('a picture that stands still stops the rover, though the key is held and the page goes on sending', async (t) => {
  const page = await OperatorPage.open(browser, rover.operator, 'safety-frozen', t);
  const viewer = await OperatorPage.open(browser, rover.viewer, 'safety-frozen-viewer', t);
  await Promise.all([page.waitForVideo(), viewer.waitForConnection()]);
  const { video } = await page.stats();
  assert.ok(video.age > 0 && video.age < 2_000, `the picture is ${video.age} ms old`);
  await page.waitForText('hud-missed', /\d/);
  assert.ok((await page.stats()).video.strips > 0, 'it is dated by its strip');
  await page.page.keyboard.down('KeyA');
  await viewer.waitForTelemetry('a rover that turns', (now) => now.angular_speed > 0.2);

  // No frame is shown any more; everything else goes on.
  await page.element('video').evaluate((video) => /** @type {HTMLVideoElement} */ (video).pause());
  const stopped = await viewer.waitForTelemetry('a rover that stands', (now) => now.angular_speed === 0);
  assert.ok(stopped.driver !== null, 'the driver is still there');
  await viewer.waitForTelemetry('the rule', (now) => now.stopped === 'picture');
  await page.waitForText('drive-status', /picture/);

  // Good again: the key that is still down starts nothing, a new press does.
  await page.element('video').evaluate((video) => /** @type {HTMLVideoElement} */ (video).play());
  await viewer.waitForTelemetry('the rule is lifted', (now) => now.stopped === null);
  const before = await viewer.telemetry();
  const later = await viewer.waitForTelemetry('half a second', (now) => now.seq > before.seq + 10);
  assert.equal(later.angular_speed, 0);
  await page.page.keyboard.up('KeyA');
  await page.page.keyboard.down('KeyA');
  await viewer.waitForTelemetry('a rover that turns again', (now) => now.angular_speed > 0.2);
  await page.page.keyboard.up('KeyA');
  await viewer.waitForTelemetry('a rover that stands', (now) => now.angular_speed === 0);
  assert.deepEqual(page.problems, []);
});

test('a page that freezes stops the rover by the watchdog, and is told why when it thaws', async (t) => {
  const page = await OperatorPage.open(browser, rover.operator, 'safety-frozen-page', t);
  const viewer = await OperatorPage.open(browser, rover.viewer, 'safety-frozen-page-viewer', t);
  await Promise.all([page.waitForVideo(), viewer.waitForConnection()]);
  const { trips } = await counts();
  await page.page.keyboard.down('KeyA');
  await viewer.waitForTelemetry('a rover that turns', (now) => now.angular_speed > 0.2);
  // Its own thread stands still for two seconds, as on a phone that swaps.
  await page.page.evaluate(() => {
    const until = performance.now() + 2_000;
    while (performance.now() < until);
  });
  const after = (await counts()).trips;
  assert.equal(after.watchdog ?? 0, (trips.watchdog ?? 0) + 1);
  await page.waitForText('drive-status', /heard nothing from you.*press again/);
  const now = await viewer.telemetry();
  assert.equal(now.angular_speed, 0, 'the key that is still down starts nothing');
  await page.page.keyboard.up('KeyA');
  await page.close();
  await viewer.waitForTelemetry('a free rover', ({ driver }) => driver === null);
});

test('a hidden page lets go', async (t) => {
  const page = await OperatorPage.open(browser, rover.operator, 'safety-hidden', t);
  const viewer = await OperatorPage.open(browser, rover.viewer, 'safety-hidden-viewer', t);
  await Promise.all([page.waitForVideo(), viewer.waitForConnection()]);
  await page.page.keyboard.down('KeyA');
  await viewer.waitForTelemetry('a rover that turns', (now) => now.angular_speed > 0.2);
  // Headless pages are never hidden by themselves.
  await page.page.evaluate(() => {
    Object.defineProperty(document, 'hidden', { value: true });
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await viewer.waitForTelemetry('a rover that stands', (now) => now.angular_speed === 0);
  await page.page.keyboard.up('KeyA');
});

test('commands are answered in the machine’s own words', async (t) => {
  const page = await OperatorPage.open(browser, rover.operator, 'safety-command', t);
  await page.waitForConnection();
  await page.element('arguments-set_goal').fill('{"x": 3, "y": -2}');
  await page.element('command-set_goal').click();
  await page.page.getByText(/set_goal: something stands there/).waitFor();
  await page.element('command-status').click();
  await page.page.getByText(/status: done/).waitFor();
});
