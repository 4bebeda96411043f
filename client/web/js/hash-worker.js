/** The worker behind `hasher.js`: one BLAKE3 for each file that is under way. */

import { blake3 } from '../vendor/noble-hashes/blake3.js';

const port = /** @type {MessagePort} */ (/** @type {unknown} */ (self));

/** @type {Map<number, ReturnType<typeof blake3.create>>} */
const hashes = new Map();

port.onmessage = ({ data: { id, word, bytes } }) => {
  if (word === 'new') hashes.set(id, blake3.create({}));
  else if (word === 'forget') hashes.delete(id);
  const hash = hashes.get(id);
  if (!hash) return;
  if (word === 'digest') port.postMessage({ id, hex: toHex(hash.clone().digest()) });
  if (bytes) {
    hash.update(bytes);
    port.postMessage({ id, taken: bytes.length });
  }
};

/** @param {Uint8Array} bytes */
function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
