// Sound both ways, with Chromium as the listener and the speaker.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { launch } from '../browser/lib/browser.js';
import { OperatorPage, PATIENCE_MS } from '../browser/lib/operator-page.js';
import { standalone } from '../browser/lib/programs.js';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  // A microphone that beeps once a second, and nobody who has to allow it.
  browser = await launch(['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']);
});
after(() => browser?.close());

/**
 * The loudest frequency of what the page plays, in Hz; 0 for silence.
 *
 * @param {OperatorPage} page
 */
function frequency(page) {
  return page.element('audio').evaluate(async (element) => {
    const stream = /** @type {HTMLAudioElement} */ (element).srcObject;
    if (!(stream instanceof MediaStream)) return 0;
    const context = new AudioContext();
    const analyser = new AnalyserNode(context, { fftSize: 16_384, smoothingTimeConstant: 0 });
    context.createMediaStreamSource(stream).connect(analyser);
    await new Promise((done) => setTimeout(done, 600));
    const levels = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(levels);
    const loudest = levels.reduce((best, level, at) => (level > levels[best] ? at : best), 0);
    const { sampleRate } = context;
    await context.close();
    return levels[loudest] > -60 ? (loudest * sampleRate) / 16_384 : 0;
  });
}

/** Until the page plays a tone of this frequency; 0 for silence. @param {OperatorPage} page @param {number} wanted */
async function waitForTone(page, wanted) {
  const deadline = Date.now() + PATIENCE_MS;
  let heard = await frequency(page);
  while (Math.abs(heard - wanted) > 5) {
    if (Date.now() > deadline) throw new Error(`${heard} Hz are heard, not ${wanted}`);
    heard = await frequency(page);
  }
}

test('the machine is heard once the page is asked to, beside the picture', async (t) => {
  const worker = await standalone({ log: 'sound-worker', args: ['--video', 'pattern', '--audio', 'tone'] });
  t.after(() => worker.program.stop());
  const page = await OperatorPage.open(browser, worker.viewer, 'sound', t);
  await page.waitForVideo();
  assert.equal(await frequency(page), 0, 'a page is quiet until somebody touches it');
  assert.ok((await page.stats()).video.strips > 0, 'the test card has a latency strip, and the page reads it');
  await page.element('sound-toggle').click();
  await waitForTone(page, 440);
  assert.ok((await page.countFrames(2000)) >= 20, 'the picture does not wait for the sound');
  assert.equal(await page.element('talk').isVisible(), false, 'this machine has no speaker');
  await page.screenshot('sound-light-1440');
  await page.element('sound-toggle').click();
  await waitForTone(page, 0);
  assert.deepEqual(page.problems, []);
  await page.close();
});

test('sound that fails is told, and comes back by itself while the picture goes on', async (t) => {
  const audio = 'gst:audiotestsrc is-live=true freq=1000 num-buffers=400';
  const worker = await standalone({ log: 'sound-fault-worker', args: ['--video', 'pattern', '--audio', audio] });
  t.after(() => worker.program.stop());
  const page = await OperatorPage.open(browser, worker.viewer, 'sound-fault', t);
  await page.waitForVideo();
  await page.element('sound-toggle').click();
  await waitForTone(page, 1000);
  await page.page.getByText(/No sound: the pipeline of --audio: the stream ended/).first().waitFor();
  await page.page.getByText(/The sound is back/).first().waitFor();
  await waitForTone(page, 1000);
  assert.ok((await page.countFrames(1000)) >= 8);
  assert.equal(worker.program.lines.filter((line) => line.includes('peer_disconnected')).length, 0);
  await page.close();
});

/** How loud each tenth of a second of a WAV file is, 0 to 1. @param {string} path */
function loudness(path) {
  const wav = readFileSync(path);
  const rate = wav.readUInt32LE(24);
  const channels = wav.readUInt16LE(22);
  const bytes = wav.subarray(44);
  const float = wav.readUInt16LE(20) === 3;
  const size = wav.readUInt16LE(34) / 8;
  const at = (/** @type {number} */ index) =>
    float ? bytes.readFloatLE(index * size) : size === 2 ? bytes.readInt16LE(index * size) / 32_768 : bytes.readInt32LE(index * size) / 2 ** 31;
  const step = Math.floor((rate * channels) / 10);
  const tenths = [];
  for (let from = 0; from + step <= bytes.length / size; from += step) {
    let sum = 0;
    for (let index = from; index < from + step; index += 1) sum += at(index) ** 2;
    tenths.push(Math.sqrt(sum / step));
  }
  return tenths;
}

test('an operator is heard at the machine while the button is held, and one at a time', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'halyard-voice-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'voice.wav');
  const worker = await standalone({ log: 'voice-worker', args: ['--video', 'pattern', '--speaker', `file:${path}`] });
  t.after(() => worker.program.stop());
  const one = await OperatorPage.open(browser, worker.operator, 'voice', t);
  const two = await OperatorPage.open(browser, worker.operator, 'voice-two', t);
  const viewer = await OperatorPage.open(browser, worker.viewer, 'voice-viewer', t);
  for (const page of [one, two, viewer]) await page.waitForVideo();
  assert.equal(await viewer.element('talk').isVisible(), false, 'viewers do not speak');

  await one.element('talk').hover();
  await one.page.mouse.down();
  await one.waitForText('talk', /You are heard/);
  await two.waitForText('talk', /is speaking/);
  await one.screenshot('talk-light-1440');
  await two.element('talk').hover();
  await two.page.mouse.down();
  await two.page.getByText(/is speaking; wait until they let go/).first().waitFor();
  await two.page.mouse.up();
  await delay(3_500); // three beeps of the browser's microphone
  await one.page.mouse.up();
  await two.waitForText('talk', /Hold to talk/);

  await worker.program.stop();
  const tenths = loudness(path);
  assert.ok(tenths.length >= 20, `${tenths.length / 10} s were heard of more than 3 s`);
  const loudest = Math.max(...tenths);
  const beeps = tenths.filter((level) => level > loudest / 4).length;
  assert.ok(loudest > 0.01 && beeps < tenths.length / 2, `beeps with pauses between: ${tenths.map((level) => level.toFixed(3))}`);
  for (const page of [one, two, viewer]) await page.close();
});
