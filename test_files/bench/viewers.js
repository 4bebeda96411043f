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
const COUNTS = (process.env.VIEWERS ?? '1,10,50').split(',').map(Number);
/** The kernel counts in hundredths of a second. */
const TICKS = 100;

/** CPU seconds of a process, and of its threads that paint and encode. @param {number} pid */
function cpu(pid) {
  const seconds = (/** @type {string} */ path) => {
    const fields = readFileSync(path, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
  };
  const threads = readdirSync(`/proc/${pid}/task`).map((task) => `/proc/${pid}/task/${task}`);
  const picture = threads
    .filter((task) => /-(paint|encode)$/.test(readFileSync(`${task}/comm`, 'utf8').trim()))
    .reduce((sum, task) => sum + seconds(`${task}/stat`), 0);
  return { all: seconds(`/proc/${pid}/stat`), picture };
}

/** So many more viewers, until stopped. @param {number} count @param {string} viewer */
async function watchers(count, viewer) {
  const child = spawn(join(binDir, 'examples/viewers'), [String(count), viewer], {
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

console.log(`### One encode, many viewers: 1280x720 at 30 frames/s, ${SECONDS} s each

The first viewer is Chromium, the others are connections of the Rust client on the same machine.

| viewers | painting and encoding, CPU s/min | the rest of the worker, CPU s/min | CPU s for a viewer-minute | pictures/s of the least served | median age | p95 age | p95 / alone |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |`);
let alone = NaN;
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
    await sampleStrips(page, 2);
    if (count > 1) others = await watchers(count - 1, viewer);
    await sampleStrips(page, 5);
    const [begun, before, seen] = [performance.now(), cpu(program.pid), others?.pictures() ?? []];
    const samples = await sampleStrips(page, SECONDS);
    const minutes = (performance.now() - begun) / 60_000;
    const after = cpu(program.pid);
    const ages = samples.flatMap(({ strip }) => (strip === null ? [] : [strip.ageMs]));
    const p95 = percentile(ages, 0.95);
    if (Number.isNaN(alone)) alone = p95;
    const picture = (after.picture - before.picture) / minutes;
    const rest = (after.all - before.all) / minutes - picture;
    const got = (others?.pictures() ?? []).map((now, index) => (now - (seen[index] ?? 0)) / (minutes * 60));
    const least = got.length ? Math.min(...got) : samples.length / SECONDS;
    console.log(
      `| ${count} | ${picture.toFixed(1)} | ${rest.toFixed(1)} | ${(rest / count).toFixed(2)} | ${least.toFixed(1)} | ${median(ages).toFixed(1)} ms | ${p95.toFixed(1)} ms | ${(p95 / alone).toFixed(2)} |`,
    );
  } finally {
    await others?.stop();
    await browser.close();
    await program.stop();
  }
}
