import { decode, encode } from './channel.js';
import { preferH264 } from './codec.js';
import { Emitter } from './emitter.js';

/**
 * One WebRTC connection to the worker, this end offering: four lanes, and pictures to receive.
 * Short interruptions are mended by an ICE restart; when that fails too, `lost` is said and the
 * owner makes a new `Peer`.
 *
 * @typedef {import('./types.js').Lane} Lane
 * @typedef {'connecting' | 'connected' | 'interrupted' | 'closed'} PeerState
 *
 * @typedef {object} Events
 * @property {PeerState} state
 * @property {Lane} open
 * @property {{lane: Lane, text: string}} text
 * @property {ArrayBuffer} binary
 * @property {{place: number, track: MediaStreamTrack}} track a picture for this place
 * @property {MediaStreamTrack} sound of the machine
 * @property {string} lost why, as half a sentence
 */

/** `disconnected` often mends itself within a moment; a restart before that only disturbs. */
const GRACE_MS = 1_500;

/** What an ICE restart, or a first connection after its offer, may take. */
const CONNECT_TIMEOUT_MS = 10_000;

/** File bytes waiting in the `bulk` channel: enough to keep it busy, little enough that a command
 * on `control` does not wait behind them. */
const BULK_HIGH_BYTES = 512 * 1024;
const BULK_LOW_BYTES = 128 * 1024;

/** File bytes that the worker may send ahead of what was taken here. All lanes share one receive
 * window below, so a file that nobody takes has to be held up at its source. */
const BULK_WINDOW_BYTES = 16 * 1024 * 1024;

/** More than this waiting in `drive` means that the network does not take it: old commands are
 * worth nothing, so none is added. */
const DRIVE_HIGH_BYTES = 4 * 1024;

/** Places for pictures: a large one and a small one. What is in them is the worker's WATCH. */
const PLACES = 2;

const LOSSY = { ordered: false, maxRetransmits: 0 };

/** @extends {Emitter<Events>} */
export class Peer extends Emitter {
  #pc;
  #signal;
  /** @type {Record<Lane, RTCDataChannel>} */
  #lanes;
  /** @type {RTCIceCandidateInit[]} */
  #early = [];
  /** Sound both ways; nothing is sent before {@link speak}. @type {RTCRtpTransceiver} */
  #sound;
  #answered = false;
  #closed = false;
  /** What went out on `bulk`, and how far the worker takes it: no bound until it says one. */
  #bulkSent = 0;
  #bulkMay = Infinity;
  /** What was taken from `bulk`, and how far the worker knows that it may send. */
  #bulkTaken = 0;
  #bulkTold = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {object} options
   * @param {RTCIceServer[]} options.iceServers
   * @param {(message: {type: 'offer', sdp: string} | {type: 'candidate', candidate: RTCIceCandidateInit}) => void} options.signal
   */
  constructor({ iceServers, signal }) {
    super();
    this.#signal = signal;
    const pc = new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' });
    this.#pc = pc;
    this.#lanes = {
      control: this.#lane('control', {}),
      bulk: this.#lane('bulk', {}),
      state: this.#lane('state', LOSSY),
      drive: this.#lane('drive', LOSSY),
    };
    this.#lanes.bulk.bufferedAmountLowThreshold = BULK_LOW_BYTES;
    this.#receivePictures();
    this.#sound = pc.addTransceiver('audio', { direction: 'sendrecv' });

    pc.addEventListener('icecandidate', ({ candidate }) => {
      this.#signal({ type: 'candidate', candidate: candidate?.toJSON() ?? { candidate: '' } });
    });
    pc.addEventListener('connectionstatechange', () => this.#stateChanged());
  }

  /** Other STUN and TURN servers, for the next time that the connection is mended.
   * @param {RTCIceServer[]} iceServers */
  useServers(iceServers) {
    try {
      this.#pc.setConfiguration({ ...this.#pc.getConfiguration(), iceServers });
    } catch {
      // Closed, or an address that this browser does not know: those given before still are.
    }
  }

  /** Offers the connection, or a way to mend it. */
  async offer() {
    this.#answered = false;
    this.#arm(CONNECT_TIMEOUT_MS, () => this.#lose('the machine does not answer'));
    try {
      await this.#pc.setLocalDescription();
    } catch {
      return this.#lose('this browser could not offer a connection');
    }
    const sdp = this.#pc.localDescription?.sdp;
    if (sdp && !this.#closed) this.#signal({ type: 'offer', sdp });
  }

  /** @param {string} sdp */
  async accept(sdp) {
    if (this.#pc.signalingState !== 'have-local-offer') return;
    // A worker that was started anew answers too, but knows nothing of this connection.
    const before = this.#pc.remoteDescription;
    if (before && fingerprint(before.sdp) !== fingerprint(sdp)) {
      return this.#lose('the machine was started anew');
    }
    try {
      await this.#pc.setRemoteDescription({ type: 'answer', sdp });
    } catch {
      return this.#lose('the machine’s answer does not fit');
    }
    this.#answered = true;
    const early = this.#early;
    this.#early = [];
    for (const candidate of early) await this.addCandidate(candidate);
  }

  /** @param {RTCIceCandidateInit} candidate */
  async addCandidate(candidate) {
    if (!this.#answered) {
      if (this.#early.length < 100) this.#early.push(candidate);
      return;
    }
    // One that does not parse, or belongs to an earlier generation, is only one way less.
    await this.#pc.addIceCandidate(candidate).catch(() => {});
  }

  get isConnected() {
    return this.#pc.connectionState === 'connected';
  }

  /**
   * @param {Lane} lane
   * @param {string} text
   * @returns {boolean} whether it was taken
   */
  send(lane, text) {
    const channel = this.#lanes[lane];
    if (channel.readyState !== 'open') return false;
    if (lane === 'drive' && channel.bufferedAmount > DRIVE_HIGH_BYTES) return false;
    channel.send(text);
    return true;
  }

  /**
   * Sends file bytes, and waits until there is room for more.
   *
   * @param {Uint8Array<ArrayBuffer>} message
   * @param {AbortSignal} signal
   */
  async sendChunk(message, signal) {
    const { bulk } = this.#lanes;
    const mustWait = () =>
      bulk.bufferedAmount > BULK_HIGH_BYTES || this.#bulkSent + message.length > this.#bulkMay;
    while (mustWait() && bulk.readyState === 'open') {
      await once(bulk, ['bufferedamountlow', 'windowed', 'close'], signal);
    }
    signal.throwIfAborted();
    this.#bulkSent += message.length;
    bulk.send(message);
  }

  /**
   * This much of `bulk` was taken: the worker may send as much more.
   *
   * @param {number} bytes of whole messages
   */
  taken(bytes) {
    this.#bulkTaken += bytes;
    const may = this.#bulkTaken + BULK_WINDOW_BYTES;
    if (may - this.#bulkTold < BULK_WINDOW_BYTES / 4) return;
    if (this.send('control', encode('BULK_WINDOW', { bytes: may }))) this.#bulkTold = may;
  }

  /**
   * Sends this to the machine's speaker, or nothing any more.
   *
   * @param {MediaStreamTrack | null} microphone
   */
  async speak(microphone) {
    // A connection that is closing sends nothing, which is as good.
    await this.#sound.sender.replaceTrack(microphone).catch(() => {});
  }

  /** @returns {Promise<RTCStatsReport>} */
  stats() {
    return this.#pc.getStats();
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#pc.close();
    this.emit('state', 'closed');
  }

  /**
   * @param {Lane} name
   * @param {RTCDataChannelInit} options
   */
  #lane(name, options) {
    const channel = this.#pc.createDataChannel(name, options);
    channel.binaryType = 'arraybuffer';
    channel.addEventListener('open', () => {
      this.emit('open', name);
      if (name === 'control') this.taken(0);
    });
    channel.addEventListener('message', ({ data }) => {
      if (typeof data === 'string') this.#heard(name, data);
      else if (name === 'bulk' && data instanceof ArrayBuffer) this.emit('binary', data);
    });
    channel.addEventListener('close', () => {
      if (!this.#closed) this.#lose('the machine closed the connection');
    });
    return channel;
  }

  /**
   * @param {Lane} lane
   * @param {string} text
   */
  #heard(lane, text) {
    if (!text.startsWith('BULK_WINDOW::')) return this.emit('text', { lane, text });
    const bytes = Number(decode(text)?.payload['bytes']);
    const more = Number.isFinite(bytes) && (this.#bulkMay === Infinity || bytes > this.#bulkMay);
    if (lane !== 'control' || !more) return;
    this.#bulkMay = bytes;
    this.#lanes.bulk.dispatchEvent(new Event('windowed'));
  }

  #receivePictures() {
    const codecs = RTCRtpReceiver.getCapabilities('video')?.codecs;
    const places = Array.from({ length: PLACES }, () => this.#pc.addTransceiver('video', { direction: 'recvonly' }));
    for (const transceiver of places) {
      if (codecs && 'setCodecPreferences' in transceiver) {
        transceiver.setCodecPreferences(preferH264(codecs));
      }
      // Show each frame as soon as it is there. For pictures only: sound needs its buffer.
      const { receiver } = transceiver;
      if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0;
    }
    this.#pc.addEventListener('track', ({ track, transceiver }) => {
      const place = places.indexOf(transceiver);
      if (place >= 0) this.emit('track', { place, track });
      else if (track.kind === 'audio') this.emit('sound', track);
    });
  }

  #stateChanged() {
    if (this.#closed) return;
    switch (this.#pc.connectionState) {
      case 'connected':
        clearTimeout(this.#timer);
        this.emit('state', 'connected');
        break;
      case 'disconnected':
        this.emit('state', 'interrupted');
        this.#arm(GRACE_MS, () => this.#restart());
        break;
      case 'failed':
        // Before the first answer there is nothing to mend.
        if (this.#answered) this.#restart();
        else this.#lose('no way to the machine was found');
        break;
      case 'closed':
        this.#lose('the connection was closed');
        break;
      default:
        break;
    }
  }

  #restart() {
    if (this.#closed) return;
    if (this.#pc.signalingState !== 'stable') return this.#lose('the machine does not answer');
    this.emit('state', 'interrupted');
    this.#pc.restartIce();
    void this.offer();
  }

  /** @param {string} reason */
  #lose(reason) {
    if (this.#closed) return;
    this.close();
    this.emit('lost', reason);
  }

  /**
   * @param {number} ms
   * @param {() => void} then
   */
  #arm(ms, then) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }
}

/** Who is at the other end, for DTLS. @param {string} sdp */
function fingerprint(sdp) {
  return /^a=fingerprint:(.*)$/m.exec(sdp)?.[1]?.trim().toLowerCase();
}

/**
 * @param {EventTarget} target
 * @param {string[]} names
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function once(target, names, signal) {
  return new Promise((resolve, reject) => {
    const settle = () => {
      for (const name of names) target.removeEventListener(name, settle);
      signal.removeEventListener('abort', settle);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    };
    for (const name of names) target.addEventListener(name, settle);
    signal.addEventListener('abort', settle);
    if (signal.aborted) settle();
  });
}
