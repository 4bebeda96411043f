// Glass to glass: the time burned into each frame when it was rendered, against the time at which
// Chromium expects to show it. Both ends run on this machine, so there is one clock.
import { launch } from '../browser/lib/browser.js';
import { standalone } from '../browser/lib/programs.js';
import { sampleStrips } from '../browser/lib/strip-in-page.js';
import { median, percentile } from './lib/figures.js';

const SECONDS = Number(process.env.MEASURE_SECONDS ?? 30);
const WARM_UP_SECONDS = 5;

const { program, operator } = await standalone({ log: 'bench-glass' });
const browser = await launch();
let samples;
try {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  await page.goto(operator);
  await page.waitForSelector('video');
  await sampleStrips(page, WARM_UP_SECONDS);
  samples = await sampleStrips(page, SECONDS);
} finally {
  await browser.close();
  await program.stop();
}

const ages = samples.flatMap((sample) => (sample.strip === null ? [] : [sample.strip.ageMs]));
const frames = samples.flatMap((sample) => (sample.strip === null ? [] : [sample.strip.frame]));
const steps = frames.slice(1).map((frame, at) => (frame - frames[at] + 0x10000) % 0x10000);
const missed = steps.reduce((sum, step) => sum + Math.max(0, step - 1), 0);
const ms = (/** @type {number} */ value) => `${value.toFixed(1)} ms`;

console.log(`### Glass to glass, ${samples[0].width}x${samples[0].height}, Chromium on loopback

| seconds | frames shown | frames/s | frames missed | strips unread | median | p95 | p99 |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| ${SECONDS} | ${samples.length} | ${(samples.length / SECONDS).toFixed(1)} | ${missed} | ${samples.length - ages.length} | ${ms(median(ages))} | ${ms(percentile(ages, 0.95))} | ${ms(percentile(ages, 0.99))} |`);
