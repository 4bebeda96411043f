// One encode for many viewers: what each costs the worker, and what the first one notices of them.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { launch } from '../browser/lib/browser.js';
import { binDir, standalone } from '../browser/lib/programs.js';
import { sampleStrips } from '../browser/lib/strip-in-page.js';
import { median, percentile } from './lib/figures.js';

const SECONDS = Number(process.env.MEASURE_SECONDS ?? 60);
const WARM_UP_SECONDS = Number(process.env.WARM_UP_SECONDS ?? 5);
const COUNTS = (process.env.VIEWERS ?? '1,10,50').split(',').map(Number);
/** The kernel counts in hundredths of a second. */
const TICKS = 100;

/** CPU seconds of a process: all, and of its threads that paint and that encode. @param {number} pid */
function cpu(pid) {
  const seconds = (/** @type {string} */ path) => {
    const fields = readFileSync(path, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
  };
  const threads = readdirSync(`/proc/${pid}/task`).map((task) => `/proc/${pid}/task/${task}`);
  const named = (/** @type {RegExp} */ name) =>
    threads
      .filter((task) => name.test(readFileSync(`${task}/comm`, 'utf8').trim()))
      .reduce((sum, task) => sum + seconds(`${task}/stat`), 0);
  return { all: seconds(`/proc/${pid}/stat`), paint: named(/-paint$/), encode: named(/-encode$/) };
}

/** So many more viewers, until stopped. @param {number} count @param {string} viewer */
async function watchers(count, viewer) {
  // In truth they are other machines: here they take what the worker and the browser leave.
  const child = spawn('nice', ['-n', '10', join(binDir, 'examples/viewers'), String(count), viewer], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  /** @type {number[]} */
  let counts = [];
  await new Promise((ready, fail) => {
    child.on('exit', (code) => fail(new Error(`the viewers ended with ${code}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const said = JSON.parse(line);
      if (said.event === 'ready') ready(undefined);
      else counts = said.counts;
    });
  });
  return {
    pictures: () => [...counts],
    stop: async () => {
      const ended = once(child, 'exit');
      child.stdin.end();
      await ended;
    },
  };
}

/**
 * Watches the first viewer's picture and the worker's CPU for a while.
 *
 * @param {import('playwright-core').Page} page
 * @param {number} pid
 */
async function look(page, pid) {
  const [begun, before] = [performance.now(), cpu(pid)];
  const samples = await sampleStrips(page, SECONDS);
  const minutes = (performance.now() - begun) / 60_000;
  const after = cpu(pid);
  const spent = (/** @type {'all' | 'paint' | 'encode'} */ of) => (after[of] - before[of]) / minutes;
  const ages = samples.flatMap(({ strip }) => (strip === null ? [] : [strip.ageMs]));
  return {
    minutes,
    paint: spent('paint'),
    encode: spent('encode'),
    rest: spent('all') - spent('paint') - spent('encode'),
    pictures: samples.length / (minutes * 60),
    median: median(ages),
    p95: percentile(ages, 0.95),
  };
}

console.log(`### One encode, many viewers: 1280x720 at 30 frames/s, ${SECONDS} s each

The first viewer is Chromium, the others are connections of the Rust client on the same machine, at a lower
priority. Each row compares the first viewer's picture with the same worker's a moment before, when nobody else
watched.

| viewers | encoding, CPU s/min | painting, CPU s/min | the rest of the worker, CPU s/min | the rest for a viewer-minute, CPU s | pictures/s of the first, of the least served | median age | p95 age alone | p95 age | p95 / alone |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |`);
for (const count of COUNTS) {
  const limits = {
    HALYARD_HANDSHAKES_PER_MINUTE: '1000000',
    HALYARD_MAX_CONNECTIONS_PER_ADDRESS: '1000',
  };
  Object.assign(process.env, limits);
  const { program, operator, viewer } = await standalone({
    log: `bench-viewers-${count}`,
    args: ['--max-sessions', String(Math.max(64, count * 2))],
  });
  const browser = await launch();
  /** @type {Awaited<ReturnType<typeof watchers>> | null} */
  let others = null;
  try {
    const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 } })).newPage();
    await page.goto(operator);
    await page.waitForSelector('video');
    await sampleStrips(page, WARM_UP_SECONDS);
    const alone = await look(page, program.pid);
    let [now, least] = [alone, alone.pictures];
    if (count > 1) {
      others = await watchers(count - 1, viewer);
      await sampleStrips(page, WARM_UP_SECONDS);
      const seen = others.pictures();
      now = await look(page, program.pid);
      const got = others.pictures().map((pictures, index) => (pictures - seen[index]) / (now.minutes * 60));
      least = Math.min(...got);
    }
    const cells = [
      count,
      now.encode.toFixed(1),
      now.paint.toFixed(1),
      now.rest.toFixed(1),
      (now.rest / count).toFixed(2),
      `${now.pictures.toFixed(1)}, ${least.toFixed(1)}`,
      `${now.median.toFixed(1)} ms`,
      `${alone.p95.toFixed(1)} ms`,
      `${now.p95.toFixed(1)} ms`,
      (now.p95 / alone.p95).toFixed(2),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  } finally {
    await others?.stop();
    await browser.close();
    await program.stop();
  }
}
