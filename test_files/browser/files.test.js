// Files between the page and the machine.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch } from './lib/browser.js';
import { OperatorPage } from './lib/operator-page.js';
import { standalone } from './lib/programs.js';

const folder = mkdtempSync(join(tmpdir(), 'halyard-files-'));
const served = mkdtempSync(join(folder, 'served-'));

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {Awaited<ReturnType<typeof standalone>>} */
let rover;
before(async () => {
  browser = await launch();
  rover = await standalone({ log: 'files', args: ['--files', served] });
});
after(async () => {
  await browser?.close();
  await rover?.program.stop();
  rmSync(folder, { recursive: true });
});

/** @param {string} path */
const sha256 = (path) => createHash('sha256').update(readFileSync(path)).digest('hex');

/** @param {OperatorPage} page @param {string} name @param {string} direction */
const transfer = (page, name, direction) =>
  page.page.locator(`[data-testid="transfer-row"][data-name="${name}"][data-direction="${direction}"]`);

for (const [what, name, bytes] of /** @type {const} */ ([
  ['a recording of 24 MiB', 'recording.bin', 24 * 1024 * 1024],
  ['an empty file', 'empty.txt', 0],
  ['a file with a name in other scripts', 'Übergröße 測試 🚩.bin', 100_000],
])) {
  test(`${what} goes up, is listed, and comes down unchanged`, async (t) => {
    const source = join(folder, name);
    writeFileSync(source, randomBytes(bytes));
    const page = await OperatorPage.open(browser, rover.operator, `files-${bytes}`, t);
    await page.waitForConnection();

    await page.element('file-input').setInputFiles(source);
    await transfer(page, name, 'up').filter({ hasText: /Sent and verified/ }).waitFor();
    assert.equal(sha256(join(served, name)), sha256(source), 'what arrived is what was sent');

    const row = page.page.locator(`[data-testid="file-row"][data-name="${name}"]`);
    const [download] = await Promise.all([
      page.page.waitForEvent('download'),
      row.locator('[data-testid="file-download"]').click(),
    ]);
    await transfer(page, name, 'down').filter({ hasText: /Fetched and verified/ }).waitFor();
    assert.equal(download.suggestedFilename(), name);
    assert.equal(sha256(/** @type {string} */ (await download.path())), sha256(source));
    assert.deepEqual(page.problems, []);
  });
}

test('files and folders are deleted once it was asked whether that is meant', async (t) => {
  mkdirSync(join(served, 'old runs'));
  writeFileSync(join(served, 'old runs', 'log.txt'), 'x');
  writeFileSync(join(served, 'spare.txt'), 'x');
  const page = await OperatorPage.open(browser, rover.operator, 'files-delete', t);
  await page.waitForConnection();
  const row = (/** @type {string} */ name) => page.page.locator(`.rows [data-name="${name}"]`);
  for (const name of ['spare.txt', 'old runs']) {
    const remove = row(name).getByTestId('file-delete');
    await remove.click();
    await row(name).getByText(/^Delete .+\?$/).waitFor();
    await row(name).getByTestId('file-keep').click();
    assert.ok(existsSync(join(served, name)), 'nothing happened yet');
    await remove.click();
    await row(name).getByTestId('file-delete-sure').click();
    await row(name).waitFor({ state: 'detached' });
    assert.ok(!existsSync(join(served, name)), `${name} is gone`);
  }
  assert.deepEqual(page.problems, []);

  const viewer = await OperatorPage.open(browser, rover.viewer, 'files-delete-viewer', t);
  await viewer.waitForConnection();
  assert.equal(await viewer.page.getByTestId('file-delete').count(), 0, 'viewers delete nothing');
});

test('a viewer reads why no file can be sent', async (t) => {
  const page = await OperatorPage.open(browser, rover.viewer, 'files-viewer', t);
  await page.waitForConnection();
  await page.element('files-note').filter({ hasText: /\S/ }).waitFor();
  t.diagnostic(await page.element('files-note').innerText());
  assert.ok(await page.page.locator('#drop').isHidden());
});

test('a machine without --files says how to allow files', async (t) => {
  const other = await standalone({ log: 'files-none' });
  t.after(() => other.program.stop());
  const page = await OperatorPage.open(browser, other.operator, 'files-none', t);
  await page.waitForConnection();
  await page.waitForText('files-note', /^[A-Z].*--files/);
  assert.ok(await page.page.locator('#drop').isHidden());
});
