import { byId, setText } from './dom.js';
import { readAddress, readLink, readTokenOrLink } from './link.js';
import { openRoom } from './room.js';

/**
 * Which page this is: the start page, a room, or a room whose token is missing. The token is taken
 * out of the address bar before anything else, and kept in memory only.
 */

const place = readAddress(window.location.href);
if (window.location.hash !== '') {
  window.history.replaceState(null, '', window.location.pathname + window.location.search);
}

// A link to this same page, opened in this tab, changes only what stands behind the #: the browser
// stays where it is. Loading anew does what was meant.
window.addEventListener('hashchange', () => {
  if (readAddress(window.location.href).token !== null) window.location.reload();
});

if (place.room === null) showLanding(place.base);
else if (place.token === null) askForToken(place.base, place.room);
else openRoom({ base: place.base, room: place.room, token: place.token });

/** @param {string} base */
function showLanding(base) {
  byId('landing').hidden = false;
  setText(byId('landing-server'), base.replace(/\/$/, ''));
  const input = /** @type {HTMLInputElement} */ (byId('join-link'));
  onSubmit('join-form', input, 'join-error', () => {
    const link = readLink(input.value);
    if ('error' in link) return link.error;
    window.location.assign(link.href);
    return null;
  });
}

/**
 * @param {string} base
 * @param {string} room
 */
function askForToken(base, room) {
  byId('ask').hidden = false;
  setText(byId('ask-room'), room);
  document.title = `Room ${room} · Halyard`;
  const input = /** @type {HTMLInputElement} */ (byId('ask-token'));
  onSubmit('ask-form', input, 'ask-error', () => {
    const read = readTokenOrLink(input.value, room);
    if ('error' in read) return read.error;
    input.value = '';
    byId('ask').hidden = true;
    byId('main').focus();
    openRoom({ base, room, token: read.token });
    return null;
  });
}

/**
 * @param {string} form
 * @param {HTMLInputElement} input
 * @param {string} error
 * @param {() => string | null} submit what is wrong, if something is
 */
function onSubmit(form, input, error, submit) {
  byId(form).addEventListener('submit', (event) => {
    event.preventDefault();
    const wrong = submit();
    setText(byId(error), wrong ?? '');
    input.toggleAttribute('aria-invalid', false);
    if (wrong !== null) {
      input.setAttribute('aria-invalid', 'true');
      input.focus();
    }
  });
}
