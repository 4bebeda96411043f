// Cameras of the network for the tests, and the slate that is seen when one goes away.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { PATIENCE_MS } from '../browser/lib/operator-page.js';
import { Program } from '../browser/lib/programs.js';

/** @typedef {import('../browser/lib/operator-page.js').OperatorPage} OperatorPage */

/** The band along the upper edge of the slate, as the worker paints it. */
const AMBER = [0xe0, 0x9a, 0x1a];

/** Debian's own Python knows GStreamer, one from elsewhere does not. */
const PYTHON = '/usr/bin/python3';

/** A TCP port that is free now. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  server.close();
  await once(server, 'close');
  return address.port;
}

/** A camera of the network. @param {number} port @param {string[]} account */
export async function camera(port, ...account) {
  const script = join(import.meta.dirname, 'rtsp_server.py');
  const program = new Program(PYTHON, [script, String(port), ...account], { log: 'rtsp-server' });
  await program.line((line) => (line.startsWith('rtsp://') ? line : undefined), 'its address');
  return program;
}

/** Whether the picture is the slate. @param {OperatorPage} page */
export async function isSlate(page) {
  const seen = await page.element('video').evaluate((element) => {
    const video = /** @type {HTMLVideoElement} */ (element);
    const canvas = new OffscreenCanvas(1, 1);
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d'));
    context.drawImage(video, video.videoWidth * 0.9, video.videoHeight * 0.02, 4, 4, 0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  });
  return seen.every((value, index) => Math.abs(value - AMBER[index]) < 30);
}

/** Until the picture is the slate, or is not. @param {OperatorPage} page @param {boolean} wanted */
export async function waitForSlate(page, wanted) {
  const deadline = Date.now() + PATIENCE_MS;
  while ((await isSlate(page)) !== wanted) {
    if (Date.now() > deadline) throw new Error(wanted ? 'no slate was seen' : 'the slate stays');
    await delay(100);
  }
}
