// Jobs on the page: the list, one training followed with its curve, stopped by a button.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { launch } from './lib/browser.js';
import { OperatorPage } from './lib/operator-page.js';
import { Program, binDir, standalone } from './lib/programs.js';

const training = resolve(import.meta.dirname, '../training');
const folder = mkdtempSync(join(tmpdir(), 'halyard-jobs-'));
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {Awaited<ReturnType<typeof standalone>>} */
let node;
before(async () => {
  browser = await launch();
  const files = join(folder, 'files');
  mkdirSync(files);
  const templates = readFileSync(join(training, 'worker.toml'), 'utf8');
  const own = `files = '${files}'\njobs_dir = '${join(folder, 'jobs')}'\ndata_dir = '${join(folder, 'data')}'\n`;
  const config = join(folder, 'worker.toml');
  writeFileSync(config, own + templates.replaceAll('"PYTHON"', '"python3"').replaceAll('HERE', training));
  node = await standalone({ log: 'jobs', args: ['--config', config] });
});
after(async () => {
  await browser?.close();
  await node?.program.stop();
  rmSync(folder, { recursive: true });
});

/** Sends the package and submits one training. @param {Record<string, string | number>} values */
async function submit(values) {
  const sets = Object.entries(values).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
  const program = new Program(
    join(binDir, 'halyard'),
    ['train', node.operator, join(training, 'data'), '--detach', '--json', ...sets],
    { log: 'jobs-train', env: { XDG_STATE_HOME: folder } },
  );
  const { job } = await program.event('submitted');
  return String(job);
}

/** @param {OperatorPage} page @param {string} id */
const text = async (page, id) => (await page.element(id).textContent()) ?? '';

test('a training is followed with its curve, and stopped by a button', async (t) => {
  const job = await submit({ epochs: 5000, pause: 0.01, nan_at: 1 });
  const page = await OperatorPage.open(browser, node.operator, 'jobs', t);
  await page.waitForConnection();
  await page.element('job-row').filter({ hasText: 'running' }).waitFor();
  assert.match(await text(page, 'job-title'), new RegExp(`train ${job}`));
  await page.element('job-facts').filter({ hasText: /Epoch ([3-9]|\d{2,}) of 5000/ }).waitFor();
  await page.element('job-train').filter({ hasText: /training \d/ }).waitFor();
  await page.page.locator('#job-broken', { hasText: '1 of them no number' }).waitFor();
  const path = await page.page.locator('#job-val-path').getAttribute('d');
  assert.match(path ?? '', /^M0\.0 [\d.]+L/);
  await page.element('job-log').filter({ hasText: 'epoch 1 done' }).waitFor();

  // A page that comes later sees the same, from the beginning.
  await page.close();
  const again = await OperatorPage.open(browser, node.operator, 'jobs-again', t);
  await again.element('job-log').filter({ hasText: 'epoch 1 done' }).waitFor();

  await again.element('job-cancel').click();
  await again.element('job-cancel').filter({ hasText: 'Really' }).waitFor();
  await again.element('job-stop').click();
  await again.element('job-state').filter({ hasText: 'Succeeded: it finished early' }).waitFor();
  await again.element('job-stop').waitFor({ state: 'hidden' });
  assert.match(await text(again, 'job-facts'), /1 file in jobs\//);
  assert.deepEqual(again.problems, []);
});

test('a training is cancelled by who means it, and the panel breaks no rule of accessibility', async (t) => {
  await submit({ epochs: 5000, pause: 0.01 });
  for (const [name, options] of /** @type {const} */ ([
    ['desktop-light', { colorScheme: 'light' }],
    ['desktop-dark', { colorScheme: 'dark' }],
    ['phone-light', { colorScheme: 'light', viewport: { width: 390, height: 844 } }],
    ['phone-dark', { colorScheme: 'dark', viewport: { width: 390, height: 844 } }],
  ])) {
    const page = await OperatorPage.open(browser, node.operator, `jobs-${name}`, t, { ...options, bypassCSP: true });
    await page.waitForConnection();
    await page.element('job-facts').filter({ hasText: /Epoch ([3-9]|\d\d)/ }).waitFor();
    await page.element('jobs').scrollIntoViewIfNeeded();
    await page.screenshot(`jobs-${name}`);
    await page.page.addScriptTag({ path: axe });
    const found = await page.page.evaluate(() => /** @type {any} */ (window).axe.run());
    assert.deepEqual(found.violations.map((/** @type {any} */ { id, nodes }) => [id, nodes.map((/** @type {any} */ n) => n.target)]), []);
    await page.page.context().close();
  }
  const page = await OperatorPage.open(browser, node.operator, 'jobs-cancel', t);
  await page.element('job-state').filter({ hasText: 'Running' }).waitFor();
  await page.element('job-cancel').click();
  await page.element('job-cancel').click();
  await page.element('job-state').filter({ hasText: 'Cancelled' }).waitFor();
});

test('who only watches is shown no jobs', async (t) => {
  const page = await OperatorPage.open(browser, node.viewer, 'jobs-viewer', t);
  await page.waitForConnection();
  await page.element('jobs').waitFor({ state: 'hidden' });
});
