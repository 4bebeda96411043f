import { CamerasView } from './cameras.js';
import { MachineClock } from './clock.js';
import { CommandsView } from './commands.js';
import { byId, setText } from './dom.js';
import { DrivingView } from './driving.js';
import { Fallback } from './fallback.js';
import { FilesView } from './files.js';
import { clip, sentence, shortenNames } from './format.js';
import { JobsView } from './jobs.js';
import { LinkStats } from './link-stats.js';
import { Session } from './session.js';
import { SoundView } from './sound.js';
import { StatusView } from './status.js';
import { TelemetryView } from './telemetry.js';
import { toast } from './toasts.js';
import { VideoView } from './video.js';

/** Notices whose words the page has already: who drives, and the emergency stop. */
const SHOWN_ELSEWHERE = new Set(['lease_changed info', 'estop error', 'estop warning']);

/** And those that stand beside the drive keys of whoever drives. */
const SHOWN_TO_DRIVERS = new Set(['watchdog', 'picture', 'driver', 'not_finite', 'dead_man']);

/**
 * The room: one session, and the views that show it.
 *
 * @param {{base: string, room: string, token: string}} place
 */
export function openRoom(place) {
  const session = new Session(place);
  const status = new StatusView(session);
  const clock = new MachineClock();
  const link = new LinkStats(session);
  const video = new VideoView(clock, () => link.latest.roundTripMs);
  const fallback = new Fallback({ base: place.base, token: place.token }, video);
  // Nothing else needs the token.
  place.token = '';

  const cameras = new CamerasView(session);
  const sound = new SoundView(session);
  const telemetry = new TelemetryView();
  const driving = new DrivingView(session, () => ({ echo: telemetry.stamp, pictureMs: video.age }));
  const commands = new CommandsView(session, () => telemetry.stamp);
  const files = new FilesView(session);
  const jobs = new JobsView(session);

  byId('room').hidden = false;
  byId('top-room').hidden = false;
  setText(byId('room-id'), place.room);
  document.title = `Room ${place.room} · Halyard`;

  // A slate moves and shows no machine, a frozen picture shows one that is elsewhere by now.
  const lost = new Set();
  /** @type {import('./types.js').VideoInfo[]} */
  let pictures = [];
  const drivingSees = () => {
    const isLost = lost.has(cameras.main) || lost.has(null);
    driving.picture(isLost ? 'lost' : video.state);
  };

  const mainChanged = () => {
    video.switched(pictures.some(({ name, strip }) => name === cameras.main && strip === true));
    drivingSees();
  };

  session.on('state', (state) => {
    status.show(state);
    fallback.follow(state);
    if (state.phase === 'ended' && state.problem) showEnd(state.problem);
  });
  session.on('hello', (hello) => {
    lost.clear(); // a worker without a picture says so right after its hello
    pictures = hello.video;
    mainChanged();
    status.offersPicture(hello.video.length > 0);
    if (hello.video.length === 0) fallback.stop();
  });
  cameras.on('main', mainChanged);
  session.on('gone', () => {
    video.gone();
    telemetry.gone();
    clock.reset();
  });
  session.on('track', ({ place, track }) => {
    if (place === 0) video.show(track);
  });
  fallback.on('state', (state) => {
    status.fallback(state);
    driving.overHttp(state === 'on');
  });
  session.on('telemetry', (values) => {
    if (typeof values.time_ms === 'number') clock.heard(performance.now(), values.time_ms);
    telemetry.take(values);
    driving.machine(values);
  });
  session.on('notice', ({ severity, code, message, track = null }) => {
    if (code === 'source_lost' || code === 'source_back') {
      if (code === 'source_lost') lost.add(track);
      else lost.delete(track);
      drivingSees();
    }
    if (SHOWN_ELSEWHERE.has(`${code} ${severity}`)) return;
    if (SHOWN_TO_DRIVERS.has(code) && driving.isMine) return;
    const text = shortenNames(clip(String(message), 300), session.self);
    const known = severity === 'error' || severity === 'warning' ? severity : 'info';
    toast(sentence(text), known);
  });
  session.on('message', (message) => {
    if (jobs.take(message)) return;
    if (message.prefix === 'ACK') commands.acked(message.payload);
    else if (message.prefix === 'TELEMETRY_SCHEMA') telemetry.describe(message.payload);
    else if (message.prefix === 'CHANGED') driving.machine(message.payload['values'] ?? {});
    else files.take(message);
  });
  video.on('state', (state) => {
    status.picture(state !== 'none');
    drivingSees();
  });

  window.addEventListener('beforeunload', (event) => {
    if (files.isBusy) event.preventDefault();
  });
  window.addEventListener('pagehide', () => {
    driving.stop();
    session.leave();
  });
  // Coming back with the back button finds everything as it was left: without a connection.
  window.addEventListener('pageshow', (event) => {
    if (event.persisted) window.location.reload();
  });

  void session.run();
  publish({ session, video, cameras, sound, telemetry, driving, link, fallback });
}

/** @param {import('./types.js').Problem} problem */
function showEnd({ title, text }) {
  byId('room').hidden = true;
  byId('ended').hidden = false;
  setText(byId('ended-title'), title);
  setText(byId('ended-text'), text);
  byId('ended-title').focus();
}

/**
 * `window.halyard`, read-only: the numbers behind what the page shows, for tests, benchmarks and
 * the curious. `halyard.stats()` gives a new plain object each time:
 *
 * * `phase`, `access`, `worker`, `self`: the connection's state in one word, the rights, peer ids
 * * `video`: `way` (`webrtc` or `http`), `state`, `width`, `height`, `frames` shown, `fps`, `strips` read, `missed`, `repeats`,
 *   `ages` of the last 300 strips in ms, oldest first, by both clocks; `age` now, by the machine's alone
 * * `cameras`: `names` of all, `main` and `inset` as they are shown
 * * `fallback`: whether the picture over HTTP is `off`, `trying`, `on`, or there is `none`
 * * `sound`: whether the machine is heard (`on`), `talking` to it, and the `talker` who is heard there
 * * `telemetry`: the last that was heard, as it came
 * * `drive`: `lease`, `estop`, the directions `held`, why driving is `blocked`, the rule that `stopped` it last
 * * `link`: `way`, `roundTripMs`, `bitrate`, `lossPercent`, `decodeMs`, `bufferMs`, and as the machine
 *   says it: `carries` and `target` in bits a second, the `rendition`, `scale` 0 to 1, `repaired` packets
 *
 * There is no secret in it, and nothing can be done with it.
 *
 * @param {{session: Session, video: VideoView, cameras: CamerasView, sound: SoundView, telemetry: TelemetryView, driving: DrivingView, link: LinkStats, fallback: Fallback}} views
 */
function publish({ session, video, cameras, sound, telemetry, driving, link, fallback }) {
  const stats = () => {
    const { frames, strips, missed, repeats, ages } = video.quality;
    const { phase, access, worker } = session.state;
    return {
      phase,
      access,
      worker,
      self: session.self,
      fallback: fallback.state,
      video: {
        way: video.way,
        state: video.state,
        ...video.size,
        frames,
        fps: video.quality.fps(performance.now()),
        strips,
        missed,
        repeats,
        ages: [...ages],
        age: video.age,
      },
      cameras: cameras.numbers,
      sound: sound.numbers,
      telemetry: structuredClone(telemetry.latest),
      drive: driving.numbers,
      link: { ...link.latest },
    };
  };
  Object.defineProperty(window, 'halyard', { value: Object.freeze({ stats }) });
}
