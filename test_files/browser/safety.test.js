// What stops the rover while somebody drives it from the page, and what the page says of it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from './lib/browser.js';
import { Link, PERFECT } from './lib/link.js';
import { OperatorPage, PATIENCE_MS } from './lib/operator-page.js';
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

/** The watchdog, the ramp, one report on its way, and a busy machine's manners, in ms. */
const STANDS_WITHIN = 1_500;

/** What the gate of a rover has counted. */
async function counts(of = rover) {
  const address = of.operator.split('/r/')[0];
  const answer = await fetch(`${address}/status`, { headers: { authorization: `Bearer ${of.room.token}` } });
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
  await page.drive('KeyA', 'a rover that turns', (now) => now.angular_speed > 0.2, viewer);

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
  await page.drive('KeyA', 'a rover that turns again', (now) => now.angular_speed > 0.2, viewer);
  await page.page.keyboard.up('KeyA');
  await viewer.waitForTelemetry('a rover that stands', (now) => now.angular_speed === 0);
  assert.deepEqual(page.problems, []);
});

test('a page that freezes stops the rover by the watchdog, and is told why when it thaws', async (t) => {
  const page = await OperatorPage.open(browser, rover.operator, 'safety-frozen-page', t);
  const viewer = await OperatorPage.open(browser, rover.viewer, 'safety-frozen-page-viewer', t);
  await Promise.all([page.waitForVideo(), viewer.waitForConnection()]);
  await page.drive('KeyA', 'a rover that turns', (now) => now.angular_speed > 0.2, viewer);
  const { trips } = await counts();
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
  await page.drive('KeyA', 'a rover that turns', (now) => now.angular_speed > 0.2, viewer);
  // Headless pages are never hidden by themselves.
  await page.page.evaluate(() => {
    Object.defineProperty(document, 'hidden', { value: true });
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await viewer.waitForTelemetry('a rover that stands', (now) => now.angular_speed === 0);
  await page.page.keyboard.up('KeyA');
});

test('who sees nothing yet does not drive, and is told what is waited for', async (t) => {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  t.after(() => context.close());
  // A browser that shows no frame before it is let.
  await context.addInitScript(() => {
    const { requestVideoFrameCallback: request } = HTMLVideoElement.prototype;
    const shown = new Promise((show) => Object.defineProperty(window, 'showFrames', { value: show }));
    HTMLVideoElement.prototype.requestVideoFrameCallback = function (callback) {
      void shown.then(() => request.call(this, callback));
      return 0;
    };
  });
  const page = new OperatorPage(await context.newPage(), 'safety-no-picture');
  await page.page.goto(rover.operator);
  await page.waitForConnection();
  await page.waitForText('drive-status', /once there is a picture/);
  await page.page.keyboard.down('KeyA');
  const before = await page.telemetry();
  const later = await page.waitForTelemetry('half a second', (now) => now.seq > before.seq + 10);
  assert.deepEqual([later.driver, later.angular_speed], [null, 0]);
  await page.page.keyboard.up('KeyA');

  await page.page.evaluate(() => /** @type {any} */ (window).showFrames());
  await page.drive('KeyA', 'a rover that turns', (now) => now.angular_speed > 0.2);
  await page.page.keyboard.up('KeyA');
  assert.deepEqual(page.problems, []);
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

test('a network that swallows every packet while the broker is there stops the rover by the watchdog', async (t) => {
  const link = new Link();
  t.after(() => link.close());
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  t.after(() => context.close());
  await link.stand(context);
  const page = new OperatorPage(await context.newPage(), 'safety-swallowed');
  await page.page.goto(rover.operator);
  const viewer = await OperatorPage.open(browser, rover.viewer, 'safety-swallowed-viewer', t);
  await Promise.all([page.waitForVideo(), viewer.waitForConnection()]);
  await page.drive('KeyA', 'a rover that turns', (now) => now.angular_speed > 0.2, viewer);
  const { trips } = await counts();

  // Nothing comes through in either direction, and nobody is told: the page's socket to the broker stands.
  link.set({ ...PERFECT, loss: 1 });
  const frozen = performance.now();
  await viewer.waitForTelemetry('a rover that stands', (now) => now.angular_speed === 0);
  const took = performance.now() - frozen;
  t.diagnostic(`it stood after ${took.toFixed(0)} ms`);
  assert.ok(took < STANDS_WITHIN, `it stood after ${took.toFixed(0)} ms`);
  await viewer.waitForTelemetry('the rule', (now) => now.stopped === 'watchdog');
  const after = (await counts()).trips;
  assert.equal(after.watchdog, (trips.watchdog ?? 0) + 1, 'one stop, by the watchdog');

  // It thaws with the key still down.
  link.set(PERFECT);
  await page.waitForText('drive-status', /press again/);
  const before = await viewer.telemetry();
  const later = await viewer.waitForTelemetry('a second', (now) => now.seq > before.seq + 20);
  assert.equal(later.angular_speed, 0, 'the key that is still down starts nothing');
  await page.page.keyboard.up('KeyA');
  await page.drive('KeyA', 'a rover that turns again', (now) => now.angular_speed > 0.2, viewer);
  await page.page.keyboard.up('KeyA');
  await page.close();
  await viewer.waitForTelemetry('a free rover', ({ driver }) => driver === null);
});

test('with the settings that come with it a rover is driven by its page, and by an old picture it is not', async (t) => {
  const plain = await standalone({ log: 'safety-default' });
  t.after(() => plain.program.stop());
  const page = await OperatorPage.open(browser, plain.operator, 'safety-default', t);
  const viewer = await OperatorPage.open(browser, plain.viewer, 'safety-default-viewer', t);
  await Promise.all([page.waitForVideo(), viewer.waitForConnection()]);
  // A busy machine shows an old picture now and then: that stops the rover, rightly, and it is pressed again.
  const until = Date.now() + PATIENCE_MS;
  for (let driven = 0; driven < 10; ) {
    assert.ok(Date.now() < until, 'half a second in one go');
    driven = 0;
    await page.waitToDrive();
    await page.page.keyboard.down('KeyA');
    let told = await viewer.waitForTelemetry('motion, or a stop', (now) => now.angular_speed > 0.2 || now.stopped);
    while (!told.stopped && driven < 10) {
      driven += 1;
      const { seq } = told;
      told = await viewer.waitForTelemetry('the next report', (now) => now.seq > seq);
    }
    assert.ok(!told.stopped || told.stopped === 'picture', `stopped by ${told.stopped}`);
    if (told.stopped) {
      await page.page.keyboard.up('KeyA');
      await viewer.waitForTelemetry('a good picture', (now) => now.stopped === null);
    }
  }
  const { trips } = await counts(plain);
  const frozen = performance.now();
  await page.element('video').evaluate((video) => /** @type {HTMLVideoElement} */ (video).pause());
  await viewer.waitForTelemetry('a rover that stands', (now) => now.angular_speed === 0);
  const took = performance.now() - frozen;
  t.diagnostic(`it stood ${took.toFixed(0)} ms after the picture did`);
  assert.ok(took < STANDS_WITHIN, `it took ${took.toFixed(0)} ms`);
  await viewer.waitForTelemetry('the rule', (now) => now.stopped === 'picture');
  assert.ok(((await counts(plain)).trips.picture ?? 0) > (trips.picture ?? 0), 'the rule counts it');
  await page.page.keyboard.up('KeyA');
});
