/** The worker behind `hasher.js`: bytes, `reset` and `digest` come in, in that order of things. */

import { blake3 } from '../vendor/noble-hashes/blake3.js';

const port = /** @type {MessagePort} */ (/** @type {unknown} */ (self));

let hash = blake3.create({});

port.onmessage = ({ data }) => {
  if (data === 'reset') {
    hash = blake3.create({});
  } else if (data === 'digest') {
    port.postMessage(toHex(hash.clone().digest()));
  } else {
    hash.update(data);
    port.postMessage(data.length);
  }
};

/** @param {Uint8Array} bytes */
function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
