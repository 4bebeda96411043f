import { byId, setText } from './dom.js';
import { Drive, TICK_MS } from './drive.js';
import { shortName } from './format.js';
import { Pad } from './pad.js';
import { toast } from './toasts.js';

/**
 * The driving part of the page: who drives, why one cannot, the drive keys, the emergency stop,
 * and handing the controls from one person to the next.
 *
 * @typedef {import('./types.js').Lease} Lease
 * @typedef {import('./types.js').Estop} Estop
 * @typedef {import('./session.js').Session} Session
 */

/** What one page says to another through the broker. */
const ASK = 'halyard.ask_to_drive';
const DECLINE = 'halyard.decline_to_hand_over';

export class DrivingView {
  #session;
  #drive = new Drive();
  #pad = new Pad(this.#drive, { changed: () => this.#changed(), estop: () => this.press() });
  /** @type {Lease} */
  #lease = { holder: null, number: 0, you: false };
  /** @type {Estop} */
  #estop = { latched: false, by: null };
  #canDrive = false;
  /** @type {'live' | 'frozen' | 'lost'} */
  #picture = 'live';
  #asked = false;
  #isOverHttp = false;
  /** @type {(() => void) | null} */
  #closeQuestion = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  #status = byId('drive-status');
  #hint = byId('drive-hint');
  #ask = byId('lease-ask');
  #take = byId('lease-take');
  #giveBack = byId('lease-release');
  #latched = byId('estop-latched');
  #latchedText = byId('estop-text');
  #clear = /** @type {HTMLButtonElement} */ (byId('estop-clear'));

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
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
    this.#draw();
  }

  /** For the page's own numbers. */
  get numbers() {
    return {
      lease: { ...this.#lease },
      estop: { ...this.#estop },
      held: [...this.#drive.held],
      blocked: this.#drive.blocked,
    };
  }

  /**
   * A picture that stands still shows a world that is not there any more.
   *
   * @param {'live' | 'frozen' | 'lost'} state
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
    if (this.#picture === 'frozen') return 'The picture stands still, so driving is paused.';
    if (this.#picture === 'lost') return 'The machine has no picture, so driving is paused.';
    const { holder, you } = this.#lease;
    if (holder !== null && !you) return `${shortName(holder)} is driving.`;
    return null;
  }

  #draw() {
    const reason = this.#reason();
    if (reason !== null && this.#drive.held.size > 0) this.#perform(this.#drive.stopNow());
    this.#drive.block(reason);
    this.#pad.enable(reason === null);
    const free = this.#lease.you ? 'You are driving.' : 'Nobody is driving.';
    setText(this.#status, reason ?? free);

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

  #changed() {
    this.#pad.draw();
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
        this.#session.send('DRIVE', payload, 'drive');
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
