import { draw } from './curves.js';
import { byId, create, setText } from './dom.js';
import { clip, formatDate, formatDuration, sentence } from './format.js';
import { Job, figure } from './job.js';

/**
 * Jobs on the machine: the list, and one of them followed with its curve and the end of its output.
 * Only people who may operate the machine see them; it tells nobody else.
 *
 * @typedef {import('./types.js').JobInfo} JobInfo
 * @typedef {import('./session.js').Session} Session
 */

/** The list is asked for this often: jobs come from other people too. */
const LIST_EVERY_MS = 3_000;

/** Rows at first, and at most; `halyard jobs` has all. */
const FEW = 5;
const MANY = 50;

/** Lines of output that are shown. */
const SHOWN_LINES = 100;

const BOX = { width: 300, height: 100 };

export class JobsView {
  #session;
  #panel = byId('jobs');
  #rows = byId('job-rows');
  #note = byId('jobs-note');
  #more = byId('jobs-more');
  #detail = byId('job');
  #stop = /** @type {HTMLButtonElement} */ (byId('job-stop'));
  #cancel = /** @type {HTMLButtonElement} */ (byId('job-cancel'));
  #log = byId('job-log');
  /** @type {JobInfo[]} */
  #jobs = [];
  /** @type {Job | null} */
  #job = null;
  #isOffered = false;
  #showsMany = false;
  #number = 0;
  #listing = '';
  #asking = '';
  /** Wishes to end a job that are not answered. @type {Map<string, string>} */
  #wishes = new Map();
  #sure = false;
  #isDue = false;

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
    session.on('hello', (hello) => {
      this.#isOffered = Array.isArray(hello.capabilities) && hello.capabilities.includes('jobs');
      this.#panel.hidden = !this.#isOffered;
      this.#list();
      this.#follow();
    });
    session.on('gone', () => {
      this.#isOffered = false;
      this.#listing = '';
      this.#asking = '';
      this.#wishes.clear();
      this.#drawDetail();
    });
    setInterval(() => {
      if (!document.hidden) this.#list();
    }, LIST_EVERY_MS);
    this.#more.addEventListener('click', () => {
      this.#showsMany = !this.#showsMany;
      this.#drawRows();
    });
    this.#stop.addEventListener('click', () => this.#end('JOB_STOP'));
    this.#cancel.addEventListener('click', () => {
      if (this.#sure) this.#end('JOB_CANCEL');
      this.#sure = !this.#sure;
      this.#drawDetail();
    });
    this.#cancel.addEventListener('blur', () => {
      this.#sure = false;
      this.#drawDetail();
    });
  }

  /**
   * @param {{prefix: string, payload: Record<string, any>}} message
   * @returns {boolean} whether it was about jobs
   */
  take({ prefix, payload }) {
    const id = String(payload['id']);
    switch (prefix) {
      case 'JOB_ENTRIES':
        if (id === this.#listing) this.#listed(payload);
        return true;
      case 'JOB_EVENT':
        if (id === this.#asking) this.#happened(payload);
        return true;
      case 'JOB_REJECTED':
        if (id === this.#listing) this.#listing = '';
        else if (id === this.#asking) this.#asking = '';
        else return true;
        setText(this.#note, sentence(clip(String(payload['errors']?.[0]?.message ?? ''), 200)));
        return true;
      case 'ACK': {
        const words = this.#wishes.get(id);
        if (words === undefined) return false;
        this.#wishes.delete(id);
        const why = clip(String(payload['error']?.message ?? 'the machine did not say why'), 200);
        setText(byId('job-said'), payload['ok'] === true ? words : sentence(why));
        return true;
      }
      default:
        return false;
    }
  }

  #list() {
    if (!this.#isOffered || this.#listing !== '') return;
    const id = `jobs-${(this.#number += 1)}`;
    if (this.#session.send('JOB_LIST', { id, offset: 0 })) this.#listing = id;
  }

  /** @param {Record<string, any>} answer */
  #listed(answer) {
    this.#listing = '';
    if (!Array.isArray(answer['jobs'])) return;
    this.#jobs = answer['jobs'].filter((job) => typeof job?.job === 'string');
    const lost = Array.isArray(answer['unreadable']) ? answer['unreadable'].length : 0;
    const empty = 'No jobs so far. Send one with the command halyard train.';
    const broken = `${lost} ${lost === 1 ? 'job' : 'jobs'} cannot be read; look at the machine's log.`;
    setText(this.#note, lost > 0 ? broken : this.#jobs.length === 0 ? empty : '');
    this.#drawRows();
    if (!this.#job) {
      const running = this.#jobs.find(({ state }) => state === 'running' || state === 'stopping');
      const first = running ?? this.#jobs[0];
      if (first) this.#open(first.job);
    }
  }

  /** @param {string} id */
  #open(id) {
    this.#job = new Job(id);
    this.#sure = false;
    setText(byId('job-said'), '');
    this.#asking = '';
    this.#drawRows();
    this.#drawDetail();
    this.#follow();
  }

  #follow() {
    const job = this.#job;
    if (!this.#isOffered || !job || job.over || this.#asking !== '') return;
    const id = `events-${(this.#number += 1)}`;
    if (this.#session.send('JOB_EVENTS', { id, job: job.id, from: job.next })) this.#asking = id;
  }

  /** @param {Record<string, any>} page */
  #happened(page) {
    this.#asking = '';
    const job = this.#job;
    if (!job || !Array.isArray(page['events'])) return;
    for (const event of page['events']) job.take(event);
    job.over = page['over'] === true;
    if (job.over) this.#list();
    this.#follow();
    // Pages of a long past come faster than anybody can look.
    if (this.#isDue) return;
    this.#isDue = true;
    setTimeout(() => {
      this.#isDue = false;
      this.#drawDetail();
    }, 50);
  }

  /** @param {'JOB_STOP' | 'JOB_CANCEL'} how */
  #end(how) {
    if (!this.#job) return;
    const id = `end-${(this.#number += 1)}`;
    const words = how === 'JOB_STOP' ? 'It was asked to finish early.' : 'It is being ended.';
    if (this.#session.send(how, { id, job: this.#job.id })) this.#wishes.set(id, words);
  }

  #drawRows() {
    const shown = this.#jobs.slice(0, this.#showsMany ? MANY : FEW);
    this.#more.hidden = this.#jobs.length <= FEW;
    setText(this.#more, this.#showsMany ? 'Show fewer' : `Show all ${Math.min(this.#jobs.length, MANY)}`);
    // Whoever is on a row with the keyboard stays there.
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset?.['job'];
    this.#rows.replaceChildren(...shown.map((info) => this.#row(info)));
    if (focused) {
      const buttons = [...this.#rows.querySelectorAll('button')];
      buttons.find((button) => button.dataset['job'] === focused)?.focus();
    }
  }

  /** @param {JobInfo} info */
  #row(info) {
    const epochs = info.epochs ? `/${info.epochs}` : '';
    const facts = [
      info.epoch ? `epoch ${info.epoch}${epochs}` : '',
      formatDate(info.created_ms, new Date()),
      info.gpus?.length && !isOver(info.state) ? `GPU ${info.gpus.join(', ')}` : '',
    ];
    const button = create('button', { class: 'job-row', type: 'button', testid: 'job-row' }, [
      create('span', { class: 'job-state', text: info.state }),
      create('span', { class: 'row-text' }, [
        create('span', { class: 'row-name', text: clip(info.template, 60) }),
        create('span', { class: 'row-about', text: facts.filter(Boolean).join(' · ') }),
      ]),
    ]);
    button.dataset['job'] = info.job;
    button.dataset['state'] = info.state;
    if (info.job === this.#job?.id) button.setAttribute('aria-current', 'true');
    button.addEventListener('click', () => this.#open(info.job));
    return create('li', {}, [button]);
  }

  #drawDetail() {
    const job = this.#job;
    this.#detail.hidden = !job;
    if (!job) return;
    const info = this.#jobs.find((other) => other.job === job.id);
    job.epochs ??= info?.epochs ?? null;
    const state = this.#isOffered || isOver(job.state) ? job.state : `${job.state}, not up to date`;
    setText(byId('job-title'), `${clip(info?.template ?? 'Job', 60)} ${job.id}`);
    setText(byId('job-state'), job.reason ? `${sentence(state)}: ${clip(job.reason, 200)}` : sentence(state));
    this.#detail.dataset['state'] = job.state;
    this.#drawProgress(job, info);
    this.#drawCurve(job);
    this.#drawLog(job);
    const mayEnd = this.#isOffered && !isOver(job.state);
    byId('job-actions').hidden = !mayEnd;
    this.#stop.disabled = job.state === 'stopping';
    setText(this.#cancel, this.#sure ? 'Really end it now' : 'Cancel');
    this.#cancel.toggleAttribute('data-sure', this.#sure);
  }

  /** @param {Job} job @param {JobInfo | undefined} info */
  #drawProgress(job, info) {
    const bar = /** @type {HTMLProgressElement} */ (byId('job-progress'));
    bar.hidden = job.share === null;
    bar.value = job.share ?? 0;
    const runs = job.state === 'running' || job.state === 'stopping';
    const facts = [];
    if (job.done > 0 || job.batch > 0) {
      const at = runs && job.done < (job.epochs ?? Infinity) ? job.done + 1 : job.done;
      facts.push(job.epochs ? `Epoch ${at} of ${job.epochs}` : `Epoch ${at}`);
      if (job.batch > 0) facts.push(`batch ${job.batch}${job.batches ? ` of ${job.batches}` : ''}`);
    }
    if (info?.started_ms) {
      const until = info.ended_ms ?? (runs ? Date.now() : info.started_ms);
      facts.push(`${runs ? 'for' : 'took'} ${formatDuration((until - info.started_ms) / 1000)}`);
    }
    if (job.results.length > 0) {
      const files = job.results.length === 1 ? 'file' : 'files';
      facts.push(`${job.results.length} ${files} in ${info?.folder ?? 'its folder'}`);
    }
    setText(byId('job-facts'), facts.join(' · '));
  }

  /** @param {Job} job */
  #drawCurve(job) {
    const drawn = draw([job.train.points, job.val.points], BOX);
    byId('job-curve').hidden = job.train.last === null && job.val.last === null;
    /** @param {string} name @param {number | null} loss */
    const show = (name, loss) => {
      const element = byId(`job-${name}`);
      element.hidden = loss === null;
      setText(element.getElementsByTagName('b')[0] ?? element, loss === null ? '' : figure(loss));
      element.toggleAttribute('data-broken', loss !== null && !Number.isFinite(loss));
    };
    show('train', job.train.last);
    show('val', job.val.last);
    const broken = Math.max(job.train.notNumbers, job.val.notNumbers);
    setText(byId('job-broken'), broken > 0 ? `${broken} of them no number` : '');
    byId('job-plot').hidden = drawn === null;
    if (!drawn) return;
    const [train = '', val = ''] = drawn.paths;
    byId('job-train-path').setAttribute('d', train);
    byId('job-val-path').setAttribute('d', val);
    setText(byId('job-high'), drawn.high);
    setText(byId('job-low'), drawn.low);
    setText(byId('job-first'), drawn.first);
    setText(byId('job-last'), drawn.logarithmic ? `${drawn.last}, logarithmic` : drawn.last);
  }

  /** @param {Job} job */
  #drawLog(job) {
    this.#log.hidden = job.lines.length === 0;
    // Whoever scrolled up reads; everybody else sees the end.
    const atEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 30;
    this.#log.replaceChildren(
      ...job.lines.slice(-SHOWN_LINES).map(({ text, kind }) =>
        create('span', { class: `log-${kind}`, text: `${text}\n` }),
      ),
    );
    if (atEnd) this.#log.scrollTop = this.#log.scrollHeight;
  }
}

/** @param {string} state */
function isOver(state) {
  return ['succeeded', 'failed', 'cancelled', 'lost'].includes(state);
}
