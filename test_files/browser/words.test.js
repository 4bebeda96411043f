// What goes wrong is said in words that help.
import assert from 'node:assert/strict';
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
  rover = await standalone({ log: 'words' });
});
after(async () => {
  await browser?.close();
  await rover?.program.stop();
});

test('a link with a wrong token says so, and what to do', async (t) => {
  const wrong = rover.operator.replace(/#.*/, '#AAAAAAAAAAAAAAAAAAAAAA');
  const page = await OperatorPage.open(browser, wrong, 'wrong-token', t);
  await page.waitForText('ended', /token/i);
  await page.waitForText('ended', /link/i);
});

test('a link to a room that is gone says so', async (t) => {
  const gone = rover.operator.replace(/\/r\/[^#]*/, '/r/deadbeef');
  const page = await OperatorPage.open(browser, gone, 'no-room', t);
  await page.waitForText('ended', /gone|expired|closed/i);
});

test('a link without a token asks for it', async (t) => {
  const page = await OperatorPage.open(browser, rover.operator.replace(/#.*/, ''), 'no-token', t);
  await page.element('ask-token').fill(rover.operator);
  await page.element('ask-button').click();
  await page.waitForConnection();
});

test('the start page takes a join link, and says what is wrong with one', async (t) => {
  const page = await OperatorPage.open(browser, new URL('/', rover.operator).href, 'landing', t);
  await page.element('join-link').fill('rover');
  await page.element('join-button').click();
  await page.page.locator('#join-error').filter({ hasText: /not a link/ }).waitFor();
  await page.element('join-link').fill(rover.operator);
  await page.element('join-button').click();
  await page.waitForConnection();
  assert.equal(new URL(page.page.url()).hash, '');
});

test('a machine that goes away says goodbye, and the page says what it waits for', async (t) => {
  const other = await standalone({ log: 'words-gone' });
  t.after(() => other.program.stop());
  const page = await OperatorPage.open(browser, other.operator, 'goodbye', t);
  await page.waitForVideo();
  await other.program.stop();
  await page.waitForText('connection-state', /No server|Waiting|Reconnecting|Ended/);
  await page.page.locator('#veil, #ended').filter({ hasText: /server|machine|room/i, visible: true }).waitFor();
});
