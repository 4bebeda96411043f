import { byId, setText } from './dom.js';
import { Emitter } from './emitter.js';
import { PictureAge } from './picture-age.js';
import { Quality } from './quality.js';
import { CELL_HEIGHT, CELLS, ageMs, readStrip } from './strip.js';

/**
 * The picture: shows it, reads the latency strip of every frame shown, and says whether there is a
 * picture and whether it stands still.
 *
 * @typedef {'none' | 'live' | 'frozen'} PictureState
 * @typedef {'webrtc' | 'http'} Way how it comes
 */

const DRAW_EVERY_MS = 500;
const WATCH_EVERY_MS = 200;

/** @extends {Emitter<{state: PictureState, way: Way}>} */
export class VideoView extends Emitter {
  #video = /** @type {HTMLVideoElement} */ (byId('video'));
  #still = /** @type {HTMLCanvasElement} */ (byId('still'));
  /** Waits to be drawn. @type {ImageBitmap | null} */
  #nextStill = null;
  #stillContext = this.#still.getContext('2d', { alpha: false });
  #stage = byId('stage');
  #picture = byId('picture');
  #hud = byId('hud');
  #fps = byId('hud-fps');
  #age = byId('hud-age');
  #missed = byId('hud-missed');
  #frozen = byId('frozen');
  #full = /** @type {HTMLButtonElement} */ (byId('fullscreen'));
  #quality = new Quality();
  #pictureAge;
  #roundTrip;
  #hasStrip = false;
  #isOn = false;
  /** @type {Way} */
  #way = 'webrtc';
  /** @type {PictureState} */
  #state = 'none';
  #canvas = document.createElement('canvas');
  #context = this.#canvas.getContext('2d', { willReadFrequently: true, alpha: false });

  /**
   * @param {import('./clock.js').MachineClock} clock
   * @param {() => number | null} roundTrip to the machine, in ms
   */
  constructor(clock, roundTrip) {
    super();
    this.#pictureAge = new PictureAge(clock);
    this.#roundTrip = roundTrip;
    this.#canvas.height = 1;
    this.#video.addEventListener('resize', () => this.#fit());
    if ('requestVideoFrameCallback' in this.#video) this.#watch();
    setInterval(() => this.#judge(), WATCH_EVERY_MS);
    setInterval(() => this.#draw(), DRAW_EVERY_MS);
    this.#offerFullScreen();
  }

  /** The element's own numbers. */
  get size() {
    if (this.#way === 'http') return { width: this.#still.width, height: this.#still.height };
    return { width: this.#video.videoWidth, height: this.#video.videoHeight };
  }

  get way() {
    return this.#way;
  }

  get quality() {
    return this.#quality;
  }

  /** How old the picture is that is shown now, in ms; `null` without one. */
  get age() {
    return this.#state === 'none' ? null : this.#pictureAge.at(performance.now());
  }

  get state() {
    return this.#state;
  }

  /** @param {MediaStreamTrack} track */
  show(track) {
    if (this.#way === 'webrtc') this.#quality = new Quality();
    this.#isOn = true;
    this.#video.srcObject = new MediaStream([track]);
    // Muted pictures may start by themselves; a browser that still refuses shows its own button.
    this.#video.play().catch(() => {
      this.#video.controls = true;
    });
  }

  /**
   * Another picture comes on the same track.
   *
   * @param {boolean} hasStrip whether it is said to have the latency strip
   */
  switched(hasStrip) {
    this.#quality = new Quality();
    this.#hasStrip = hasStrip;
    this.#fit();
  }

  /** The connection is gone: what is still shown is old. */
  gone() {
    this.#isOn = false;
    if (this.#way === 'webrtc') this.#enter('none');
  }

  /** A picture that came over HTTP. Takes it over. @param {ImageBitmap} picture */
  showStill(picture) {
    // A page in the background draws nothing, and keeps no more than one.
    this.#nextStill?.close();
    if (!this.#nextStill) requestAnimationFrame((now) => this.#drawStill(now));
    this.#nextStill = picture;
  }

  /** @param {number} now */
  #drawStill(now) {
    const picture = this.#nextStill;
    this.#nextStill = null;
    if (!picture) return;
    this.#comes('http');
    if (this.#still.width !== picture.width || this.#still.height !== picture.height) {
      this.#still.width = picture.width;
      this.#still.height = picture.height;
    }
    this.#stillContext?.drawImage(picture, 0, 0);
    picture.close();
    this.#fit();
    const strip = this.#read(Date.now());
    this.#quality.add(now, strip);
    this.#pictureAge.shown(performance.now(), strip?.timeMs ?? null, undefined, this.#roundTrip());
    if (this.#state !== 'live') this.#judge();
  }

  /** No more of them come. */
  stillsGone() {
    this.#nextStill?.close();
    this.#nextStill = null;
    if (this.#way === 'webrtc') return;
    this.#way = 'webrtc';
    this.#picture.removeAttribute('data-still');
    this.#enter('none');
  }

  /** @param {Way} way */
  #comes(way) {
    if (way === this.#way) return;
    this.#way = way;
    this.#picture.toggleAttribute('data-still', way === 'http');
    this.#quality = new Quality();
    this.#fit();
    this.emit('way', way);
  }

  #watch() {
    this.#video.requestVideoFrameCallback((now, frame) => {
      this.#watch();
      if (!this.#isOn) return;
      this.#comes('webrtc');
      // The clock of `Date` is the one that the machine's clock is compared with.
      const shownAt = Date.now() + (frame.expectedDisplayTime - performance.now());
      const strip = this.#read(shownAt);
      this.#quality.add(now, strip);
      const { receiveTime } = /** @type {{receiveTime?: number}} */ (frame);
      this.#pictureAge.shown(performance.now(), strip?.timeMs ?? null, receiveTime, this.#roundTrip());
      if (this.#state !== 'live') this.#judge();
    });
  }

  /** @param {number} shownAt Unix time in ms */
  #read(shownAt) {
    const { width, height } = this.size;
    const cell = Math.floor(width / CELLS);
    // Who is not connected was told nothing of a strip, and finds it where there is one.
    if (!(this.#hasStrip || this.#way === 'http') || cell < 1 || !this.#context) return null;
    const used = cell * CELLS;
    if (this.#canvas.width !== used) this.#canvas.width = used;
    // One row through the middle of the cells is all that is copied.
    const shown = this.#way === 'http' ? this.#still : this.#video;
    this.#context.drawImage(shown, 0, height - CELL_HEIGHT / 2, used, 1, 0, 0, used, 1);
    const strip = readStrip(this.#context.getImageData(0, 0, used, 1).data, cell);
    if (strip && !this.#hasStrip) {
      this.#hasStrip = true;
      this.#fit();
    }
    return strip && { frame: strip.frame, timeMs: strip.timeMs, ageMs: ageMs(strip.timeMs, shownAt) };
  }

  /** Cuts the strip off the bottom edge: it is for this page, not for people. */
  #fit() {
    const { width, height } = this.size;
    if (width === 0 || height === 0) return;
    // Two lines more, because encoding and scaling smear its upper edge.
    const visible = this.#hasStrip ? height - CELL_HEIGHT - 2 : height;
    this.#stage.style.setProperty('--ratio', String(width / visible));
  }

  #judge() {
    const quality = this.#quality;
    if (quality.frames === 0) return this.#enter('none');
    this.#enter(quality.isFrozen(performance.now()) ? 'frozen' : 'live');
  }

  /** @param {PictureState} state */
  #enter(state) {
    if (state === 'none') {
      this.#quality = new Quality();
      this.#pictureAge.reset();
    }
    if (state === this.#state) return;
    this.#state = state;
    this.#picture.toggleAttribute('data-empty', state === 'none');
    this.#frozen.hidden = state !== 'frozen';
    this.#hud.hidden = state === 'none';
    this.emit('state', state);
  }

  #draw() {
    if (this.#hud.hidden || document.hidden) return;
    const { missed } = this.#quality;
    const { age } = this;
    setText(this.#fps, `${Math.round(this.#quality.fps(performance.now()))}`);
    setText(this.#age, age === null ? '–' : `${Math.max(0, Math.round(age))} ms`);
    setText(this.#missed, this.#hasStrip ? String(missed) : '–');
  }

  #offerFullScreen() {
    const stage = byId('room');
    this.#full.hidden = !document.fullscreenEnabled;
    this.#full.addEventListener('click', () => {
      if (document.fullscreenElement) void document.exitFullscreen();
      else stage.requestFullscreen().catch(() => {});
    });
    document.addEventListener('fullscreenchange', () => {
      const isFull = document.fullscreenElement !== null;
      this.#full.setAttribute('aria-label', isFull ? 'Leave full screen' : 'Full screen');
    });
  }
}
