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
  #number = 0;
  /** Names of the commands under way, by id. @type {Map<string, string>} */
  #open = new Map();

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
    session.on('hello', (hello) => this.#offer(hello.commands));
    session.on('gone', () => {
      this.#panel.hidden = true;
      this.#open.clear();
    });
  }

  /**
   * @param {Record<string, any>} ack
   */
  acked(ack) {
    const name = this.#open.get(String(ack['id']));
    if (name === undefined) return;
    this.#open.delete(String(ack['id']));
    const why = clip(String(ack['error']?.message ?? 'the machine did not say why'), 200);
    setText(this.#result, ack['ok'] === true ? `${name}: done.${said(ack['result'])}` : `${name}: ${why}`);
  }

  /** @param {ActionSpec[]} commands */
  #offer(commands) {
    const own = RANK[this.#session.state.access ?? 'viewer'];
    const offered = commands.filter(({ access }) => own >= (RANK[access] ?? 2)).slice(0, MAX_SHOWN);
    this.#panel.hidden = offered.length === 0;
    setText(this.#result, '');
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
    this.#number += 1;
    const id = `page-${this.#number}`;
    if (this.#session.send('COMMAND', { id, name, args })) {
      this.#open.set(id, name);
      setText(this.#result, `${name}: asked.`);
    } else {
      setText(this.#result, `${name}: not connected right now.`);
    }
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
