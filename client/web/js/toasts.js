import { byId, create } from './dom.js';

/**
 * Messages that come and go. Errors stay until they are closed; the same words are not shown
 * twice at a time.
 */

const SHOWN_MS = { info: 6_000, warning: 10_000, error: Infinity };

/** More would cover the controls. */
const MAX_SHOWN = 4;

/** @typedef {keyof typeof SHOWN_MS} Severity */

/** @type {Map<string, {close: () => void, rearm: () => void}>} */
const shown = new Map();

/**
 * @param {string} text
 * @param {Severity} [severity]
 * @param {{label: string, act: () => void}[]} [actions] with any, it stays until one is chosen
 * @returns {() => void} closes it
 */
export function toast(text, severity = 'info', actions = []) {
  const same = shown.get(text);
  if (same) {
    same.rearm();
    return same.close;
  }
  const list = byId('toasts');
  const close = () => {
    clearTimeout(timer);
    shown.delete(text);
    element.remove();
  };
  const dismiss = create('button', { class: 'toast-close', text: '×', type: 'button' });
  dismiss.setAttribute('aria-label', 'Close this message');
  dismiss.addEventListener('click', close);
  const buttons = actions.map(({ label, act }) => {
    const button = create('button', { class: 'quiet small', text: label, type: 'button' });
    button.addEventListener('click', () => {
      close();
      act();
    });
    return button;
  });
  const element = create('div', { class: 'toast', testid: 'toast' }, [
    create('p', { text }),
    ...buttons,
    dismiss,
  ]);
  element.dataset['severity'] = severity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const rearm = () => {
    clearTimeout(timer);
    const ms = actions.length > 0 ? Infinity : (SHOWN_MS[severity] ?? SHOWN_MS.info);
    if (ms !== Infinity) timer = setTimeout(close, ms);
  };
  rearm();
  shown.set(text, { close, rearm });
  list.append(element);
  while (shown.size > MAX_SHOWN) shown.values().next().value?.close();
  return close;
}
