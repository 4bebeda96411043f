// A bad network between a page and a machine: every packet of a connection passes a UDP proxy in this
// process that delays, shuffles, loses and queues it. What it does can be changed while it runs.
//
// The page's RTCPeerConnection is told, before anything of the page runs, to put the proxy's ports in
// the place of the machine's. The machine ignores the page's own addresses (browsers hide them behind
// names of the local network) and answers to where packets come from: the proxy.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/**
 * One direction of a path. Delay and jitter are one way, as `tc netem` counts them.
 *
 * @typedef {{kbit: number, delayMs: number, jitterMs: number, loss: number, queueMs?: number}} Way
 */

/**
 * The impairments that Foxglove publishes for its remote access (NETEM.md of its SDK).
 *
 * @type {Record<string, Way>}
 */
export const PROFILES = {
  'starlink': { kbit: 15_000, delayMs: 30, jitterMs: 10, loss: 0.02 },
  '4g': { kbit: 10_000, delayMs: 50, jitterMs: 15, loss: 0.03 },
  'wall-wifi': { kbit: 2_000, delayMs: 15, jitterMs: 10, loss: 0.08 },
  'severe': { kbit: 2_000, delayMs: 100, jitterMs: 30, loss: 0.05 },
};

/** What a router keeps before it drops, as time at its rate. */
const QUEUE_MS = 200;

/** IPv4 and UDP, which the rate counts. */
const HEADERS = 28;

/** A way that does nothing. @type {Way} */
export const PERFECT = { kbit: 1e6, delayMs: 0, jitterMs: 0, loss: 0 };

/** Packets of one direction, on their way. */
class Lane {
  freeAt = 0;
  /** What came through, with the headers that the rate counts. */
  sentBytes = 0;
  lost = 0;
  overflowed = 0;

  /** @param {() => Way} way */
  constructor(way) {
    this.way = way;
  }

  /** @param {number} bytes @param {() => void} deliver */
  carry(bytes, deliver) {
    const { kbit, delayMs, jitterMs, loss, queueMs = QUEUE_MS } = this.way();
    const now = performance.now();
    const queue = Math.max(0, this.freeAt - now);
    if (queue > queueMs) {
      this.overflowed += 1;
      return;
    }
    const whole = bytes + HEADERS;
    this.freeAt = now + queue + (whole * 8) / kbit;
    if (Math.random() < loss) {
      this.lost += 1;
      return;
    }
    this.sentBytes += whole;
    const jitter = (Math.random() * 2 - 1) * jitterMs;
    const wait = this.freeAt - now + Math.max(0, delayMs + jitter);
    if (wait < 0.5) deliver();
    else setTimeout(deliver, wait);
  }
}

/** The network between some pages and their machines. */
export class Link {
  /** @type {import('node:dgram').Socket[]} */
  #sockets = [];
  /** Ports by the address they stand for. @type {Map<string, Promise<number>>} */
  #ports = new Map();

  /** @param {Way} way the same in both directions */
  constructor(way = PERFECT) {
    this.up = way;
    this.down = way;
    /** From the machine to the page. */
    this.toPage = new Lane(() => this.down);
    this.toMachine = new Lane(() => this.up);
  }

  /** From now on. @param {Way} way */
  set(way) {
    this.up = way;
    this.down = way;
  }

  /**
   * Everything that this page connects to goes over the link. Before it is opened.
   *
   * @param {import('playwright-core').BrowserContext} context
   */
  async stand(context) {
    await context.exposeFunction('halyardLinkPort', (/** @type {string} */ ip, /** @type {number} */ port) =>
      this.port(ip, port),
    );
    await context.addInitScript(() => {
      const port = /** @type {any} */ (window).halyardLinkPort;
      /** Puts the link's port into a candidate; nothing for one that goes around it. */
      const replace = async (/** @type {string} */ candidate) => {
        const parts = candidate.split(' ');
        const [, , transport, , ip, number] = parts;
        if (transport?.toLowerCase() !== 'udp' || ip.startsWith('127.') || ip.includes(':')) return null;
        parts[5] = String(await port(ip, Number(number)));
        return parts.join(' ');
      };
      const { setRemoteDescription, addIceCandidate } = /** @type {any} */ (RTCPeerConnection.prototype);
      RTCPeerConnection.prototype.setRemoteDescription = async function (/** @type {any} */ description) {
        const lines = await Promise.all(
          (description.sdp ?? '').split('\r\n').map((/** @type {string} */ line) =>
            line.startsWith('a=candidate:')
              ? replace(line.slice(2)).then((found) => found && `a=${found}`)
              : line,
          ),
        );
        const sdp = lines.filter((line) => line !== null).join('\r\n');
        return setRemoteDescription.call(this, { type: description.type, sdp });
      };
      RTCPeerConnection.prototype.addIceCandidate = async function (/** @type {any} */ given) {
        const init = given instanceof RTCIceCandidate ? given.toJSON() : given;
        if (!init?.candidate) return addIceCandidate.call(this, init);
        const candidate = await replace(init.candidate);
        if (candidate !== null) await addIceCandidate.call(this, { ...init, candidate });
      };
    });
  }

  /** The port that stands for a machine's address. @param {string} ip @param {number} port */
  port(ip, port) {
    const key = `${ip} ${port}`;
    const known = this.#ports.get(key) ?? this.#open(ip, port);
    this.#ports.set(key, known);
    return known;
  }

  /** @param {string} ip @param {number} port */
  async #open(ip, port) {
    const front = await this.#socket();
    /** Who wrote to the front, each with a socket of its own towards the machine. */
    const backs = new Map();
    front.on('message', async (packet, from) => {
      const key = `${from.address} ${from.port}`;
      const back = backs.get(key) ?? this.#back(front, from);
      backs.set(key, back);
      const socket = await back;
      this.toMachine.carry(packet.length, () => this.#send(socket, packet, port, ip));
    });
    return front.address().port;
  }

  /** @param {import('node:dgram').Socket} front @param {import('node:dgram').RemoteInfo} to */
  async #back(front, to) {
    const back = await this.#socket();
    back.on('message', (packet) => {
      this.toPage.carry(packet.length, () => this.#send(front, packet, to.port, to.address));
    });
    return back;
  }

  async #socket() {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 21 });
    this.#sockets.push(socket);
    socket.bind(0);
    await once(socket, 'listening');
    return socket;
  }

  /**
   * @param {import('node:dgram').Socket} socket
   * @param {Buffer} packet
   * @param {number} port
   * @param {string} ip
   */
  #send(socket, packet, port, ip) {
    // A packet that comes after the end is lost like any other.
    if (this.#sockets.includes(socket)) socket.send(packet, port, ip, () => {});
  }

  close() {
    const sockets = this.#sockets;
    this.#sockets = [];
    sockets.forEach((socket) => socket.close());
  }
}
