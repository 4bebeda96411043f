// Halyard's programs as child processes: started, read line by line, ended by their own pid.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const root = resolve(import.meta.dirname, '../../..');

export const binDir = process.env.TESTS_BIN_DIR ?? join(root, 'target/debug');
export const outDir = join(process.env.TESTS_OUT ?? join(root, 'test_files/out'), 'browser');

const START_MS = 30_000;
const STOP_MS = 15_000;

/** Children that still run, so that nothing outlives this process however it ends. */
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** One child process. */
export class Program {
  /**
   * @param {string} command
   * @param {string[]} args
   * @param {{log: string, env?: Record<string, string>}} options `log` names the file for stderr
   */
  constructor(command, args, { log, env = {} }) {
    mkdirSync(outDir, { recursive: true });
    this.name = command.split('/').at(-1) ?? command;
    this.child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    running.add(this.child);
    this.ended = once(this.child, 'exit').finally(() => running.delete(this.child));
    this.child.stderr.pipe(createWriteStream(join(outDir, `${log}.log`)));
    /** @type {string[]} */
    this.lines = [];
    /** @type {Set<() => void>} */
    this.waiting = new Set();
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      this.lines.push(line);
      this.waiting.forEach((wake) => wake());
    });
    this.ended.then(
      () => this.waiting.forEach((wake) => wake()),
      () => {},
    );
  }

  /** @returns {number} */
  get pid() {
    if (this.child.pid === undefined) throw new Error(`${this.name} did not start`);
    return this.child.pid;
  }

  /**
   * The first line on stdout that `pick` makes something of.
   *
   * @template T
   * @param {(line: string) => T | undefined} pick
   * @param {string} what for the error
   * @returns {Promise<T>}
   */
  async line(pick, what) {
    const deadline = Date.now() + START_MS;
    for (let seen = 0; ; ) {
      while (seen < this.lines.length) {
        const picked = pick(this.lines[seen++]);
        if (picked !== undefined) return picked;
      }
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`${this.name} ended before it said ${what}; see test_files/out/browser/*.log`);
      }
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`${this.name} did not say ${what} within ${START_MS} ms`);
      await new Promise((/** @type {(value?: unknown) => void} */ done) => {
        const wake = () => {
          clearTimeout(timer);
          this.waiting.delete(wake);
          done();
        };
        const timer = setTimeout(wake, left);
        this.waiting.add(wake);
      });
    }
  }

  /**
   * The first JSON line with this `event`.
   *
   * @param {string} event
   * @returns {Promise<any>}
   */
  event(event) {
    return this.line((line) => {
      const said = JSON.parse(line);
      return said.event === event ? said : undefined;
    }, `"event":"${event}"`);
  }

  /** SIGTERM, and it must end by itself. */
  async stop() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS);
    const [, signal] = await this.ended;
    clearTimeout(timer);
    if (signal === 'SIGKILL') throw new Error(`${this.name} did not end within ${STOP_MS} ms of SIGTERM`);
  }
}

/**
 * Broker, rover and page in one program, and its room.
 *
 * @param {{log: string, args?: string[]}} options
 */
export async function standalone({ log, args = [] }) {
  const program = new Program(
    join(binDir, 'halyard-worker'),
    ['standalone', '--listen', '127.0.0.1:0', '--json', ...args],
    { log },
  );
  const room = await program.event('room').catch(async (error) => {
    await program.stop();
    throw error;
  });
  return { program, room, operator: room.join_url, viewer: room.viewer_url };
}
