// A WHEP player in Chromium, written from the draft: candidates one by one, an ICE restart, goodbye.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
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
  rover = await standalone({ log: 'whep' });
});
after(async () => {
  await browser?.close();
  await rover?.program.stop();
});

test('Chromium plays by WHEP, restarts ICE and goes on playing', async (t) => {
  const [link = '', token = ''] = rover.viewer.split('#');
  // Another origin than the machine's, as players are.
  const player = createServer((_, answer) => {
    answer.setHeader('Content-Type', 'text/html');
    answer.end('<!doctype html><link rel="icon" href="data:,"><video muted autoplay></video>');
  }).listen(0, '127.0.0.1');
  t.after(() => player.close());
  await once(player, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (player.address());
  const page = await OperatorPage.open(browser, `http://127.0.0.1:${port}/`, 'whep', t);
  const seen = await page.page.evaluate(play, { whep: `${new URL(link).origin}/whep`, token });
  t.diagnostic(JSON.stringify(seen));
  assert.deepEqual([seen.width, seen.height], [1280, 720]);
  assert.ok(seen.trickled > 0, 'candidates went one after the other');
  assert.notEqual(seen.etagAfter, seen.etagBefore);
  assert.notEqual(seen.ufragAfter, seen.ufragBefore, 'what plays is the new ICE session');
  assert.equal(seen.left, 200);
  assert.deepEqual(page.problems, []);
});

/** In the page. @param {{whep: string, token: string}} place */
async function play({ whep, token }) {
  const video = /** @type {HTMLVideoElement} */ (document.querySelector('video'));
  const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  pc.addTransceiver('audio', { direction: 'recvonly' });
  pc.addTransceiver('video', { direction: 'recvonly' });
  pc.addEventListener('track', ({ track }) => {
    if (track.kind === 'video') video.srcObject = new MediaStream([track]);
  });
  const ask = (/** @type {string} */ method, /** @type {string} */ url, /** @type {Record<string, string>} */ headers, /** @type {string} */ body) =>
    fetch(url, { method, headers: { Authorization: `Bearer ${token}`, ...headers }, ...(body ? { body } : {}) });
  const frames = async (/** @type {number} */ count) => {
    for (let seen = 0; seen < count; seen += 1) {
      await new Promise((done, fail) => {
        const timer = setTimeout(() => fail(new Error(`no picture; ${pc.connectionState} ${pc.iceConnectionState}`)), 20_000);
        video.requestVideoFrameCallback(() => {
          clearTimeout(timer);
          done(null);
        });
      });
    }
  };
  const lines = (/** @type {string} */ sdp, /** @type {RegExp} */ which) => sdp.split('\r\n').filter((line) => which.test(line));
  /** The first section's head and ICE lines. @param {string} sdp */
  const head = (sdp) => lines(`m=${sdp.split('\r\nm=')[1]}`, /^(m=|a=(mid|ice-ufrag|ice-pwd):)/).join('\r\n');
  const gathered = () =>
    new Promise((done) => {
      if (pc.iceGatheringState === 'complete') done(null);
      pc.addEventListener('icegatheringstatechange', () => pc.iceGatheringState === 'complete' && done(null));
    });

  /** @type {string[]} */
  const candidates = [];
  pc.addEventListener('icecandidate', ({ candidate }) => candidate?.candidate && candidates.push(`a=${candidate.candidate}`));
  await pc.setLocalDescription();
  const first = await ask('POST', whep, { 'Content-Type': 'application/sdp' }, pc.localDescription?.sdp ?? '');
  if (first.status !== 201) throw new Error(await first.text());
  const session = new URL(first.headers.get('location') ?? '', whep).href;
  const etagBefore = first.headers.get('etag') ?? '';
  const answer = await first.text();
  await pc.setRemoteDescription({ type: 'answer', sdp: answer });
  await gathered();
  const trickled = candidates.length;
  const fragment = 'application/trickle-ice-sdpfrag';
  const sdp = pc.localDescription?.sdp ?? '';
  const told = await ask('PATCH', session, { 'Content-Type': fragment, 'If-Match': etagBefore }, `${[head(sdp), ...candidates].join('\r\n')}\r\n`);
  if (told.status !== 204) throw new Error(`${told.status}: ${await told.text()}`);
  await frames(10);
  /** The worker's name in the pair that is used. */
  const used = async () => {
    /** @type {any[]} */
    const all = [...(await pc.getStats()).values()];
    const transport = all.find((one) => one.type === 'transport');
    return transport?.iceLocalUsernameFragment;
  };
  const ufragBefore = await used();

  pc.restartIce();
  await pc.setLocalDescription();
  await gathered();
  const again = pc.localDescription?.sdp ?? '';
  const body = `${[head(again), ...lines(again, /^a=candidate:/)].join('\r\n')}\r\n`;
  const restarted = await ask('PATCH', session, { 'Content-Type': fragment, 'If-Match': '*' }, body);
  if (restarted.status !== 200) throw new Error(`${restarted.status}: ${await restarted.text()}`);
  const theirs = await restarted.text();
  const [ufrag = '', pwd = ''] = [lines(theirs, /^a=ice-ufrag:/)[0], lines(theirs, /^a=ice-pwd:/)[0]];
  const kept = answer.split('\r\n').filter((line) => !/^a=(candidate:|end-of-)/.test(line) && line !== '');
  const renewed = kept.map((line) => (line.startsWith('a=ice-ufrag:') ? ufrag : line.startsWith('a=ice-pwd:') ? pwd : line));
  await pc.setRemoteDescription({ type: 'answer', sdp: `${renewed.join('\r\n')}\r\n` });
  for (const line of new Set(lines(theirs, /^a=candidate:/))) {
    await pc.addIceCandidate({ candidate: line.slice(2), sdpMLineIndex: 0 });
  }
  const deadline = performance.now() + 20_000;
  while ((await used()) === ufragBefore && performance.now() < deadline) await frames(1);
  await frames(30);
  const ufragAfter = await used();
  const left = (await ask('DELETE', session, {}, '')).status;
  const { videoWidth: width, videoHeight: height } = video;
  const etagAfter = restarted.headers.get('etag');
  pc.close();
  return { width, height, trickled, etagBefore, etagAfter, ufragBefore, ufragAfter, left };
}
