import { byId, setText } from './dom.js';
import { sentence, shortName } from './format.js';
import { toast } from './toasts.js';

/**
 * Sound, both ways: hearing the machine, and being heard there while the talk button is held.
 *
 * Browsers let a page sound only after somebody touched it, and a machine's microphone is open only
 * while somebody listens: so it is quiet until the button is pressed. The choice is remembered.
 *
 * @typedef {import('./session.js').Session} Session
 * @typedef {import('./types.js').Hello} Hello
 */

const REMEMBERED = 'halyard.sound';

/** The microphone stays open for this long after the last word, so that the next one is not cut. */
const KEEP_MICROPHONE_MS = 20_000;

/** Held to talk, where no field has the focus. */
const TALK_KEY = 'KeyT';

export class SoundView {
  #session;
  #box = byId('sound');
  #toggle = byId('sound-toggle');
  #volume = /** @type {HTMLInputElement} */ (byId('sound-volume'));
  #audio = /** @type {HTMLAudioElement} */ (byId('audio'));
  #talk = byId('talk');
  #talkWord = byId('talk-word');
  #on = false;
  #mayTalk = false;
  /** The button is held. */
  #held = false;
  /** Who is heard at the machine. */
  #talker = /** @type {{talker: string | null, you: boolean}} */ ({ talker: null, you: false });
  /** @type {MediaStreamTrack | null} */
  #microphone = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #close;

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
    const { on, volume } = recall();
    this.#on = on;
    this.#volume.value = String(volume);
    this.#audio.volume = volume / 100;
    this.#toggle.addEventListener('click', () => this.#listen(!this.#on));
    this.#volume.addEventListener('input', () => {
      this.#audio.volume = Number(this.#volume.value) / 100;
      this.#remember();
    });
    this.#holdToTalk();
    session.on('hello', (hello) => this.#greeted(hello));
    session.on('gone', () => {
      this.#talker = { talker: null, you: false };
      this.#letGo();
    });
    session.on('sound', (track) => {
      this.#audio.srcObject = new MediaStream([track]);
      if (this.#on) this.#play();
    });
    session.on('talk', (talker) => this.#told(talker));
  }

  /** For the page's own numbers. */
  get numbers() {
    return { on: this.#on, talking: this.#held && this.#talker.you, talker: this.#talker.talker };
  }

  /** @param {Hello} hello */
  #greeted({ capabilities = [] }) {
    const hears = capabilities.includes('listen');
    this.#mayTalk = capabilities.includes('talk');
    this.#box.hidden = !hears;
    this.#talk.hidden = !this.#mayTalk;
    if (hears) this.#session.send('LISTEN', { on: this.#on });
    this.#draw();
  }

  /** @param {boolean} on */
  #listen(on) {
    this.#on = on;
    this.#session.send('LISTEN', { on });
    if (on) this.#play();
    else this.#audio.pause();
    this.#remember();
    this.#draw();
  }

  #play() {
    this.#audio.play().catch(() => {
      // Nobody touched this page yet: quiet until the button is pressed.
      if (!this.#on) return;
      this.#on = false;
      this.#session.send('LISTEN', { on: false });
      this.#draw();
    });
  }

  #holdToTalk() {
    const press = (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.#press();
    };
    this.#talk.addEventListener('pointerdown', (event) => {
      this.#talk.setPointerCapture(event.pointerId);
      press(event);
    });
    for (const end of ['pointerup', 'pointercancel', 'lostpointercapture']) {
      this.#talk.addEventListener(end, () => this.#letGo());
    }
    // Who cannot hold a pointer down switches it with Enter.
    this.#talk.addEventListener('keydown', (event) => {
      if (event.code !== 'Enter' || event.repeat) return;
      if (this.#held) this.#letGo();
      else press(event);
    });
    window.addEventListener('keydown', (event) => {
      const typing = event.target instanceof HTMLInputElement;
      if (event.code !== TALK_KEY || event.repeat || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      press(event);
    });
    window.addEventListener('keyup', (event) => {
      if (event.code === TALK_KEY) this.#letGo();
    });
    window.addEventListener('blur', () => this.#letGo());
  }

  async #press() {
    if (this.#held || !this.#mayTalk) return;
    this.#held = true;
    this.#draw();
    const microphone = await this.#open();
    if (!microphone || !this.#held) return this.#letGo();
    this.#audio.muted = true; // the machine's microphone hears its speaker
    await this.#session.speak(microphone);
    this.#session.send('TALK', { on: true });
  }

  #letGo() {
    if (!this.#held) return;
    this.#held = false;
    this.#audio.muted = false;
    void this.#session.speak(null);
    this.#session.send('TALK', { on: false });
    clearTimeout(this.#close);
    this.#close = setTimeout(() => {
      this.#microphone?.stop();
      this.#microphone = null;
    }, KEEP_MICROPHONE_MS);
    this.#draw();
  }

  /** @returns {Promise<MediaStreamTrack | null>} */
  async #open() {
    clearTimeout(this.#close);
    if (this.#microphone?.readyState === 'live') return this.#microphone;
    if (!navigator.mediaDevices) {
      toast('Browsers open the microphone only for pages over HTTPS. Reach the server by https://, or open the page on the machine itself.', 'warning');
      return null;
    }
    try {
      const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
      const stream = await navigator.mediaDevices.getUserMedia({ audio });
      this.#microphone = stream.getAudioTracks()[0] ?? null;
    } catch (error) {
      toast(microphoneWords(error instanceof DOMException ? error.name : ''), 'warning');
    }
    return this.#microphone;
  }

  /** @param {{talker: string | null, you: boolean}} talker */
  #told(talker) {
    const refused = this.#held && !talker.you && talker.talker !== null;
    this.#talker = talker;
    if (refused) this.#letGo();
    this.#draw();
  }

  #draw() {
    this.#toggle.setAttribute('aria-pressed', String(this.#on));
    this.#toggle.setAttribute('aria-label', this.#on ? 'Do not hear the machine' : 'Hear the machine');
    this.#volume.hidden = !this.#on;
    this.#talk.setAttribute('aria-pressed', String(this.#held));
    const { talker, you } = this.#talker;
    const other = talker !== null && !you ? `${shortName(talker)} is speaking` : 'Hold to talk';
    setText(this.#talkWord, this.#held ? (you ? 'You are heard' : 'Opening…') : sentence(other));
  }

  #remember() {
    try {
      const kept = { on: this.#on, volume: Number(this.#volume.value) };
      window.localStorage.setItem(REMEMBERED, JSON.stringify(kept));
    } catch {
      // A browser that keeps nothing begins quietly.
    }
  }
}

/**
 * Why there is no microphone, and what to do.
 *
 * @param {string} name of the browser's error
 */
export function microphoneWords(name) {
  switch (name) {
    case 'NotAllowedError':
      return 'This page may not use the microphone. Allow it beside the address, and hold the button again.';
    case 'NotFoundError':
      return 'This computer has no microphone.';
    case 'NotReadableError':
      return 'The microphone is in use by another program. Close that one and hold the button again.';
    default:
      return 'The microphone could not be opened.';
  }
}

/**
 * What is kept, as far as it makes sense.
 *
 * @param {unknown} kept
 * @returns {{on: boolean, volume: number}}
 */
export function wishes(kept) {
  const { on, volume } = /** @type {{on?: unknown, volume?: unknown}} */ (kept ?? {});
  const isVolume = typeof volume === 'number' && volume >= 0 && volume <= 100;
  return { on: on === true, volume: isVolume ? volume : 100 };
}

function recall() {
  try {
    return wishes(JSON.parse(window.localStorage.getItem(REMEMBERED) ?? 'null'));
  } catch {
    return wishes(null);
  }
}
