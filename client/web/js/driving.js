import { byId, setText } from './dom.js';
import { Drive, TICK_MS } from './drive.js';
import { shortName } from './format.js';
import { Gamepad } from './gamepad.js';
import { Pad } from './pad.js';
import { whyStopped } from './rules.js';
import { toast } from './toasts.js';

/**
 * The driving part of the page: who drives, why one cannot, the drive keys, the emergency stop,
 * and handing the controls from one person to the next.
 *
 * @typedef {import('./types.js').Lease} Lease
 * @typedef {import('./types.js').Estop} Estop
 * @typedef {import('./session.js').Session} Session
 * @typedef {import('./video.js').PictureState | 'lost'} Sight what the driver sees of the machine; `lost`
 *   is a slate in its stead
 */

/** What one page says to another through the broker. */
const ASK = 'halyard.ask_to_drive';
const DECLINE = 'halyard.decline_to_hand_over';

/** For this long the page says why the machine stopped, unless somebody drives on before. */
const SAY_WHY_MS = 30_000;

export class DrivingView {
  #session;
  #drive = new Drive();
  #pad = new Pad(this.#drive, { changed: () => this.#changed(), estop: () => this.press() });
  /** @type {Lease} */
  #lease = { holder: null, number: 0, you: false };
  /** @type {Estop} */
  #estop = { latched: false, by: null };
  #canDrive = false;
  /** @type {{max_picture_age_ms?: number, watchdog_ms?: number}} */
  #limits = {};
  /** The rule by which nothing moves now. @type {string | null} */
  #stopped = null;
  /** The rule that stopped the machine last, and when. @type {{rule: string, at: number} | null} */
  #last = null;
  /** What is wrong with the program that moves the machine. @type {string | null} */
  #fault = null;
  #gamepad = new Gamepad();
  #senses;
  /** @type {Sight} */
  #picture = 'none';
  #asked = false;
  #isOverHttp = false;
  /** @type {(() => void) | null} */
  #closeQuestion = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #padTimer;

  #status = byId('drive-status');
  #hint = byId('drive-hint');
  #ask = byId('lease-ask');
  #take = byId('lease-take');
  #giveBack = byId('lease-release');
  #latched = byId('estop-latched');
  #latchedText = byId('estop-text');
  #clear = /** @type {HTMLButtonElement} */ (byId('estop-clear'));

  /**
   * @param {Session} session
   * @param {() => {echo: number | null, pictureMs: number | null}} senses the newest stamp heard, and
   *   how old the picture is
   */
  constructor(session, senses) {
    this.#session = session;
    this.#senses = senses;
    byId('estop').addEventListener('click', () => this.press());
    this.#clear.addEventListener('click', () => this.#say('ESTOP', { action: 'clear' }));
    this.#ask.addEventListener('click', () => this.#askHolder());
    this.#take.addEventListener('click', () => this.#say('CONTROL_LEASE', { action: 'take' }));
    this.#giveBack.addEventListener('click', () => {
      this.stop();
      this.#say('CONTROL_LEASE', { action: 'release' });
    });
    session.on('hello', (hello) => {
      this.#canDrive = hello.drive !== undefined;
      this.#drive.reset(hello.drive);
      this.#limits = hello.drive ?? {};
      this.#stopped = null;
      this.#fault = null;
      this.#lease = { holder: null, number: 0, you: false };
      this.#estop = { latched: false, by: null };
      this.#draw();
    });
    session.on('gone', () => {
      this.#drive.reset(undefined);
      this.#lease = { holder: null, number: 0, you: false };
      this.#asked = false;
      this.#draw();
    });
    session.on('state', () => this.#draw());
    session.on('lease', (lease) => this.#leased(lease));
    session.on('estop', (estop) => {
      this.#estop = estop;
      this.#draw();
    });
    session.on('peerMessage', ({ from, payload }) => this.#heard(from, payload));
    window.addEventListener('gamepadconnected', () => this.#pollPads());
    window.addEventListener('gamepaddisconnected', () => this.#pollPads());
    // A page that nobody looks at says nothing more: the machine stops by itself.
    document.addEventListener('visibilitychange', () => this.#drive.silence(document.hidden));
    this.#draw();
  }

  /** For the page's own numbers. */
  get numbers() {
    return {
      lease: { ...this.#lease },
      estop: { ...this.#estop },
      held: [...this.#drive.held],
      blocked: this.#drive.blocked,
      stopped: this.#last?.rule ?? null,
    };
  }

  /** Whether the controls are this page's. */
  get isMine() {
    return this.#lease.you;
  }

  /**
   * What the machine says of itself: by what rule it stands still, and what is wrong with it.
   *
   * @param {{stopped?: unknown, fault?: unknown}} values
   */
  machine({ stopped, fault }) {
    const before = [this.#stopped, this.#fault].join();
    if (fault !== undefined) this.#fault = typeof fault === 'string' ? fault.slice(0, 200) : null;
    if (stopped !== undefined) this.#stopped = typeof stopped === 'string' ? stopped : null;
    if ([this.#stopped, this.#fault].join() === before) return;
    if (this.#stopped !== null) {
      this.#last = { rule: this.#stopped, at: performance.now() };
      // What is held has to be pressed anew; the hand is said to be off until it is.
      if (this.#drive.isHeld) this.stop();
    }
    this.#draw();
  }

  /**
   * A picture that stands still shows a world that is not there any more.
   *
   * @param {Sight} state
   */
  picture(state) {
    this.#picture = state;
    this.#draw();
  }

  /** Whether the picture comes over HTTP, where there is no way for commands. @param {boolean} is */
  overHttp(is) {
    this.#isOverHttp = is;
    this.#draw();
  }

  /** The emergency stop. Anybody may. */
  press() {
    this.stop();
    // At once beside everything that waits to be sent, and once more where it cannot be lost.
    this.#session.send('ESTOP', { action: 'press' }, 'drive');
    if (!this.#session.send('ESTOP', { action: 'press' })) {
      toast(
        'Not connected, so the stop could not be sent. A machine whose driver is gone stops by itself.',
        'error',
      );
    }
  }

  /** Lets go of everything, now. */
  stop() {
    this.#perform(this.#drive.stopNow());
    this.#changed();
  }

  /** @param {Lease} lease */
  #leased(lease) {
    const lost = this.#lease.you && !lease.you && lease.holder !== null;
    this.#lease = lease;
    this.#drive.setLease(lease);
    if (lost) toast(`${shortName(lease.holder)} drives now.`, 'warning');
    if (!lease.you) this.#closeQuestion?.();
    if (lease.holder === null && this.#asked && this.#reason() === null) {
      this.#say('CONTROL_LEASE', { action: 'request' });
    }
    if (lease.you && this.#asked) {
      this.#asked = false;
      toast('The controls are yours.');
    }
    this.#draw();
    this.#changed();
  }

  #askHolder() {
    if (!this.#lease.holder) return;
    this.#asked = true;
    this.#session.tell(this.#lease.holder, { kind: ASK });
    toast(`Asked ${shortName(this.#lease.holder)} for the controls.`);
    this.#draw();
  }

  /**
   * @param {string} from
   * @param {Record<string, any>} payload
   */
  #heard(from, payload) {
    if (payload['kind'] === DECLINE && this.#asked) {
      this.#asked = false;
      toast(`${shortName(from)} wants to go on driving.`);
      this.#draw();
    } else if (payload['kind'] === ASK && this.#lease.you) {
      this.#closeQuestion = toast(`${shortName(from)} asks to drive.`, 'warning', [
        {
          label: 'Hand over',
          act: () => {
            this.stop();
            this.#say('CONTROL_LEASE', { action: 'release' });
          },
        },
        { label: 'Not now', act: () => this.#session.tell(from, { kind: DECLINE }) },
      ]);
    }
  }

  /** Why this page cannot drive right now, in words; `null` when it can. */
  #reason() {
    const { phase, access } = this.#session.state;
    if (phase !== 'connected' && this.#isOverHttp) {
      return 'The picture comes over HTTP, which only shows. Driving starts once WebRTC connects.';
    }
    if (phase === 'interrupted') return 'The connection dropped out, so driving is paused.';
    if (phase !== 'connected') return 'Driving starts once the machine is connected.';
    if (access === 'viewer') {
      return 'You joined with the viewer’s link: you see everything and can stop the machine. Driving needs the operator’s link.';
    }
    if (!this.#canDrive) return 'This machine cannot be driven.';
    if (this.#estop.latched) return 'The emergency stop is on. Nothing moves until it is lifted.';
    if (this.#stopped === 'driver') return whyStopped('driver', this.#limits, this.#fault);
    // The machine would stop whoever drives blind, and want the key pressed anew.
    if (this.#picture === 'none' && this.#limits.max_picture_age_ms !== undefined) {
      return 'Driving starts once there is a picture.';
    }
    if (this.#picture === 'frozen') return 'The picture stands still, so driving is paused.';
    if (this.#picture === 'lost') return 'The machine has no picture, so driving is paused.';
    const { holder, you } = this.#lease;
    if (holder !== null && !you) return `${shortName(holder)} is driving.`;
    return null;
  }

  #draw() {
    const reason = this.#reason();
    if (reason !== null && this.#drive.isHeld) this.#perform(this.#drive.stopNow());
    this.#drive.block(reason);
    this.#pad.enable(reason === null);
    const free = this.#lease.you ? 'You are driving.' : 'Nobody is driving.';
    const why = reason === null ? this.#why() : null;
    setText(this.#status, reason ?? why ?? free);
    this.#status.toggleAttribute('data-stopped', why !== null || this.#stopped !== null);

    const { access } = this.#session.state;
    const isConnected = this.#session.state.phase === 'connected';
    const mayOperate = isConnected && (access === 'operator' || access === 'admin');
    const heldByOther = this.#lease.holder !== null && !this.#lease.you;
    this.#hint.hidden = reason !== null || this.#lease.you;
    this.#ask.hidden = !(mayOperate && heldByOther && !this.#asked);
    this.#take.hidden = !(access === 'admin' && isConnected && heldByOther);
    this.#giveBack.hidden = !this.#lease.you;

    this.#latched.hidden = !this.#estop.latched;
    const by = this.#estop.by === this.#session.self ? 'you' : shortName(this.#estop.by);
    setText(this.#latchedText, this.#estop.latched ? `Stopped by ${by}.` : '');
    this.#clear.hidden = !mayOperate;
    byId('estop').toggleAttribute('data-latched', this.#estop.latched);
    this.#pad.draw();
  }

  /** Why the machine stopped a moment ago, until somebody drives on. */
  #why() {
    if (this.#last === null || performance.now() - this.#last.at > SAY_WHY_MS) return null;
    return whyStopped(this.#last.rule, this.#limits, this.#fault);
  }

  /** Browsers say how a gamepad is only when they are asked. */
  #pollPads() {
    const pads = navigator.getGamepads?.() ?? [];
    const pad = pads.find((one) => one?.connected === true && one.mapping === 'standard') ?? null;
    for (const action of this.#gamepad.poll(pad)) {
      if (action.kind === 'estop') this.press();
      else if (action.kind === 'steer') this.#drive.steer('gamepad', action);
      else if (action.kind === 'release') this.#drive.release('gamepad');
      else toast('The gamepad is gone, so what it drove was stopped.', 'warning');
      this.#changed();
    }
    if (pad && this.#padTimer === undefined) {
      this.#padTimer = setInterval(() => this.#pollPads(), TICK_MS);
    } else if (!pad) {
      clearInterval(this.#padTimer);
      this.#padTimer = undefined;
    }
  }

  #changed() {
    this.#pad.draw();
    if (this.#drive.isHeld && this.#last !== null && this.#stopped === null) {
      this.#last = null;
      this.#draw();
    }
    if (this.#drive.isBusy && this.#timer === undefined) {
      this.#timer = setInterval(() => this.#tick(), TICK_MS);
      this.#tick();
    }
  }

  #tick() {
    this.#perform(this.#drive.tick(performance.now()));
    if (!this.#drive.isBusy) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }

  /** @param {import('./drive.js').Action[]} actions */
  #perform(actions) {
    for (const action of actions) {
      if (action.kind === 'drive') {
        const { kind: _kind, ...payload } = action;
        const { echo, pictureMs } = this.#senses();
        const sensed = {
          ...(echo === null ? {} : { echo }),
          ...(pictureMs === null ? {} : { picture_ms: Math.round(pictureMs) }),
        };
        this.#session.send('DRIVE', { ...payload, ...sensed }, 'drive');
      } else {
        this.#session.send('CONTROL_LEASE', { action: action.kind });
      }
    }
  }

  /**
   * @param {string} prefix
   * @param {object} payload
   */
  #say(prefix, payload) {
    if (!this.#session.send(prefix, payload)) {
      toast('Not connected to the machine right now. Try again in a moment.', 'warning');
    }
  }
}
