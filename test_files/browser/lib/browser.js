// Debian's Chromium, driven by Playwright.
import { execFileSync } from 'node:child_process';
import { chromium } from 'playwright-core';

/** Where Debian keeps it; another browser can be named. */
const executablePath =
  process.env.CHROMIUM ?? execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim();

/** Nothing but the page: no sandbox as root, no GPU in a container, no chatter with anybody's servers. */
const args = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // A second window in the background shall keep its frames.
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
];

/** @param {string[]} [more] flags */
export function launch(more = []) {
  return chromium.launch({ executablePath, headless: true, args: [...args, ...more] });
}
