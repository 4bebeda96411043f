import { Backoff } from './backoff.js';
import { byId, setText } from './dom.js';
import { Emitter } from './emitter.js';
import { NoWay, showStills } from './stills.js';

/**
 * The picture over HTTP while WebRTC does not come about. It begins by itself, WebRTC is tried on
 * meanwhile, and it ends when a picture comes that way.
 *
 * @typedef {import('./session.js').State} State
 * @typedef {'off' | 'trying' | 'on' | 'none'} FallbackState
 *   `none`: this page does not come from the machine, so there is no such way
 */

/** WebRTC that works does within this long, even through a relay. */
export const FALLBACK_AFTER_MS = 4_000;

/** Where there was no way, one may have come: a machine that was started anew, a proxy. */
const LOOK_AGAIN_MS = 30_000;

/** @extends {Emitter<{state: FallbackState}>} */
export class Fallback extends Emitter {
  #place;
  #video;
  /** @type {FallbackState} */
  #state = 'off';
  #webrtcOff = false;
  /** @type {AbortController | null} */
  #running = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #notice = byId('fallback');

  /**
   * @param {{base: string, token: string}} place
   * @param {import('./video.js').VideoView} video
   */
  constructor(place, video) {
    super();
    this.#place = place;
    this.#video = video;
    video.on('way', (way) => {
      if (way === 'webrtc') this.#stop();
    });
  }

  get state() {
    return this.#state;
  }

  /** @param {State} session */
  follow({ phase, refused, serverLost }) {
    if (serverLost && this.#state !== 'on') {
      // A machine that carries its broker is away with it.
      this.#stop();
    } else if (phase === 'connecting' || phase === 'interrupted') {
      const isOff = refused === 'webrtc_off';
      if (isOff !== this.#webrtcOff) {
        this.#webrtcOff = isOff;
        this.#draw();
      }
      if (this.#running) return;
      if (isOff) this.#start();
      else this.#timer ??= setTimeout(() => this.#start(), FALLBACK_AFTER_MS);
    } else if (phase === 'connected') {
      // What is shown stays until a picture comes by WebRTC.
      clearTimeout(this.#timer);
      this.#timer = undefined;
      if (this.#state === 'none' || this.#state === 'trying') this.#stop();
    } else {
      this.#stop();
    }
  }

  /** The machine is connected and has no picture: what is shown would not end. */
  stop() {
    this.#stop();
  }

  #start() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#running = new AbortController();
    void this.#run(this.#running.signal);
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#running?.abort();
    this.#running = null;
    this.#video.stillsGone();
    this.#enter('off');
  }

  /** @param {AbortSignal} signal */
  async #run(signal) {
    const backoff = new Backoff({ first: 1_000, longest: 8_000 });
    while (!signal.aborted) {
      if (this.#state !== 'none') this.#enter('trying');
      let wait;
      try {
        await showStills({
          ...this.#place,
          signal,
          show: (picture) => {
            if (signal.aborted) return picture.close();
            backoff.reset();
            this.#video.showStill(picture);
            this.#enter('on');
          },
        });
        return;
      } catch (error) {
        if (signal.aborted) return;
        const isNoWay = error instanceof NoWay;
        this.#video.stillsGone();
        this.#enter(isNoWay ? 'none' : 'trying');
        wait = isNoWay ? LOOK_AGAIN_MS : backoff.next();
      }
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, wait);
        signal.addEventListener('abort', () => {
          clearTimeout(timer);
          resolve(null);
        });
      });
    }
  }

  /** @param {FallbackState} state */
  #enter(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#draw();
    this.emit('state', state);
  }

  #draw() {
    this.#notice.hidden = this.#state !== 'on';
    const why = this.#webrtcOff
      ? 'WebRTC is turned off on this machine.'
      : 'WebRTC is still being tried.';
    setText(this.#notice, this.#state === 'on' ? `Slower picture over HTTP, to look at only. ${why}` : '');
  }
}
