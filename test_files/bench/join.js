// Join to first frame: from the navigation to the join link until Chromium presents the first frame
// of the video. The browser runs already; every run is a new profile, so nothing is cached.
import { launch } from '../browser/lib/browser.js';
import { standalone } from '../browser/lib/programs.js';
import { median, percentile } from './lib/figures.js';

const RUNS = Number(process.env.RUNS ?? 20);

const { program, operator } = await standalone({ log: 'bench-join' });
const browser = await launch();
/** @type {number[]} */
const times = [];
try {
  for (let run = 0; run < RUNS; run += 1) {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
    const page = await context.newPage();
    await page.addInitScript(() => {
      // performance.now() counts from the start of the navigation.
      new MutationObserver((_, observer) => {
        const video = document.querySelector('video');
        if (video === null) return;
        observer.disconnect();
        video.requestVideoFrameCallback((now) => Object.assign(window, { firstFrameMs: now }));
      }).observe(document, { childList: true, subtree: true });
    });
    await page.goto(operator);
    const handle = await page.waitForFunction(() => /** @type {any} */ (window).firstFrameMs);
    times.push(await handle.jsonValue());
    await context.close();
  }
} finally {
  await browser.close();
  await program.stop();
}

console.log(`### Join to first frame, Chromium on loopback

| runs | median | p95 | best | worst |
| ---: | ---: | ---: | ---: | ---: |
| ${RUNS} | ${[median(times), percentile(times, 0.95), Math.min(...times), Math.max(...times)]
  .map((ms) => `${ms.toFixed(0)} ms`)
  .join(' | ')} |`);
