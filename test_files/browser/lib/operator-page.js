// The operator page as a person uses it. The only place in the tests that knows its elements.
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { outDir } from './programs.js';
import { sampleStrips } from './strip-in-page.js';

/** @typedef {import('playwright-core').Browser} Browser */
/** @typedef {import('playwright-core').Page} Page */

/** Generous: continuous integration has few cores, and several encoders and decoders share them. */
export const PATIENCE_MS = 30_000;

/** Names of the elements, as the page gives them to tests. */
const byTestId = (/** @type {string} */ id) => `[data-testid="${id}"]`;

export class OperatorPage {
  /** @type {string[]} */
  problems = [];

  /** @param {Page} page @param {string} name */
  constructor(page, name) {
    this.page = page;
    this.name = name;
    page.setDefaultTimeout(PATIENCE_MS);
    page.on('pageerror', (error) => this.problems.push(`uncaught: ${error.stack ?? error}`));
    page.on('console', (message) => {
      if (message.type() === 'error') this.problems.push(`console: ${message.text()}`);
    });
  }

  /**
   * Opens a link in a profile of its own. When the test fails, a screenshot and the console are kept.
   *
   * @param {Browser} browser
   * @param {string} link
   * @param {string} name of the artifacts
   * @param {import('node:test').TestContext} [t] the test it belongs to
   * @param {import('playwright-core').BrowserContextOptions} [options]
   */
  static async open(browser, link, name, t, options = {}) {
    const context = await browser.newContext({
      viewport: { width: 1440, height: 900 },
      acceptDownloads: true,
      ...options,
    });
    const opened = new OperatorPage(await context.newPage(), name);
    t?.after(async () => {
      if (opened.page.isClosed()) return;
      await opened.screenshot(`last-${name}`);
      await context.close();
    });
    await opened.page.goto(link);
    return opened;
  }

  /** @param {string} name */
  async screenshot(name) {
    await this.page.screenshot({ path: join(outDir, `${name}.png`) });
  }

  /** Closes the tab and its profile. */
  async close() {
    await this.page.close();
    await this.page.context().close();
  }

  /** @param {string} id */
  element(id) {
    return this.page.locator(byTestId(id));
  }

  /** @param {string} id @param {RegExp} words */
  async waitForText(id, words) {
    await this.element(id).filter({ hasText: words }).waitFor();
  }

  /** Until a frame is shown. @returns {Promise<number>} ms since the navigation began */
  async waitForVideo() {
    const video = this.element('video');
    return video.evaluate(
      (element, patience) =>
        new Promise((done, fail) => {
          const timer = setTimeout(
            () => fail(new Error(`no picture within ${patience} ms: "${document.getElementById('veil')?.innerText}"`)),
            patience,
          );
          /** @type {HTMLVideoElement} */ (element).requestVideoFrameCallback((now) => {
            clearTimeout(timer);
            done(now);
          });
        }),
      PATIENCE_MS,
    );
  }

  /** Until the page says that it is connected to the machine. */
  async waitForConnection() {
    await this.waitForText('connection-state', /^Connected/);
  }

  /** What the page knows, for tests and benchmarks. @returns {Promise<any>} */
  stats() {
    return this.page.evaluate(() => /** @type {any} */ (window).halyard.stats());
  }

  /**
   * Until the latest telemetry is as wished, and what it says then.
   *
   * @param {string} what for the error
   * @param {(telemetry: any) => boolean} isWished
   */
  async waitForTelemetry(what, isWished) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const { telemetry } = await this.stats();
      if (telemetry && isWished(telemetry)) return telemetry;
      if (Date.now() > deadline) {
        throw new Error(`${what}: not seen; the telemetry is ${JSON.stringify(telemetry)}`);
      }
      await delay(30);
    }
  }

  telemetry() {
    return this.waitForTelemetry('any telemetry', () => true);
  }

  /** Until a key that is pressed would drive. */
  async waitToDrive() {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const { drive, telemetry } = await this.stats();
      if (drive.blocked === null && telemetry && telemetry.stopped === null) return;
      if (Date.now() > deadline) {
        throw new Error(`driving did not become possible: ${drive.blocked ?? telemetry?.stopped ?? 'no telemetry'}`);
      }
      await delay(30);
    }
  }

  /**
   * Holds a key until the machine moves as wished, and goes on holding it. As a person would: a busy
   * computer is late now and then, by which the machine stops, rightly, and the key is pressed again.
   *
   * @param {string} key
   * @param {string} what for the error
   * @param {(telemetry: any) => boolean} isWished
   * @param {OperatorPage} [seenBy] whose telemetry tells
   */
  async drive(key, what, isWished, seenBy = this) {
    const { keyboard } = this.page;
    const deadline = Date.now() + PATIENCE_MS;
    await this.waitToDrive();
    await keyboard.down(key);
    for (;;) {
      const { telemetry } = await seenBy.stats();
      const { drive } = await this.stats();
      const isHeld = drive.held.length > 0;
      if (isHeld && telemetry && isWished(telemetry)) return telemetry;
      if (Date.now() > deadline) {
        throw new Error(`${what}: not seen; the telemetry is ${JSON.stringify(telemetry)}, the page's ${JSON.stringify(drive)}`);
      }
      if (!isHeld) {
        await keyboard.up(key);
        await this.waitToDrive();
        await keyboard.down(key);
      }
      await delay(30);
    }
  }

  videoSize() {
    return this.element('video').evaluate((element) => {
      const { videoWidth: width, videoHeight: height } = /** @type {HTMLVideoElement} */ (element);
      return { width, height };
    });
  }

  /** Until the picture has this size: a slate may come first. @param {{width: number, height: number}} wanted */
  async waitForVideoSize(wanted) {
    await this.element('video').evaluate(
      async (element, { width, height, patience }) => {
        const video = /** @type {HTMLVideoElement} */ (element);
        const deadline = performance.now() + patience;
        while (video.videoWidth !== width || video.videoHeight !== height) {
          if (performance.now() > deadline) {
            throw new Error(`the picture is ${video.videoWidth}x${video.videoHeight}, not ${width}x${height}`);
          }
          await new Promise((done) => setTimeout(done, 50));
        }
      },
      { ...wanted, patience: PATIENCE_MS },
    );
  }

  /** How many frames are decoded in so many milliseconds. @param {number} ms */
  countFrames(ms) {
    return this.element('video').evaluate(async (element, duration) => {
      const video = /** @type {HTMLVideoElement} */ (element);
      const before = video.getVideoPlaybackQuality().totalVideoFrames;
      await new Promise((done) => setTimeout(done, duration));
      return video.getVideoPlaybackQuality().totalVideoFrames - before;
    }, ms);
  }

  /** The strips of the frames shown in so many seconds. @param {number} seconds */
  strips(seconds) {
    return sampleStrips(this.page, seconds);
  }

  /** The distance between the darkest and the brightest of the picture's pixels, 0 to 255. */
  contrast() {
    return this.element('video').evaluate((element) => {
      const canvas = new OffscreenCanvas(64, 36);
      const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext('2d'));
      context.drawImage(/** @type {HTMLVideoElement} */ (element), 0, 0, 64, 36);
      const { data } = context.getImageData(0, 0, 64, 36);
      const greens = [...data].filter((_, at) => at % 4 === 1);
      return Math.max(...greens) - Math.min(...greens);
    });
  }
}
