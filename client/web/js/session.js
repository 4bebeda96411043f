import { Backoff } from './backoff.js';
import { decode, encode } from './channel.js';
import { Emitter } from './emitter.js';
import { clip } from './format.js';
import { Peer } from './peer.js';
import { Signaling } from './signaling.js';

/**
 * One stay in a room: the broker on one side, the worker on the other. It finds the worker,
 * connects, and connects again when either link is lost. A lost broker does not disturb a
 * connection to the worker that stands.
 *
 * @typedef {import('./types.js').Access} Access
 * @typedef {import('./types.js').Hello} Hello
 * @typedef {import('./types.js').Lane} Lane
 * @typedef {import('./types.js').Lease} Lease
 * @typedef {import('./types.js').Estop} Estop
 * @typedef {import('./types.js').Notice} Notice
 * @typedef {import('./types.js').PeerInfo} PeerInfo
 * @typedef {import('./types.js').Problem} Problem
 * @typedef {import('./types.js').Registered} Registered
 * @typedef {import('./types.js').PathStats} PathStats
 * @typedef {import('./types.js').Telemetry} Telemetry
 *
 * @typedef {'signing-in' | 'joining' | 'waiting' | 'connecting' | 'connected' | 'interrupted' | 'ended'} Phase
 *
 * @typedef {object} State
 * @property {Phase} phase
 * @property {Access | null} access what this page may do
 * @property {string | null} worker its peer id
 * @property {number} others further people in the room
 * @property {{reason: string, retryAt: number} | null} serverLost set while the broker is away
 * @property {string | null} reason why the last connection was lost
 * @property {string | null} refused the machine's code for why it does not connect, while it does not
 * @property {Problem | null} problem set when it is over
 *
 * @typedef {object} Events
 * @property {State} state
 * @property {Hello} hello on every new connection
 * @property {null} gone a connection that had been there is not any more
 * @property {Lease} lease
 * @property {Estop} estop
 * @property {Telemetry} telemetry
 * @property {Notice} notice
 * @property {PathStats} path how the machine sees the way to this page, once a second
 * @property {{prefix: string, payload: Record<string, any>}} message every other message on `control`
 * @property {ArrayBuffer} binary
 * @property {{place: number, track: MediaStreamTrack}} track a picture for this place
 * @property {MediaStreamTrack} sound of the machine
 * @property {{talker: string | null, you: boolean}} talk who is heard at the machine
 * @property {(string | null)[]} watch which picture is shown in which place
 * @property {{from: string, payload: Record<string, any>}} peerMessage
 */

const PROTOCOL = 1;

/** A machine that tells its state does so many times a second. Silent for this long, the way to it
 * is broken, seconds before the browser's own checks say so. */
const SILENCE_MS = 2_000;

/** After this long without a word a connection that claims to stand is given up for a new one. */
const GIVE_UP_MS = 12_000;

const LISTEN_EVERY_MS = 500;

/** Between two offers to a machine whose WebRTC is turned off. Started anew, it is asked at once. */
const ASK_AGAIN_MS = 30_000;

/** @extends {Emitter<Events>} */
export class Session extends Emitter {
  #signaling;
  /** @type {Peer | null} */
  #peer = null;
  #redial = new Backoff({ first: 400, longest: 8_000 });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #redialTimer;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  /** Everybody else in the room, by peer id. @type {Map<string, PeerInfo>} */
  #others = new Map();
  #greeted = false;
  /** When telemetry was heard, on the clock of `performance.now`; `null` before the first. @type {number | null} */
  #heardAt = null;
  #self = '';
  /** @type {State} */
  #state = {
    phase: 'signing-in',
    access: null,
    worker: null,
    others: 0,
    serverLost: null,
    reason: null,
    refused: null,
    problem: null,
  };

  /** @param {{base: string, room: string, token: string}} place */
  constructor(place) {
    super();
    this.#signaling = new Signaling(place);
    this.#signaling.on('step', (step) => {
      if (this.#state.phase !== 'connected' && this.#state.phase !== 'interrupted') {
        this.#change({ phase: step });
      }
    });
    this.#signaling.on('registered', (registered) => this.#entered(registered));
    this.#signaling.on('message', (message) => this.#heard(message));
    this.#signaling.on('lost', (serverLost) => this.#change({ serverLost }));
    this.#signaling.on('ended', (problem) => this.#ended(problem));
  }

  get state() {
    return this.#state;
  }

  /** This page's own peer id. */
  get self() {
    return this.#self;
  }

  /** Joins. Ends when left, or when there is nothing left to try. */
  async run() {
    const listening = setInterval(() => this.#listen(), LISTEN_EVERY_MS);
    await this.#signaling.run();
    clearInterval(listening);
  }

  /**
   * Says something to the worker.
   *
   * @param {string} prefix
   * @param {object} payload
   * @param {Lane} [lane]
   * @returns {boolean} whether it went out
   */
  send(prefix, payload, lane = 'control') {
    return this.#peer?.send(lane, encode(prefix, payload)) ?? false;
  }

  /**
   * @param {Uint8Array<ArrayBuffer>} message
   * @param {AbortSignal} signal
   */
  async sendChunk(message, signal) {
    if (!this.#peer) throw new Error('not connected');
    await this.#peer.sendChunk(message, signal);
  }

  /**
   * This much of what came by `binary` was taken.
   *
   * @param {number} bytes of whole messages
   */
  taken(bytes) {
    this.#peer?.taken(bytes);
  }

  /**
   * Says something to another peer through the broker.
   *
   * @param {string} to
   * @param {object} payload
   */
  tell(to, payload) {
    this.#signaling.send({ type: 'peer_message', to_peer_id: to, payload });
  }

  /**
   * Sends this to the machine's speaker, or nothing any more. It is heard there under TALK.
   *
   * @param {MediaStreamTrack | null} microphone
   */
  async speak(microphone) {
    await this.#peer?.speak(microphone);
  }

  /** @returns {Promise<RTCStatsReport> | null} */
  stats() {
    return this.#peer?.stats() ?? null;
  }

  retryNow() {
    this.#signaling.retryNow();
  }

  /** Goodbye to both, for a page that goes away: the connection itself is left to the browser,
   * because closing it here would be faster than the goodbye. */
  leave() {
    this.send('BYE', { reason: 'the page was closed' });
    this.#signaling.leave();
    clearTimeout(this.#redialTimer);
  }

  /** @param {Registered} registered */
  #entered(registered) {
    const renamed = this.#self !== '' && this.#self !== registered.peer_id;
    this.#self = registered.peer_id;
    this.#useServers(registered.ice_servers);
    this.#others = new Map(registered.peers.map((peer) => [peer.peer_id, peer]));
    this.#change({ serverLost: null, access: registered.role ?? this.#state.access ?? 'viewer' });
    // Under a new name this page is a stranger to the worker.
    if (renamed) this.#drop();
    if (!this.#peer) this.#dial();
  }

  /** @param {import('./signaling.js').Message} message */
  #heard(message) {
    switch (message.type) {
      case 'answer':
        if (message['sender'] === this.#state.worker) void this.#peer?.accept(String(message['sdp']));
        break;
      case 'candidate':
        if (message['sender'] === this.#state.worker) {
          void this.#peer?.addCandidate(message['candidate'] ?? {});
        }
        break;
      case 'ice_servers':
        if (Array.isArray(message['ice_servers'])) this.#useServers(message['ice_servers']);
        break;
      case 'peer_joined':
        this.#joined(/** @type {any} */ (message));
        break;
      case 'peer_left':
        this.#others.delete(String(message['peer_id']));
        this.#left(String(message['peer_id']));
        break;
      case 'peer_message': {
        const from = String(message['from_peer_id']);
        const payload = message['payload'] ?? {};
        if (from === this.#state.worker && payload['type'] === 'refused') this.#turnedAway(payload);
        else this.emit('peerMessage', { from, payload });
        break;
      }
      case 'error':
        this.#refused(message);
        break;
      default:
        break;
    }
  }

  /** @param {PeerInfo} peer */
  #joined(peer) {
    this.#others.set(peer.peer_id, peer);
    this.#change({});
    // A worker that (re)appears while nothing stands is dialled at once, not after the backoff.
    const stands = this.#peer?.isConnected && this.#state.phase === 'connected';
    if (peer.role === 'worker' && !stands && (!isForeign(peer) || !this.#peer)) {
      this.#drop();
      this.#redial.reset();
      this.#change({ refused: null });
      this.#dial();
    }
  }

  /** @param {string} peerId */
  #left(peerId) {
    this.#change({});
    if (peerId === this.#state.worker && !this.#peer?.isConnected) {
      this.#drop();
      this.#dial();
    }
  }

  /** @param {import('./signaling.js').Message} error */
  #refused(error) {
    const aboutWorker = error['target'] === undefined || error['target'] === this.#state.worker;
    const gone = error['code'] === 'PEER_NOT_FOUND' || error['code'] === 'PEER_NOT_IN_ROOM';
    if (gone && aboutWorker && this.#peer && !this.#peer.isConnected) {
      if (this.#state.worker) this.#others.delete(this.#state.worker);
      this.#drop();
      this.#dial();
    } else if (!gone) {
      const message = String(error['message'] ?? error['reason'] ?? 'The server refused something.');
      this.emit('notice', { severity: 'warning', code: String(error['code']), message });
    }
  }

  /** Connects to the worker, if one is here; otherwise waits for it to come. */
  /** TURN credentials end: the connection that is uses new ones when it is mended.
   * @param {RTCIceServer[]} servers */
  #useServers(servers) {
    this.#iceServers = servers;
    this.#peer?.useServers(servers);
  }

  #dial() {
    clearTimeout(this.#redialTimer);
    const workers = [...this.#others.values()].filter(({ role }) => role === 'worker');
    const worker = workers.find((peer) => !isForeign(peer));
    if (!worker) {
      this.#change({ phase: 'waiting', worker: null });
      const [foreign] = workers;
      if (foreign) {
        const message = notOurs(foreign);
        this.emit('notice', { severity: 'warning', code: 'foreign_worker', message });
      }
      return;
    }
    const to = worker.peer_id;
    this.#change({ phase: 'connecting', worker: to });
    this.#signaling.forgetWaiting();
    const peer = new Peer({
      iceServers: this.#iceServers,
      signal: (message) => this.#signaling.send({ ...message, target: to }),
    });
    this.#peer = peer;
    peer.on('open', (lane) => {
      if (lane === 'control') this.#greet();
    });
    peer.on('state', (state) => {
      if (state === 'connected') {
        if (this.#greeted) this.#change({ phase: 'connected', reason: null });
      } else if (state === 'interrupted') {
        this.#change({ phase: 'interrupted', reason: 'the network dropped out' });
      }
    });
    peer.on('text', ({ text }) => this.#said(text));
    peer.on('binary', (message) => this.emit('binary', message));
    peer.on('track', (track) => this.emit('track', track));
    peer.on('sound', (track) => this.emit('sound', track));
    peer.on('lost', (reason) => {
      if (this.#peer === peer) this.#lost(reason);
    });
    void peer.offer();
  }

  #greet() {
    this.send('HELLO', {
      protocol: PROTOCOL,
      agent: 'halyard-page',
      peer_id: this.#self,
      capabilities: ['drive', 'files', 'telemetry'],
    });
  }

  /** @param {string} reason */
  #lost(reason) {
    this.#drop();
    this.#change({ phase: 'connecting', reason });
    this.#redialIn(this.#redial.next());
  }

  /** The machine does not answer the offer, and says why. @param {Record<string, any>} payload */
  #turnedAway(payload) {
    // A connection that stands survives a change of it that was refused.
    if (!this.#peer || this.#peer.isConnected) return;
    const code = String(payload['code']);
    this.#drop();
    this.#change({ phase: 'connecting', reason: clip(String(payload['message']), 200), refused: code });
    this.#redialIn(code === 'webrtc_off' ? ASK_AGAIN_MS : this.#redial.next());
  }

  /** @param {number} ms */
  #redialIn(ms) {
    clearTimeout(this.#redialTimer);
    // With the broker away there is nobody to carry an offer; its return dials.
    if (!this.#signaling.isUp) return;
    this.#redialTimer = setTimeout(() => {
      if (!this.#peer && this.#signaling.isUp) this.#dial();
    }, ms);
  }

  #listen() {
    const silentMs = this.#heardAt === null ? 0 : performance.now() - this.#heardAt;
    if (silentMs > SILENCE_MS && this.#state.phase === 'connected') {
      this.#change({ phase: 'interrupted', reason: 'nothing is heard from the machine' });
    }
    if (silentMs > GIVE_UP_MS && this.#peer?.isConnected) {
      this.#lost('nothing is heard from the machine');
    }
  }

  #drop() {
    this.#heardAt = null;
    const peer = this.#peer;
    this.#peer = null;
    peer?.close();
    if (this.#greeted) {
      this.#greeted = false;
      this.emit('gone', null);
    }
  }

  /** @param {string} text from the worker */
  #said(text) {
    const message = decode(text);
    if (!message) return;
    const { prefix, payload } = message;
    switch (prefix) {
      case 'HELLO':
        this.#helloed(payload);
        break;
      case 'CONTROL_LEASE':
        this.emit('lease', {
          holder: typeof payload['holder'] === 'string' ? payload['holder'] : null,
          number: Number(payload['number']) || 0,
          you: payload['you'] === true,
        });
        break;
      case 'ESTOP':
        if (typeof payload['latched'] !== 'boolean') break;
        this.emit('estop', { latched: payload['latched'], by: payload['by'] ?? null });
        break;
      case 'TELEMETRY':
        this.#heardAt = performance.now();
        if (this.#state.phase === 'interrupted' && this.#peer?.isConnected) {
          this.#change({ phase: 'connected', reason: null });
        }
        this.emit('telemetry', payload);
        break;
      case 'TALK':
        this.emit('talk', {
          talker: typeof payload['talker'] === 'string' ? payload['talker'] : null,
          you: payload['you'] === true,
        });
        break;
      case 'WATCH':
        if (Array.isArray(payload['tracks'])) {
          this.emit('watch', payload['tracks'].map((name) => (typeof name === 'string' ? name : null)));
        }
        break;
      case 'STATS':
        this.emit('path', /** @type {any} */ (payload));
        break;
      case 'NOTICE':
        this.emit('notice', /** @type {any} */ (payload));
        break;
      case 'BYE':
        if (this.#state.worker) this.#others.delete(this.#state.worker);
        this.#drop();
        this.#change({ reason: `the machine said goodbye (${String(payload['reason']).slice(0, 120)})` });
        this.#dial();
        break;
      default:
        this.emit('message', message);
    }
  }

  /** @param {Record<string, any>} payload */
  #helloed(payload) {
    this.#greeted = true;
    this.#redial.reset();
    const access = payload['your_access'] ?? this.#state.access;
    this.#change({ phase: 'connected', reason: null, refused: null, access });
    this.emit('hello', {
      ...payload,
      video: Array.isArray(payload['video']) ? payload['video'] : [],
      capabilities: Array.isArray(payload['capabilities']) ? payload['capabilities'] : [],
      commands: Array.isArray(payload['commands']) ? payload['commands'] : [],
    });
  }

  /** @param {Problem} problem */
  #ended(problem) {
    // A revoked peer is put out by the worker too; anything else leaves a standing connection be.
    const stands = this.#peer?.isConnected && problem.code === 'ROOM_NOT_FOUND';
    if (stands) {
      this.emit('notice', {
        severity: 'warning',
        code: 'ROOM_NOT_FOUND',
        message: 'The server no longer knows this room. The connection to the machine goes on, but once it is lost it needs a new link.',
      });
    }
    if (!stands) {
      clearTimeout(this.#redialTimer);
      this.#drop();
      this.#change({ phase: 'ended', problem, serverLost: null });
    } else {
      this.#change({ serverLost: { reason: 'the server forgot this room', retryAt: Infinity } });
    }
  }

  /** @param {Partial<State>} change */
  #change(change) {
    if (this.#state.phase === 'ended') return;
    const others = [...this.#others.values()].filter(({ role }) => role !== 'worker').length;
    this.#state = { ...this.#state, ...change, others };
    this.emit('state', this.#state);
  }
}

/**
 * A worker that speaks sleap-rtc's words and not ours; ours may have both tags.
 * @param {PeerInfo} peer
 */
function isForeign(peer) {
  const tags = peer.metadata?.tags ?? [];
  return tags.includes('sleap-rtc') && !tags.includes('halyard-worker');
}

/** @param {PeerInfo} peer */
function notOurs(peer) {
  return (
    `${peer.peer_id} is a sleap-rtc worker: it takes packages from sleap-rtc's own clients. ` +
    'This page waits for a halyard-worker.'
  );
}
