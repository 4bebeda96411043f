// Several cameras of one worker, chosen on the page.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { launch } from '../browser/lib/browser.js';
import { OperatorPage, PATIENCE_MS } from '../browser/lib/operator-page.js';
import { standalone } from '../browser/lib/programs.js';
import { camera, freePort, waitForSlate } from './cameras.js';

/** A camera that sees nothing but this colour. @param {string} pattern of GStreamer's test card */
const colour = (pattern) =>
  `gst:videotestsrc is-live=true pattern=${pattern} ! video/x-raw,format=I420,width=640,height=360,framerate=30/1`;

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** What colour the middle of a picture has. @param {OperatorPage} page @param {string} id */
async function seen(page, id) {
  const [r, g, b] = await page.element(id).evaluate((element) => {
    const canvas = new OffscreenCanvas(1, 1);
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d'));
    const video = /** @type {HTMLVideoElement} */ (element);
    context.drawImage(video, video.videoWidth / 2, video.videoHeight / 2, 4, 4, 0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  });
  const names = { red: r, green: g, blue: b };
  const [name] = Object.entries(names).find(([, value]) => value > 150) ?? ['black'];
  return name;
}

/** Until a picture has this colour. @param {OperatorPage} page @param {string} id @param {string} wanted */
async function waitForColour(page, id, wanted) {
  const deadline = Date.now() + PATIENCE_MS;
  for (let last = await seen(page, id); last !== wanted; last = await seen(page, id)) {
    if (Date.now() > deadline) throw new Error(`${id} is ${last}, not ${wanted}`);
    await delay(50);
  }
}

test('a viewer chooses between cameras, sees two at a time, and finds the choice again', async (t) => {
  const args = ['--camera', `front=${colour('green')}`, '--camera', `rear=${colour('red')}`];
  const worker = await standalone({ log: 'cameras-worker', args });
  t.after(() => worker.program.stop());
  const page = await OperatorPage.open(browser, worker.viewer, 'cameras', t);
  await page.waitForVideo();
  await waitForColour(page, 'video', 'green');
  assert.deepEqual((await page.stats()).cameras.names, ['front', 'rear']);

  await page.element('camera-rear').click();
  await waitForColour(page, 'video', 'red');
  await page.element('camera-second').click();
  await waitForColour(page, 'inset-video', 'green');
  assert.ok((await page.countFrames(2000)) >= 20, 'the large picture moves on');
  for (const [light, width, height] of /** @type {const} */ ([['light', 1440, 900], ['dark', 390, 844]])) {
    await page.page.emulateMedia({ colorScheme: light });
    await page.page.setViewportSize({ width, height });
    await page.screenshot(`cameras-${light}-${width}`);
  }
  await page.page.setViewportSize({ width: 1440, height: 900 });

  await page.element('inset').click();
  await waitForColour(page, 'video', 'green');
  await waitForColour(page, 'inset-video', 'red');
  assert.deepEqual((await page.stats()).cameras, { names: ['front', 'rear'], main: 'front', inset: 'rear' });

  // Another visit with the same browser.
  await page.element('camera-rear').click();
  await waitForColour(page, 'video', 'red');
  await page.page.goto('about:blank');
  await page.page.goto(worker.viewer);
  await page.waitForVideo();
  await waitForColour(page, 'video', 'red');
  await waitForColour(page, 'inset-video', 'green');
  assert.deepEqual(page.problems, []);
  await page.close();
});

test('a camera that goes away touches no other', async (t) => {
  const port = await freePort();
  const server = await camera(port);
  t.after(() => server.child.kill('SIGKILL'));
  const args = ['--camera', `front=${colour('red')}`, '--camera', `rear=rtsp://127.0.0.1:${port}/camera`];
  const worker = await standalone({ log: 'cameras-fault-worker', args });
  t.after(() => worker.program.stop());
  const page = await OperatorPage.open(browser, worker.viewer, 'cameras-fault', t);
  await page.waitForVideo();
  await waitForColour(page, 'video', 'red');
  const other = await OperatorPage.open(browser, worker.viewer, 'cameras-fault-rear', t);
  await other.waitForVideo();
  await other.element('camera-rear').click();
  await other.page.waitForFunction(() => /** @type {any} */ (window).halyard.stats().cameras.main === 'rear');
  await waitForColour(other, 'video', 'black');

  server.child.kill('SIGKILL');
  await waitForSlate(other, true);
  await page.page.getByText(/^Rear: No picture: the camera rtsp/).first().waitFor();
  assert.equal(await seen(page, 'video'), 'red');
  assert.ok((await page.countFrames(2000)) >= 20, 'who watches the other camera notices nothing but words');
  await other.close();
  await page.close();
});
