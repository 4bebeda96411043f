// Any encoder's H.264 over RTP, passed on to browsers without encoding it again.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { launch } from '../browser/lib/browser.js';
import { OperatorPage } from '../browser/lib/operator-page.js';
import { Program, standalone } from '../browser/lib/programs.js';
import { waitForSlate } from '../media/cameras.js';
import { encoders, HEIGHT, vp8Encoders, WIDTH } from './encoders.js';

/** A UDP port that is free now. */
async function freeUdpPort() {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  await new Promise((/** @type {(value?: unknown) => void} */ done) => socket.close(done));
  return port;
}

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

for (const name of Object.keys(encoders(0))) {
  describe(name, () => {
    /** @type {Program} */
    let encoder;
    /** @type {Awaited<ReturnType<typeof standalone>>} */
    let rover;
    /** @type {string} */
    let command;
    /** @type {string[]} */
    let args;
    before(async () => {
      const port = await freeUdpPort();
      rover = await standalone({ log: `rtp-worker-${name}`, args: ['--video', `rtp:${port}`] });
      [command, ...args] = encoders(port)[name];
      encoder = new Program(command, args, { log: `rtp-${name}` });
    });
    after(async () => {
      encoder?.child.kill('SIGKILL');
      await rover?.program.stop();
    });

    test('its picture is seen in Chromium, moving and in its own size', async (t) => {
      const page = await OperatorPage.open(browser, rover.viewer, `rtp-${name}`, t);
      await page.waitForVideo();
      await page.waitForVideoSize({ width: WIDTH, height: HEIGHT });
      const shown = await page.countFrames(2000);
      assert.ok(shown >= 20, `${shown} frames in 2 s, 60 were sent`);
      assert.ok((await page.contrast()) > 30, 'the picture is not one flat colour');
      await page.close();
    });

    test('it dies and is started again, while who watches stays and is told', async (t) => {
      const page = await OperatorPage.open(browser, rover.viewer, `rtp-${name}-dies`, t);
      await page.waitForVideo();
      await waitForSlate(page, false);
      encoder.child.kill('SIGKILL');
      await waitForSlate(page, true);
      await page.page.getByText(/No picture/).first().waitFor();
      encoder = new Program(command, args, { log: `rtp-${name}-again` });
      await waitForSlate(page, false);
      await page.waitForVideoSize({ width: WIDTH, height: HEIGHT });
      await page.waitForConnection();
      await page.close();
    });

    test('somebody who comes later sees it too', async (t) => {
      const first = await OperatorPage.open(browser, rover.viewer, `rtp-${name}-first`, t);
      await first.waitForVideo();
      const later = await OperatorPage.open(browser, rover.viewer, `rtp-${name}-later`, t);
      await later.waitForVideo();
      const [one, other] = await Promise.all([first.countFrames(3000), later.countFrames(3000)]);
      assert.ok(one >= 20 && other >= 20, `frames in 3 s: ${one} and ${other}`);
      await first.close();
      await later.close();
    });
  });
}

for (const name of Object.keys(vp8Encoders(0))) {
  test(`VP8 that ${name} sends is seen in Chromium as it is`, async (t) => {
    const port = await freeUdpPort();
    const rover = await standalone({ log: `rtp-worker-vp8-${name}`, args: ['--video', `rtp:${port},codec=vp8`] });
    t.after(() => rover.program.stop());
    const [command, ...args] = vp8Encoders(port)[name];
    const encoder = new Program(command, args, { log: `rtp-vp8-${name}` });
    t.after(() => encoder.child.kill('SIGKILL'));
    const page = await OperatorPage.open(browser, rover.viewer, `rtp-vp8-${name}`, t);
    await page.waitForVideo();
    await page.waitForVideoSize({ width: WIDTH, height: HEIGHT });
    const shown = await page.countFrames(2000);
    assert.ok(shown >= 20, `${shown} frames in 2 s, 60 were sent`);
    assert.ok((await page.contrast()) > 30, 'the picture is not one flat colour');
  });
}
