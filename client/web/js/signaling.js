import { Backoff } from './backoff.js';
import { Emitter } from './emitter.js';
import { closeReason, finalClose, finalRefusal } from './words.js';

/**
 * The link to the broker: signs in, registers, answers pings, and comes back by itself when the
 * socket drops, on the same seat where the broker still keeps it.
 *
 * @typedef {import('./types.js').Registered} Registered
 * @typedef {import('./types.js').Problem} Problem
 * @typedef {Record<string, any> & {type: string}} Message
 *
 * @typedef {object} Events
 * @property {'signing-in' | 'joining'} step
 * @property {Registered} registered also after every return
 * @property {Message} message everything else that the broker says
 * @property {{reason: string, retryAt: number}} lost `retryAt` on the clock of `performance.now`
 * @property {Problem} ended trying again would not help
 */

/** The broker pings every 30 s; after this long without a word the socket is taken for dead. */
const SILENCE_MS = 75_000;

/** How often this end asks, so that a dead socket is noticed. */
const PING_EVERY_MS = 25_000;

/** A broker that has not answered `register` by then is tried again. */
const REGISTER_TIMEOUT_MS = 10_000;

/** Messages kept while the socket is down: a few joins of an offer and some twenty candidates. */
const MAX_WAITING = 256;

/** An identity is renewed this long before it expires. */
const IDENTITY_MARGIN_MS = 60_000;

/** After a broker came back without the room, the worker gets this many of our attempts to bring it back. */
const ROOM_RETRIES = 6;

/** @extends {Emitter<Events>} */
export class Signaling extends Emitter {
  #base;
  #room;
  #token;
  #backoff = new Backoff();
  /** @type {{username: string, idToken: string, expires: number} | null} */
  #identity = null;
  /** @type {string | undefined} */
  #resumeToken;
  /** @type {WebSocket | null} */
  #socket = null;
  #registered = false;
  #wasRegistered = false;
  #roomMisses = 0;
  #stopped = false;
  /** @type {Message[]} */
  #waiting = [];
  /** @type {() => void} */
  #wake = () => {};

  /**
   * @param {object} options
   * @param {string} options.base the broker's address, ending in `/`
   * @param {string} options.room
   * @param {string} options.token
   */
  constructor({ base, room, token }) {
    super();
    this.#base = base;
    this.#room = room;
    this.#token = token;
  }

  /** Whether messages reach the broker right now. */
  get isUp() {
    return this.#registered;
  }

  /** Joins, and stays until `leave` or an end that no retry can mend. */
  async run() {
    const retryNow = () => this.#wake();
    window.addEventListener('online', retryNow);
    while (!this.#stopped) {
      const end = await this.#attempt();
      this.#registered = false;
      if (this.#stopped) break;
      if ('problem' in end) {
        this.#stopped = true;
        this.emit('ended', end.problem);
        break;
      }
      const wait = Math.max(this.#backoff.next(), end.afterMs ?? 0);
      this.emit('lost', { reason: end.reason, retryAt: performance.now() + wait });
      await this.#sleep(wait);
    }
    window.removeEventListener('online', retryNow);
  }

  /**
   * Says something to the broker, now or as soon as the socket is back.
   *
   * @param {Message} message
   */
  send(message) {
    if (this.#registered && this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify(message));
    } else if (!this.#stopped && this.#waiting.length < MAX_WAITING) {
      this.#waiting.push(message);
    }
  }

  /** Forgets what waits for the socket: the connection it was about is no more. */
  forgetWaiting() {
    this.#waiting = [];
  }

  /** Does not wait for the next attempt's time. */
  retryNow() {
    this.#wake();
  }

  /** Gives the seat up at once. */
  leave() {
    this.#stopped = true;
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify({ type: 'leave' }));
      this.#socket.close(1000);
    }
    this.#wake();
  }

  /** @typedef {{problem: Problem} | {reason: string, afterMs?: number}} AttemptEnd */

  /** @returns {Promise<AttemptEnd>} why it is over */
  async #attempt() {
    if (!this.#identity || this.#identity.expires < Date.now() + IDENTITY_MARGIN_MS) {
      this.emit('step', 'signing-in');
      const failed = await this.#signIn();
      if (failed) return failed;
    }
    if (this.#stopped) return { reason: 'left' };
    this.emit('step', 'joining');
    return this.#connect();
  }

  /** @returns {Promise<AttemptEnd | null>} */
  async #signIn() {
    let response;
    try {
      response = await fetch(`${this.#base}anonymous-signin`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{}',
        credentials: 'omit',
        cache: 'no-store',
        signal: AbortSignal.timeout(REGISTER_TIMEOUT_MS),
      });
    } catch {
      return { reason: 'the server cannot be reached' };
    }
    if (!response.ok) {
      const seconds = Number(response.headers.get('retry-after'));
      const reason =
        response.status === 429 ? 'the server is busy' : `the server answered with ${response.status}`;
      return { reason, afterMs: Number.isFinite(seconds) ? Math.min(seconds, 120) * 1000 : 0 };
    }
    /** @type {any} */
    const body = await response.json().catch(() => null);
    if (typeof body?.id_token !== 'string' || typeof body.username !== 'string') {
      return { reason: 'what answers there is not a Halyard server' };
    }
    const seconds = Number(body.expires_in) || 3600;
    this.#identity = {
      username: body.username,
      idToken: body.id_token,
      expires: Date.now() + seconds * 1000,
    };
    this.#resumeToken = undefined;
    return null;
  }

  /** @returns {Promise<AttemptEnd>} */
  #connect() {
    const url = new URL('ws', this.#base);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(url);
    this.#socket = socket;
    return new Promise((resolve) => {
      /** @type {AttemptEnd | null} */
      let end = null;
      let heard = performance.now();

      /** @param {AttemptEnd} why */
      const finish = (why) => {
        end ??= why;
        clearTimeout(deadline);
        clearInterval(pings);
        socket.close();
        resolve(end);
      };
      const deadline = setTimeout(
        () => finish({ reason: 'the server does not answer' }),
        REGISTER_TIMEOUT_MS,
      );
      const pings = setInterval(() => {
        if (performance.now() - heard > SILENCE_MS) finish({ reason: 'the server went silent' });
        else if (this.#registered) this.send({ type: 'ping' });
      }, PING_EVERY_MS);

      socket.addEventListener('open', () => socket.send(JSON.stringify(this.#register())));
      socket.addEventListener('close', ({ code }) => {
        const problem = finalClose(code);
        finish(problem ? { problem } : { reason: closeReason(code) });
      });
      socket.addEventListener('message', ({ data }) => {
        if (end) return;
        heard = performance.now();
        const message = parse(data);
        if (!message) return;
        if (message.type === 'registered_auth') {
          clearTimeout(deadline);
          this.#entered(/** @type {any} */ (message));
        } else if (message.type === 'ping') {
          socket.send(JSON.stringify({ type: 'pong' }));
        } else if (message.type === 'error' && !this.#registered) {
          finish(this.#refused(message));
        } else if (message.type === 'room_closed') {
          const problem = finalClose(4004);
          if (problem) finish({ problem });
        } else if (message.type !== 'pong') {
          this.emit('message', message);
        }
      });
    });
  }

  /** @returns {Message} */
  #register() {
    return {
      type: 'register',
      peer_id: this.#identity?.username,
      room_id: this.#room,
      token: this.#token,
      id_token: this.#identity?.idToken,
      role: 'client',
      is_admin: false,
      metadata: { properties: { agent: 'halyard-page' } },
      ...(this.#resumeToken && { resume_token: this.#resumeToken }),
    };
  }

  /** @param {Registered} registered */
  #entered(registered) {
    this.#registered = true;
    this.#wasRegistered = true;
    this.#roomMisses = 0;
    this.#backoff.reset();
    this.#resumeToken = registered.resume_token;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.emit('registered', {
      ...registered,
      peers: Array.isArray(registered.peers) ? registered.peers : [],
      ice_servers: Array.isArray(registered.ice_servers) ? registered.ice_servers : [],
    });
    for (const message of waiting) this.send(message);
  }

  /**
   * @param {Message} error in answer to `register`
   * @returns {AttemptEnd}
   */
  #refused({ code, message, reason, retry_after: retryAfter }) {
    if (code === 'INVALID_IDENTITY' || code === 'PEER_ID_TAKEN') {
      this.#identity = null;
      return { reason: 'the server asks for a new sign-in' };
    }
    // A restarted broker may have forgotten the room until its worker is back.
    const mayComeBack = code === 'ROOM_NOT_FOUND' && this.#wasRegistered;
    if (mayComeBack && this.#roomMisses < ROOM_RETRIES) {
      this.#roomMisses += 1;
      this.#resumeToken = undefined;
      return { reason: 'the server does not know the room any more' };
    }
    const problem = finalRefusal(code);
    if (problem) return { problem };
    this.#resumeToken = undefined;
    const words = String(message ?? reason ?? 'the server refused').slice(0, 200);
    return { reason: words, afterMs: Math.min(Number(retryAfter) || 0, 120) * 1000 };
  }

  /** @param {number} ms */
  #sleep(ms) {
    return /** @type {Promise<void>} */ (
      new Promise((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      })
    );
  }
}

/**
 * @param {unknown} data
 * @returns {Message | null}
 */
function parse(data) {
  if (typeof data !== 'string') return null;
  try {
    const message = JSON.parse(data);
    return typeof message?.type === 'string' ? message : null;
  } catch {
    return null;
  }
}
