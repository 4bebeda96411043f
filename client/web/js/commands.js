import { CommandQueue, MAX_WAITING } from './command-queue.js';
import { byId, create, setText } from './dom.js';
import { clip } from './format.js';

/**
 * What can be asked of the machine besides driving: one button for each command that it offers to
 * people with this access, and its own words about how it went.
 *
 * @typedef {import('./types.js').ActionSpec} ActionSpec
 * @typedef {import('./session.js').Session} Session
 */

/** Buttons at most: a machine that offers more has a page of its own. */
const MAX_SHOWN = 12;

const RANK = { viewer: 0, operator: 1, admin: 2 };

export class CommandsView {
  #session;
  #panel = byId('commands');
  #list = byId('command-list');
  #result = byId('command-result');
  #waiting = byId('command-waiting');
  #queue = new CommandQueue();
  #self = '';
  /** The newest stamp heard on this connection. @type {() => number | null} */
  #stamp;

  /**
   * @param {Session} session
   * @param {() => number | null} stamp
   */
  constructor(session, stamp) {
    this.#session = session;
    this.#stamp = stamp;
    session.on('hello', (hello) => {
      // Under another name the machine does not know what this page had asked for.
      if (this.#self !== '' && this.#self !== session.self) {
        for (const { name } of this.#queue.forget()) {
          setText(this.#result, `${name}: the connection was lost, and nobody knows whether it was done.`);
        }
      }
      this.#self = session.self;
      this.#offer(hello.commands);
      this.#flush();
    });
    session.on('gone', () => {
      this.#queue.lost();
      this.#draw();
    });
    setInterval(() => this.#tick(), 500);
  }

  #flush() {
    this.#queue.flush(performance.now(), (command) => {
      const echo = this.#stamp();
      return this.#session.send('COMMAND', echo === null ? command : { ...command, echo });
    });
    this.#draw();
  }

  #tick() {
    for (const { name, said } of this.#queue.expire(performance.now())) {
      const why = said ? 'no answer came, and nobody knows whether it was done.' : 'not sent: there was no connection for too long.';
      setText(this.#result, `${name}: ${why}`);
    }
    this.#draw();
  }

  /** What waits for a connection, and for how long it still makes sense. */
  #draw() {
    const now = performance.now();
    const waiting = this.#queue.waiting.filter(({ said }) => !said);
    this.#waiting.hidden = waiting.length === 0;
    this.#waiting.replaceChildren(
      ...waiting.map(({ id, name, until }) => {
        const seconds = Math.max(0, Math.ceil((until - now) / 1000));
        const words = create('span', { text: `${name.replaceAll('_', ' ')} waits for the connection, ${seconds} s left` });
        const cancel = create('button', { class: 'quiet small', type: 'button', text: 'Call off' });
        cancel.addEventListener('click', () => {
          this.#queue.take(id);
          this.#draw();
        });
        return create('li', { testid: 'command-waits' }, [words, cancel]);
      }),
    );
  }

  /**
   * @param {Record<string, any>} ack
   */
  acked(ack) {
    const name = this.#queue.take(String(ack['id']))?.name;
    if (name === undefined) return;
    const why = clip(String(ack['error']?.message ?? 'the machine did not say why'), 200);
    setText(this.#result, ack['ok'] === true ? `${name}: done.${said(ack['result'])}` : `${name}: ${why}`);
  }

  /** @param {ActionSpec[]} commands */
  #offer(commands) {
    const own = RANK[this.#session.state.access ?? 'viewer'];
    const offered = commands.filter(({ access }) => own >= (RANK[access] ?? 2)).slice(0, MAX_SHOWN);
    this.#panel.hidden = offered.length === 0;
    this.#list.replaceChildren(
      ...offered.map(({ name, help }) => {
        const button = create('button', { class: 'quiet small', type: 'button', testid: `command-${name}` });
        button.textContent = name.replaceAll('_', ' ');
        const input = argumentsInput(name, help);
        button.addEventListener('click', () => this.#ask(name, input));
        input?.addEventListener('keydown', ({ key }) => {
          if (key === 'Enter') this.#ask(name, input);
        });
        const words = create('span', { class: 'note', text: clip(help, 160) });
        return create('li', {}, input ? [button, words, input] : [button, words]);
      }),
    );
  }

  /**
   * @param {string} name
   * @param {HTMLInputElement | null} input
   */
  #ask(name, input) {
    const args = readArguments(input?.value ?? '');
    if (args === null) {
      setText(this.#result, `${name}: write the arguments as one JSON object, like ${input?.placeholder}`);
      input?.focus();
      return;
    }
    const id = crypto.getRandomValues(new Uint32Array(4)).join('-');
    if (!this.#queue.add({ id, name, args }, performance.now())) {
      setText(this.#result, `${name}: ${MAX_WAITING} commands wait already.`);
      return;
    }
    const isUp = this.#session.state.phase === 'connected';
    setText(this.#result, isUp ? `${name}: asked.` : `${name}: waits for the connection.`);
    if (isUp) this.#flush();
    else this.#draw();
  }
}

/**
 * A field for a command's arguments, where its help shows an object: nothing else says so.
 *
 * @param {string} name
 * @param {string} help
 */
function argumentsInput(name, help) {
  const example = /\{.*\}/.exec(help)?.[0];
  if (!example) return null;
  const input = create('input', { type: 'text', testid: `arguments-${name}` });
  input.placeholder = clip(example, 80);
  input.autocomplete = 'off';
  input.spellcheck = false;
  input.setAttribute('aria-label', `Arguments of ${name.replaceAll('_', ' ')}, a JSON object`);
  return input;
}

/**
 * @param {string} text
 * @returns {Record<string, any> | null} `null` when it is no JSON object
 */
function readArguments(text) {
  if (text.trim() === '') return {};
  try {
    const args = JSON.parse(text);
    return typeof args === 'object' && args !== null && !Array.isArray(args) ? args : null;
  } catch {
    return null;
  }
}

/** @param {unknown} result */
function said(result) {
  if (result === null || result === undefined) return '';
  const text = typeof result === 'string' ? result : JSON.stringify(result);
  return text === '{}' || text === 'true' ? '' : ` ${clip(text, 200)}`;
}
