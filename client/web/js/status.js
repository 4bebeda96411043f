import { byId, setText } from './dom.js';

/**
 * The state of the connection in words: one line at the top, and where there is no picture yet, a
 * title and a sentence in its place.
 *
 * @typedef {import('./session.js').State} State
 * @typedef {import('./fallback.js').FallbackState} FallbackState
 */

const BADGES = { viewer: 'Viewer', operator: 'Operator', admin: 'Owner' };

export class StatusView {
  #state = byId('connection-state');
  #pill = byId('connection');
  #badge = byId('role-badge');
  #veil = byId('veil');
  #veilTitle = byId('veil-title');
  #veilText = byId('veil-text');
  #retry = byId('retry');
  /** @type {State | null} */
  #last = null;
  #hasPicture = false;
  #offersPicture = true;
  /** @type {FallbackState} */
  #fallback = 'off';
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #countdown;

  /** @param {{retryNow: () => void}} session */
  constructor(session) {
    this.#retry.addEventListener('click', () => session.retryNow());
  }

  /** @param {State} state */
  show(state) {
    this.#last = state;
    clearInterval(this.#countdown);
    if (state.serverLost) this.#countdown = setInterval(() => this.#draw(), 1_000);
    this.#draw();
  }

  /** Whether frames are being shown. @param {boolean} has */
  picture(has) {
    this.#hasPicture = has;
    this.#draw();
  }

  /** Whether this machine has any picture to send. @param {boolean} offers */
  offersPicture(offers) {
    this.#offersPicture = offers;
    this.#draw();
  }

  /** What becomes of the picture over HTTP. @param {FallbackState} state */
  fallback(state) {
    this.#fallback = state;
    this.#draw();
  }

  #draw() {
    const state = this.#last;
    if (!state) return;
    const [line, title, text] = words(state, this.#offersPicture, this.#fallback);
    setText(this.#state, line);
    this.#pill.dataset['phase'] = state.phase;
    this.#pill.toggleAttribute('data-server-lost', state.serverLost !== null);

    this.#badge.hidden = state.access === null;
    if (state.access) {
      setText(this.#badge, BADGES[state.access] ?? 'Viewer');
      this.#badge.dataset['role'] = state.access;
    }

    const stands =
      state.phase === 'connected' || state.phase === 'interrupted' || this.#fallback === 'on';
    this.#veil.hidden = stands && this.#hasPicture;
    setText(this.#veilTitle, title);
    setText(this.#veilText, text);
    this.#retry.hidden = state.serverLost === null || !Number.isFinite(state.serverLost.retryAt);
  }
}

/**
 * @param {State} state
 * @param {boolean} offersPicture
 * @param {FallbackState} [fallback]
 * @returns {[line: string, title: string, text: string]}
 */
export function words({ phase, serverLost, reason, refused, others }, offersPicture, fallback = 'off') {
  const why = reason ? `${reason.charAt(0).toUpperCase()}${reason.slice(1)}. ` : '';
  const watching = others > 0 ? `, ${others} ${others === 1 ? 'other' : 'others'} here` : '';
  if (phase === 'connected') {
    const line = serverLost ? 'Connected (the server is away)' : `Connected${watching}`;
    return offersPicture
      ? [line, 'Waiting for the picture', 'The machine is connected and is about to send its first frame.']
      : [line, 'No picture', 'This machine sends no picture. Everything else works.'];
  }
  if (fallback === 'on' && (phase === 'connecting' || phase === 'interrupted')) {
    const line = refused === 'webrtc_off' ? 'Picture over HTTP' : 'Picture over HTTP, trying WebRTC';
    return [line, 'Waiting for the picture', 'It comes over HTTP.'];
  }
  if (phase === 'interrupted') {
    return ['Interrupted, reconnecting', 'Interrupted', `${why}Reconnecting by itself.`];
  }
  if (serverLost) {
    const when = wait(serverLost.retryAt);
    const lost = serverLost.reason.charAt(0).toUpperCase() + serverLost.reason.slice(1);
    return ['No server, trying again', 'The server is away', `${lost}. ${when} Check your network if this lasts.`];
  }
  switch (phase) {
    case 'signing-in':
      return ['Reaching the server', 'Reaching the server', 'Introducing this browser.'];
    case 'joining':
      return ['Entering the room', 'Entering the room', 'The server is checking your link.'];
    case 'waiting':
      return [
        'Waiting for the machine',
        'The machine is not here',
        `${why}The room is open and you are in it. This page connects by itself as soon as the machine comes: check that it is switched on and online.`,
      ];
    case 'connecting':
      if (fallback === 'none') return noWay(why, refused);
      return [
        reason ? 'Reconnecting to the machine' : 'Connecting to the machine',
        reason ? 'Reconnecting to the machine' : 'Connecting to the machine',
        reason
          ? `${why}Looking for a way to it again.`
          : 'Looking for the most direct way between this browser and the machine.',
      ];
    default:
      return ['Ended', 'Ended', ''];
  }
}

/**
 * WebRTC does not come about, and nothing else leads to the machine from here.
 *
 * @param {string} why
 * @param {string | null} refused
 * @returns {[line: string, title: string, text: string]}
 */
function noWay(why, refused) {
  if (refused === 'webrtc_off') {
    return [
      'WebRTC is off on the machine',
      'This machine does not use WebRTC',
      'Its owner turned it off, and this page comes from a server that is not the machine, so there is no picture here. A machine started with “standalone” shows it on a page of its own: ask its owner for that link.',
    ];
  }
  return [
    'No way to the machine, still trying',
    'No way to the machine was found',
    `${why}Server and machine are there, but no WebRTC connection comes about: most often a firewall or a VPN that blocks UDP. Try another network, or ask whoever runs the server for a TURN server. “halyard doctor” with your link says what is blocked. This page keeps trying.`,
  ];
}

/** @param {number} retryAt on the clock of `performance.now` */
function wait(retryAt) {
  const seconds = Math.ceil((retryAt - performance.now()) / 1000);
  return seconds > 0 ? `Trying again in ${seconds} s.` : 'Trying again now.';
}
