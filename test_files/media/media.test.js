// What GStreamer brings to the worker, seen in Chromium; and what is seen when a camera goes away.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { launch } from '../browser/lib/browser.js';
import { OperatorPage } from '../browser/lib/operator-page.js';
import { Program, standalone } from '../browser/lib/programs.js';
import { camera, freePort, isSlate, waitForSlate } from './cameras.js';

const SIZE = { width: 640, height: 360 };

/** Until the picture has its own size: a slate may come first. @param {OperatorPage} page */
async function waitForOwnPicture(page) {
  await page.waitForVideo();
  await waitForSlate(page, false);
  await page.waitForVideoSize(SIZE);
  const shown = await page.countFrames(2000);
  assert.ok(shown >= 20, `${shown} frames in 2 s, 60 were made`);
  assert.ok((await page.contrast()) > 30, 'the picture is not one flat colour');
}

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

const LIVE =
  'videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=640,height=360,framerate=30/1';

for (const [name, video, ...more] of [
  ['raw pictures, encoded by the best encoder', `gst:${LIVE}`],
  ['raw pictures, encoded by the own encoder', `gst:${LIVE}`, '--encoder', 'openh264'],
  ['H.264, passed on', `gst:${LIVE} ! x264enc tune=zerolatency key-int-max=60`],
  ['VP8, passed on', `gst:${LIVE} ! vp8enc deadline=1 cpu-used=8 keyframe-max-dist=60`],
  ['VP9, encoded again', `gst:${LIVE} ! vp9enc deadline=1 cpu-used=8`],
  ['JPEG, as cameras send it', `gst:${LIVE} ! jpegenc`],
]) {
  test(`a pipeline is seen: ${name}`, async (t) => {
    const worker = await standalone({ log: 'gst-worker', args: ['--video', video, ...more] });
    t.after(() => worker.program.stop());
    const page = await OperatorPage.open(browser, worker.viewer, 'gst', t);
    await waitForOwnPicture(page);
    await page.close();
  });
}

test('a film is seen, and again after its end', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'halyard-film-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'film.mp4');
  const make = new Program(
    'gst-launch-1.0',
    [
      ...['-q', 'videotestsrc', 'num-buffers=60', 'pattern=ball', '!'],
      ...['video/x-raw,width=640,height=360,framerate=30/1', '!', 'x264enc', '!', 'mp4mux', '!'],
      ...['filesink', `location=${path}`],
    ],
    { log: 'film' },
  );
  assert.deepEqual(await make.ended, [0, null]);
  const worker = await standalone({ log: 'film-worker', args: ['--video', `file:${path}`] });
  t.after(() => worker.program.stop());
  const page = await OperatorPage.open(browser, worker.viewer, 'film', t);
  await waitForOwnPicture(page);
  const shown = await page.countFrames(6000);
  assert.ok(shown >= 90, `${shown} frames in 6 s of a film of 2 s`);
  assert.equal(await isSlate(page), false);
  await page.close();
});

// What a pipeline says when its camera is unplugged, when its encoder fails, and when it just ends.
for (const [name, pipeline] of [
  ['a camera that is unplugged', `${LIVE} ! identity error-after=300`],
  ['an encoder that dies', `${LIVE} ! x264enc tune=zerolatency key-int-max=30 ! identity error-after=300`],
  ['a stream that ends', LIVE.replace('pattern=ball', 'pattern=ball num-buffers=300')],
]) {
  test(`${name}: the slate says so, the source starts again alone, and who watches stays`, async (t) => {
    const worker = await standalone({ log: 'gst-fault-worker', args: ['--video', `gst:${pipeline}`] });
    t.after(() => worker.program.stop());
    const page = await OperatorPage.open(browser, worker.viewer, 'gst-fault', t);
    await page.waitForVideo();
    await waitForSlate(page, false);
    await waitForSlate(page, true);
    await page.page.getByText(/No picture: the GStreamer pipeline/).first().waitFor();
    await waitForSlate(page, false);
    await page.page.getByText(/The picture is back/).first().waitFor();
    await page.waitForConnection();
    assert.equal(worker.program.lines.filter((line) => line.includes('peer_disconnected')).length, 0);
    await page.close();
  });
}

describe('a camera of the network', () => {
  test('is seen over UDP too', async (t) => {
    const port = await freePort();
    const server = await camera(port);
    t.after(() => server.child.kill('SIGKILL'));
    const args = ['--video', `rtspu://127.0.0.1:${port}/camera`];
    const worker = await standalone({ log: 'rtspu-worker', args });
    t.after(() => worker.program.stop());
    const page = await OperatorPage.open(browser, worker.viewer, 'rtspu', t);
    await waitForOwnPicture(page);
    await page.close();
  });

  test('goes away and comes back, while who watches stays and is told', async (t) => {
    const port = await freePort();
    let server = await camera(port);
    t.after(() => server.child.kill('SIGKILL'));
    const args = ['--video', `rtsp://127.0.0.1:${port}/camera`];
    const worker = await standalone({ log: 'rtsp-worker', args });
    t.after(() => worker.program.stop());
    const page = await OperatorPage.open(browser, worker.viewer, 'rtsp', t);
    await waitForOwnPicture(page);

    server.child.kill('SIGKILL');
    await waitForSlate(page, true);
    await page.screenshot('slate');
    const lost = await worker.program.line((line) => {
      const said = JSON.parse(line);
      return said.code === 'source_lost' ? said : undefined;
    }, 'source_lost');
    assert.match(lost.message, /No picture: the camera rtsp:\/\/127\.0\.0\.1/);
    await page.page.getByText(/No picture: the camera rtsp/).first().waitFor();
    // Its clock runs: this is not the last picture of a dead stream.
    const shown = await page.countFrames(2000);
    assert.ok(shown >= 10, `${shown} frames of the slate in 2 s, 20 were made`);
    await page.waitForConnection();

    // Who comes now is told too, and sees why.
    const late = await OperatorPage.open(browser, worker.viewer, 'rtsp-late', t);
    await late.waitForVideo();
    await waitForSlate(late, true);
    await late.page.getByText(/No picture: the camera rtsp/).first().waitFor();

    server = await camera(port);
    for (const viewer of [page, late]) {
      await waitForOwnPicture(viewer);
      await viewer.waitForConnection();
    }
    assert.equal(worker.program.lines.filter((line) => line.includes('peer_disconnected')).length, 0);
    await late.close();
    await page.close();
  });

  test('opens with its password, which is told nobody', async (t) => {
    const server = await camera(await freePort(), 'watcher', 's3cretword');
    t.after(() => server.child.kill('SIGKILL'));
    const address = server.lines[0].replace('rtsp://', 'rtsp://watcher:s3cretword@');
    const worker = await standalone({ log: 'rtsp-password-worker', args: ['--video', address] });
    t.after(() => worker.program.stop());
    const page = await OperatorPage.open(browser, worker.viewer, 'rtsp-password', t);
    await waitForOwnPicture(page);
    server.child.kill('SIGKILL');
    await waitForSlate(page, true);
    assert.ok(!worker.program.lines.some((line) => line.includes('s3cretword')));
    assert.doesNotMatch(await page.page.content(), /s3cretword/);
    await page.close();
  });
});
