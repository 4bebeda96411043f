import { create } from './dom.js';
import { formatBytes, formatDate } from './format.js';

/**
 * One file or folder of the machine: what it is, and what can be done with it. Deleting asks once
 * more in the same place, and the question goes away by itself when the focus does.
 *
 * @typedef {import('./types.js').Entry} Entry
 *
 * @typedef {object} Doing
 * @property {() => void} open a folder, or fetch a file
 * @property {(() => void) | null} remove `null` where that is not allowed
 */

/**
 * @param {Entry} entry
 * @param {Doing} doing
 */
export function fileRow(entry, { open, remove }) {
  const isFolder = entry.kind === 'directory';
  const row = create('li', { class: 'row', testid: isFolder ? 'folder-row' : 'file-row' });
  row.dataset['name'] = entry.name;
  let asking = false;
  const show = () => {
    asking = false;
    const shown = isFolder ? [folderName(entry, open)] : [fileText(entry), downloadButton(entry, open)];
    if (remove) shown.push(button('Delete', `Delete ${entry.name}`, 'file-delete', ask));
    row.replaceChildren(...shown);
  };
  const ask = () => {
    const words = isFolder ? `Delete ${entry.name} and everything in it?` : `Delete ${entry.name}?`;
    const keep = button('Keep', `Keep ${entry.name}`, 'file-keep', () => {
      show();
      row.querySelector('button')?.focus();
    });
    const sure = button('Delete', `Delete ${entry.name} for good`, 'file-delete-sure', () => {
      show();
      remove?.();
    });
    sure.classList.add('danger');
    row.replaceChildren(create('span', { class: 'row-name question', text: words }), keep, sure);
    asking = true;
    keep.focus();
  };
  row.addEventListener('focusout', ({ relatedTarget: to }) => {
    if (asking && !(to instanceof Node && row.contains(to))) show();
  });
  show();
  return row;
}

/** @param {Entry} entry @param {() => void} open */
function folderName(entry, open) {
  const name = create('button', {
    class: 'row-name folder',
    type: 'button',
    text: entry.name,
    testid: 'folder-open',
  });
  name.addEventListener('click', open);
  return name;
}

/** @param {Entry} entry */
function fileText(entry) {
  const name = create('span', { class: 'row-name', text: entry.name });
  name.title = entry.name;
  const small = create('span', { class: 'row-about', text: about(entry) });
  return create('div', { class: 'row-text' }, [name, small]);
}

/** @param {Entry} entry @param {() => void} open */
function downloadButton(entry, open) {
  return button('Download', `Download ${entry.name}`, 'file-download', open);
}

/** @param {string} text @param {string} label @param {string} testid @param {() => void} click */
function button(text, label, testid, click) {
  const made = create('button', { class: 'quiet small', type: 'button', text, testid });
  made.setAttribute('aria-label', label);
  made.addEventListener('click', click);
  return made;
}

/** @param {Entry} entry */
function about({ size, modified_ms: modified }) {
  const when = modified > 0 ? ` · ${formatDate(modified, new Date())}` : '';
  return `${formatBytes(size)}${when}`;
}
