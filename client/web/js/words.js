/**
 * What went wrong, in words that say what to do.
 *
 * @typedef {import('./types.js').Problem} Problem
 */

/** Refusals of the broker that do not go away by trying again. */
const FINAL = new Map(
  /** @type {[string, Omit<Problem, 'code'>][]} */ ([
    ['ROOM_NOT_FOUND', {
      title: 'This room is gone',
      text: 'It has expired, was closed, or the link has a typo in it. Ask for a new link, or start the machine again: it prints one.',
    }],
    ['ROOM_EXPIRED', {
      title: 'This room has expired',
      text: 'Its time is over. Ask for a new link, or start the machine again: it prints one.',
    }],
    ['INVALID_TOKEN', {
      title: 'The link is not accepted',
      text: 'The token behind the # is wrong, or was replaced by a newer one. Copy the whole link again, or ask for a new one.',
    }],
    ['FORBIDDEN', {
      title: 'You are not allowed in',
      text: 'The server refuses this. Ask the owner of the room for a new link.',
    }],
  ]),
);

/**
 * A refusal that ends the attempt to join, or `null` when it is worth trying again.
 *
 * @param {string} code
 * @returns {Problem | null}
 */
export function finalRefusal(code) {
  const words = FINAL.get(code);
  return words ? { ...words, code } : null;
}

/** Close codes after which coming back by itself would be wrong. */
const FINAL_CLOSES = new Map(
  /** @type {[number, Problem][]} */ ([
    [4000, {
      title: 'This seat was taken up elsewhere',
      text: 'The same identity connected again. Open the link again to join from here.',
      code: 'REPLACED',
    }],
    [4003, {
      title: 'Your access was taken back',
      text: 'An owner of the room revoked this link. Ask them for a new one.',
      code: 'REVOKED',
    }],
    [4004, {
      title: 'The room was closed',
      text: 'Its owner closed it, or its time is over. Ask for a new link.',
      code: 'ROOM_CLOSED',
    }],
  ]),
);

/** @param {number} code of the WebSocket's close frame */
export function finalClose(code) {
  return FINAL_CLOSES.get(code) ?? null;
}

/**
 * Why a socket was closed, as half a sentence.
 *
 * @param {number} code
 */
export function closeReason(code) {
  switch (code) {
    case 1001:
      return 'the server is restarting';
    case 1011:
      return 'the server had an internal error';
    case 4001:
      return 'the server heard nothing for too long';
    case 4002:
      return 'this network was too slow for the server';
    case 4005:
      return 'this page said too much in too short a time';
    default:
      return 'the server cannot be reached';
  }
}

const FILE_WORDS = new Map([
  ['disabled', 'This machine does not exchange files. Start it with --files DIR to allow it.'],
  ['forbidden', 'Your link does not allow this. The operator’s link does.'],
  ['bad_name', 'The machine does not accept this file name. Rename the file and try again.'],
  ['not_found', 'There is no such file any more. Refresh the list.'],
  ['wrong_kind', 'This is a folder, or something that is not a plain file.'],
  ['exists', 'Something of that name is there already. Choose another name.'],
  ['busy', 'Somebody else is sending the same file right now. Try again when they are done.'],
  ['too_many', 'Too many transfers at once. Try again when one is done.'],
  ['no_space', 'The disk is full. Make room and try again: what arrived is kept.'],
  ['quota', 'You have stored here as much as you may. Ask who runs the machine.'],
  ['too_large', 'This is more than the machine takes in one piece.'],
  ['bad_archive', 'This is no archive, or it holds what is not unpacked.'],
  ['hash_mismatch', 'The bytes that arrived are not those that were sent. Try again.'],
  ['protocol', 'The two ends did not understand each other. Reload the page and try again.'],
  ['io', 'Reading or writing the file failed.'],
  ['cancelled', 'Called off.'],
]);

/**
 * Why a transfer or a question about files failed: the other end's own words where it has any.
 *
 * @param {string} code
 * @param {unknown} message
 */
export function fileWords(code, message) {
  if (typeof message === 'string' && message.trim() !== '') {
    const text = message.trim().slice(0, 400);
    const sentence = text.charAt(0).toUpperCase() + text.slice(1);
    return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
  }
  return FILE_WORDS.get(code) ?? 'The transfer failed.';
}
