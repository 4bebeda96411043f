import { byId, create, setText } from './dom.js';
import { fileRow } from './file-row.js';
import { clip, sentence } from './format.js';
import { prepareHasher } from './hasher.js';
import { openSink } from './sink.js';
import { toast } from './toasts.js';
import { TransferRow } from './transfer-row.js';
import { Transfers } from './transfers.js';
import { fileWords } from './words.js';

/**
 * Files on the machine: the list, downloads, deleting, and sending files by button or by dropping
 * them.
 *
 * @typedef {import('./types.js').Entry} Entry
 * @typedef {import('./types.js').FilesInfo} FilesInfo
 * @typedef {import('./session.js').Session} Session
 */

/** Entries kept on the page; more are found with the `halyard ls` command. */
const MAX_ENTRIES = 2_000;

export class FilesView {
  #session;
  #transfers;
  /** @type {FilesInfo | null} */
  #info = null;
  /** Why files are not exchanged, in the machine's words. */
  #hint = '';
  #folder = '';
  /** @type {Entry[]} */
  #entries = [];
  #question = 0;
  #deletion = 0;
  /** Where the answer to the last question begins. */
  #offset = 0;
  #loading = false;

  #note = byId('files-note');
  #refresh = byId('files-refresh');
  #crumbs = byId('crumbs');
  #rows = byId('file-rows');
  #more = byId('files-more');
  #drop = byId('drop');
  #input = /** @type {HTMLInputElement} */ (byId('file-input'));

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
    this.#transfers = new Transfers({
      send: (prefix, payload) => session.send(prefix, payload),
      sendChunk: (message, signal) => session.sendChunk(message, signal),
      taken: (bytes) => session.taken(bytes),
    });
    this.#transfers.on('added', (transfer) => {
      byId('transfer-rows').prepend(new TransferRow(transfer).element);
    });
    this.#transfers.on('over', (transfer) => {
      if (transfer.direction === 'up' && transfer.state === 'done') this.#list(0);
    });
    session.on('hello', (hello) => this.#offered(hello.files ?? null));
    session.on('gone', () => this.#gone());
    session.on('binary', (message) => this.#transfers.takeChunk(message));

    this.#refresh.addEventListener('click', () => this.#list(0));
    this.#more.addEventListener('click', () => this.#list(this.#entries.length));
    this.#input.addEventListener('change', () => {
      this.#send(this.#input.files);
      this.#input.value = '';
    });
    this.#takeDrops();
  }

  /** Whether leaving now would lose a transfer. */
  get isBusy() {
    return this.#transfers.isBusy;
  }

  /**
   * @param {{prefix: string, payload: Record<string, any>}} message
   * @returns {boolean} whether it was about files
   */
  take(message) {
    const { prefix, payload } = message;
    if (this.#transfers.take(message)) return true;
    const isAnswer = payload['id'] === `list-${this.#question}`;
    if (prefix === 'FILE_ENTRIES' && isAnswer) {
      this.#listed(payload);
    } else if (prefix === 'FILE_ERROR' && isAnswer) {
      this.#loading = false;
      setText(this.#note, fileWords(String(payload['code']), payload['message']));
      if (this.#folder !== '' && payload['code'] === 'not_found') this.#open('');
    } else if (prefix === 'FILE_DELETED') {
      this.#list(0);
    } else if (prefix === 'FILE_ERROR' && String(payload['id']).startsWith('delete-')) {
      toast(fileWords(String(payload['code']), payload['message']), 'warning');
      this.#list(0);
    } else {
      return false;
    }
    return true;
  }

  /** @param {FilesInfo | null} info */
  #offered(info) {
    this.#info = info;
    const readable = info?.readable === true;
    const writable = info?.writable === true;
    this.#refresh.hidden = !readable;
    this.#drop.hidden = !writable;
    this.#hint = sentence(clip(info?.hint ?? '', 300));
    if (!readable && !writable) {
      setText(this.#note, this.#hint || 'This machine does not exchange files. Start it with --files DIR to allow it.');
      this.#clear();
    } else {
      setText(this.#note, this.#hint);
      if (readable) this.#list(0);
    }
    if (readable || writable) prepareHasher();
    this.#transfers.connected();
  }

  #gone() {
    this.#transfers.disconnected();
    this.#loading = false;
    this.#refresh.hidden = true;
  }

  /** @param {number} offset */
  #list(offset) {
    if (!this.#info?.readable || (this.#loading && offset > 0)) return;
    this.#question += 1;
    this.#offset = offset;
    const id = `list-${this.#question}`;
    this.#loading = this.#session.send('FILE_LIST', { id, path: this.#folder, offset });
    if (offset === 0) this.#drawCrumbs();
  }

  /** @param {string} folder */
  #open(folder) {
    this.#folder = folder;
    this.#clear();
    this.#list(0);
  }

  /** @param {Record<string, any>} answer */
  #listed({ path, entries, total, more }) {
    this.#loading = false;
    if (path !== this.#folder || !Array.isArray(entries)) return;
    /** @type {Entry[]} */
    const good = entries.filter((entry) => typeof entry?.name === 'string');
    this.#entries = this.#offset > 0 ? [...this.#entries, ...good] : good;
    this.#more.hidden = more !== true || this.#entries.length >= MAX_ENTRIES;
    this.#rows.replaceChildren(...this.#entries.map((entry) => this.#row(entry)));
    const count = Number(total) || this.#entries.length;
    const empty = this.#info?.writable ? 'No files here yet. Send some.' : 'No files here yet.';
    setText(this.#note, this.#hint || (count === 0 ? empty : ''));
  }

  #clear() {
    this.#entries = [];
    this.#rows.replaceChildren();
    this.#more.hidden = true;
  }

  /** @param {Entry} entry */
  #row(entry) {
    const path = this.#folder === '' ? entry.name : `${this.#folder}/${entry.name}`;
    const isFolder = entry.kind === 'directory';
    const open = isFolder ? () => this.#open(path) : () => void this.#download(path, entry);
    const remove = this.#info?.writable ? () => this.#remove(path, isFolder) : null;
    return fileRow(entry, { open, remove });
  }

  /** @param {string} path @param {boolean} recursive */
  #remove(path, recursive) {
    this.#deletion += 1;
    this.#session.send('FILE_DELETE', { id: `delete-${this.#deletion}`, path, recursive });
  }

  #drawCrumbs() {
    this.#crumbs.hidden = this.#folder === '';
    const parts = this.#folder === '' ? [] : this.#folder.split('/');
    /** @param {string} label @param {string} folder */
    const crumb = (label, folder) => {
      const button = create('button', { class: 'crumb', type: 'button', text: label });
      button.addEventListener('click', () => this.#open(folder));
      if (folder === this.#folder) button.setAttribute('aria-current', 'location');
      return button;
    };
    this.#crumbs.replaceChildren(
      crumb('All files', ''),
      ...parts.map((part, at) => crumb(part, parts.slice(0, at + 1).join('/'))),
    );
  }

  /**
   * @param {string} path
   * @param {Entry} entry
   */
  async #download(path, entry) {
    const sink = await openSink(entry.name, entry.size);
    if (sink) this.#transfers.download(path, entry.name, entry.size, sink);
  }

  /** @param {FileList | null | undefined} files */
  #send(files) {
    if (!files || files.length === 0) return;
    if (!this.#info?.writable) {
      const why = 'This page may not send files to this machine.';
      toast(this.#hint || why, 'warning');
      return;
    }
    for (const file of files) this.#transfers.upload(file, this.#folder);
  }

  /** Files may be dropped anywhere on the page; one that is missed must not replace the page. */
  #takeDrops() {
    const has = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes('Files');
    const mark = (/** @type {boolean} */ on) => byId('files').toggleAttribute('data-drop', on);
    document.addEventListener('dragover', (event) => {
      if (!has(event)) return;
      event.preventDefault();
      mark(this.#info?.writable === true);
    });
    document.addEventListener('dragleave', (event) => {
      if (event.relatedTarget === null) mark(false);
    });
    document.addEventListener('drop', (event) => {
      if (!has(event)) return;
      event.preventDefault();
      mark(false);
      this.#send(event.dataTransfer?.files);
    });
  }
}
