// Where WebRTC does not come about, the picture comes over HTTP; and by WebRTC again where it does.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch } from './lib/browser.js';
import { OperatorPage, PATIENCE_MS } from './lib/operator-page.js';
import { Program, binDir, standalone } from './lib/programs.js';

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {Awaited<ReturnType<typeof standalone>>} */
let rover;
before(async () => {
  browser = await launch();
  rover = await standalone({ log: 'fallback' });
});
after(async () => {
  await browser?.close();
  await rover?.program.stop();
});

/**
 * A network that lets no UDP through, until `halyardTest.open()`: no candidate reaches the other end,
 * neither alone nor inside a description.
 *
 * @param {import('playwright-core').BrowserContext} context
 */
function blockWebRtc(context) {
  return context.addInitScript(() => {
    let isOpen = false;
    Object.assign(window, { halyardTest: { open: () => (isOpen = true) } });
    const { setRemoteDescription, addIceCandidate } = /** @type {any} */ (RTCPeerConnection.prototype);
    const blocked = (/** @type {string | undefined} */ sdp) => sdp?.replace(/^a=candidate:.*\r\n/gm, '');
    RTCPeerConnection.prototype.setRemoteDescription = function (/** @type {any} */ description) {
      const { type, sdp } = description;
      return setRemoteDescription.call(this, isOpen ? description : { type, sdp: blocked(sdp) });
    };
    RTCPeerConnection.prototype.addIceCandidate = function (/** @type {any} */ candidate) {
      return isOpen ? addIceCandidate.call(this, candidate) : Promise.resolve();
    };
    // The machine could still find this page by its own candidates.
    const { send } = WebSocket.prototype;
    WebSocket.prototype.send = function (/** @type {any} */ data) {
      if (isOpen || typeof data !== 'string') return send.call(this, data);
      const message = JSON.parse(data);
      if (message.type === 'candidate') return;
      if (typeof message.sdp === 'string') message.sdp = blocked(message.sdp);
      send.call(this, JSON.stringify(message));
    };
  });
}

/** @param {OperatorPage} page @param {(stats: any) => boolean} isWished @param {string} what */
async function until(page, isWished, what) {
  const deadline = Date.now() + 2 * PATIENCE_MS;
  for (;;) {
    const stats = await page.stats();
    if (isWished(stats)) return stats;
    if (Date.now() > deadline) throw new Error(`${what}: not seen; ${JSON.stringify(stats)}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

const isOverHttp = (/** @type {any} */ { fallback, video }) =>
  fallback === 'on' && video.way === 'http' && video.state === 'live' && video.strips > 5;

test('blocked, the picture comes over HTTP; opened, it comes by WebRTC again', async (t) => {
  const page = await OperatorPage.open(browser, 'about:blank', 'fallback', t);
  await blockWebRtc(page.page.context());
  /** @type {string[]} */
  const asked = [];
  page.page.on('request', (request) => asked.push(request.url()));
  await page.page.goto(rover.operator);
  const stats = await until(page, isOverHttp, 'a picture over HTTP');
  assert.deepEqual([stats.video.width, stats.video.height], [1280, 720]);
  assert.ok(asked.some((url) => url.endsWith('/mjpeg')), 'it is asked for without anything in its address');
  const opened = rover.operator.split('#')[0];
  assert.ok(asked.every((url) => url === rover.operator || url === opened || !url.includes(rover.room.token)));
  const median = stats.video.ages.sort((/** @type {number} */ a, /** @type {number} */ b) => a - b)[stats.video.ages.length >> 1];
  t.diagnostic(`age over HTTP: ${median.toFixed(0)} ms`);
  assert.ok(median < 5_000, `the picture is live: ${median} ms old`);

  await page.waitForText('fallback', /Slower picture over HTTP.*still being tried/);
  await page.waitForText('drive-status', /over HTTP, which only shows/);
  await page.waitForText('connection-state', /Picture over HTTP, trying WebRTC/);
  assert.ok(await page.element('drive-forward').isDisabled());
  assert.ok(await page.page.locator('#veil').isHidden(), 'nothing covers it');
  const box = async (/** @type {string} */ id) => /** @type {any} */ (await page.page.locator(id).boundingBox());
  await page.screenshot('fallback-desktop-light');
  await page.page.emulateMedia({ colorScheme: 'dark' });
  await page.page.setViewportSize({ width: 390, height: 844 });
  await page.screenshot('fallback-phone-dark');
  const [picture, notice] = [await box('#picture'), await box('#fallback')];
  assert.ok(notice.y >= picture.y + picture.height, 'nor does the notice, on a phone');

  await page.page.evaluate(() => /** @type {any} */ (window).halyardTest.open());
  const back = await until(
    page,
    ({ phase, fallback, video }) => phase === 'connected' && fallback === 'off' && video.way === 'webrtc' && video.state === 'live',
    'a picture by WebRTC',
  );
  assert.equal(back.phase, 'connected');
  assert.ok(await page.element('fallback').isHidden());
  assert.ok(await page.element('still').isHidden(), 'the last one over HTTP is gone');
  await page.waitForVideo();
  assert.ok(await page.element('drive-forward').isEnabled(), 'and the machine can be driven');
  assert.deepEqual(page.problems, []);
});

test('where WebRTC is turned off the page goes straight to HTTP and says so', async (t) => {
  const machine = await standalone({ log: 'fallback-off', args: ['--webrtc', 'false', '--video', 'pattern'] });
  t.after(() => machine.program.stop());
  const page = await OperatorPage.open(browser, machine.viewer, 'webrtc-off', t);
  await until(page, isOverHttp, 'a picture over HTTP');
  await page.waitForText('fallback', /WebRTC is turned off on this machine/);
  await page.waitForText('connection-state', /^Picture over HTTP$/);
  assert.deepEqual(page.problems, []);
});

test('a machine behind somebody else’s broker has no such way, and the page says what to do', async (t) => {
  const machine = new Program(
    join(binDir, 'halyard-worker'),
    ['run', '--server', new URL(rover.operator).origin, '--json'],
    { log: 'fallback-elsewhere' },
  );
  t.after(() => machine.stop());
  const { join_url: link } = await machine.event('room');
  const page = await OperatorPage.open(browser, 'about:blank', 'no-way', t);
  await blockWebRtc(page.page.context());
  await page.page.goto(link);
  await until(page, ({ fallback }) => fallback === 'none', 'no way over HTTP');
  await page.page.locator('#veil').filter({ hasText: /firewall.*TURN.*halyard doctor/ }).waitFor();
  await page.screenshot('fallback-none');
  // The browser itself says that the question was answered with no.
  assert.deepEqual(page.problems.filter((problem) => !/status of 401/.test(problem)), []);
});
