//! A job whose program runs: its keeper, its output on the way into lines, its bridge.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use halyard_protocol::channel::{JobHappened, JobStream};
use tokio::process::Child;

use super::{
    Line, Lines, Patience, Template, Told, Wish,
    keeper::{self, Fate, Process, file},
    template,
};
use crate::bridge::{Bridge, Ports, Watch};

/// Output that is looked at at a time, of each stream: of empty lines it becomes a hundred times as
/// much memory, and everybody who asks about jobs waits meanwhile.
const A_TURN: u64 = 64 * 1024;

/// Output that is still looked at when the job is over.
pub(super) const AT_THE_END: u64 = 8 * 1024 * 1024;

/// A wish to stop is published this often, and a learning rate no oftener.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A job's program, seen from the worker.
#[derive(Debug)]
pub(super) struct Running {
    dir: PathBuf,
    /// The keeper, where this worker started it.
    child: Option<Child>,
    out: Stream,
    err: Stream,
    pub(super) bridge: Option<Bridge>,
    /// Where the trainer looks for a bridge that this worker did not make.
    pub(super) listens_on: Option<Ports>,
    /// It was said that the bridge cannot be made.
    pub(super) said_deaf: bool,
    pub(super) watch: Watch,
    grace: Duration,
    wished_at: Option<Instant>,
    asked_at: Option<Instant>,
    /// When its trainer was last told a learning rate.
    tuned_at: Option<Instant>,
    interrupted: bool,
    ended: bool,
    unreadable: bool,
    pub(super) not_understood: u32,
}

/// How patient the worker is with a program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// Between the wish to stop and the interrupt.
    pub(super) grace: Duration,
    /// Without a report, before that is remarked on.
    pub(super) silent_after: Duration,
}

impl Times {
    pub(super) fn of(template: &Template) -> Self {
        Self { grace: template.stop_grace, silent_after: template.silent_after }
    }
}

/// Those of a job whose template is gone.
impl Default for Times {
    fn default() -> Self {
        Self { grace: template::STOP_GRACE, silent_after: template::SILENT_AFTER }
    }
}

impl Running {
    /// A program that this worker started, or that it found alive.
    pub(super) fn new(
        dir: &Path,
        child: Option<Child>,
        bridge: Option<Bridge>,
        told: &Told,
        times: Times,
        now: Duration,
    ) -> Self {
        let watch = if told.reported {
            Watch::resumed(times.silent_after, now, told.epoch)
        } else {
            Watch::new(times.silent_after, now)
        };
        Self {
            dir: dir.to_owned(),
            child,
            out: Stream::new(JobStream::Stdout, dir.join(file::STDOUT), told.taken.0),
            err: Stream::new(JobStream::Stderr, dir.join(file::STDERR), told.taken.1),
            bridge,
            listens_on: None,
            said_deaf: false,
            watch,
            grace: times.grace,
            wished_at: None,
            asked_at: None,
            tuned_at: None,
            interrupted: false,
            ended: false,
            unreadable: false,
            not_understood: 0,
        }
    }

    /// What became of it. While that cannot be found out it counts as alive.
    pub(super) fn fate(&mut self) -> Fate {
        let ended = self.child.as_mut().map_or(Ok(true), |child| Ok(child.try_wait()?.is_some()));
        let fate =
            ended.and_then(|ended| if ended { keeper::fate(&self.dir) } else { Ok(Fate::Kept) });
        fate.unwrap_or_else(|error: io::Error| {
            if !std::mem::replace(&mut self.unreadable, true) {
                tracing::error!(%error, dir = %self.dir.display(), "a job cannot be looked at");
            }
            Fate::Kept
        })
    }

    /// What it wrote since the last time, in part when that is much; nothing when that was all.
    /// `told` says whether standard output is still wanted.
    pub(super) fn output(&mut self, told: bool) -> Vec<JobHappened> {
        let mut happened = if told { self.out.read(A_TURN) } else { self.out.skip() };
        happened.extend(self.err.read(A_TURN));
        happened
    }

    /// Bytes that were looked at so far.
    pub(super) fn looked_at(&self) -> u64 {
        self.out.at + self.err.at
    }

    /// The last line, which has no end.
    pub(super) fn last_output(&mut self) -> Vec<JobHappened> {
        let mut happened = self.out.finish();
        happened.extend(self.err.finish());
        if self.out.has_more() || self.err.has_more() {
            let message = "the program wrote more at its end than is told as lines";
            let code = "output_not_told".to_owned();
            happened.push(JobHappened::Note { code, message: message.to_owned() });
        }
        happened
    }

    /// Does what is due about a wish that it ends.
    pub(super) fn insist(&mut self, wish: Option<Wish>, now: Instant) {
        match wish {
            None => {}
            Some(Wish::Stop) => {
                let wished_at = *self.wished_at.get_or_insert(now);
                // Not beyond the interrupt: what is published to one who does not read is kept for it.
                if !self.interrupted
                    && self.asked_at.is_none_or(|at| now.duration_since(at) >= ASK_AGAIN)
                    && let Some(bridge) = &self.bridge
                {
                    self.asked_at = Some(now);
                    bridge.ask_to_stop();
                }
                // Nobody can be asked where there is no bridge and none to come.
                let heard = self.bridge.is_some() || self.listens_on.is_some();
                let grace = if heard { self.grace } else { Duration::ZERO };
                let patience = Patience::after(now.duration_since(wished_at), grace);
                if patience == Patience::Interrupted && !self.interrupted {
                    self.interrupted = self.tell(false);
                }
            }
            Some(Wish::Cancel | Wish::TimeUp) if self.ended => {}
            Some(Wish::Cancel | Wish::TimeUp) => self.ended = self.tell(true),
        }
    }

    /// Tells its trainer another learning rate; or why not.
    pub(super) fn tune(&mut self, rate: f64, now: Instant) -> Result<(), &'static str> {
        let Some(bridge) = self.bridge.as_ref().filter(|_| !self.interrupted) else {
            return Err("this job has no trainer that listens");
        };
        if self.tuned_at.is_some_and(|at| now.duration_since(at) < ASK_AGAIN) {
            return Err("it was told another one within the last second; say it again");
        }
        self.tuned_at = Some(now);
        if bridge.set_learning_rate(rate) { Ok(()) } else { Err("it has too much to hear") }
    }

    /// A keeper that has only just begun is told in the next turn.
    fn tell(&self, end: bool) -> bool {
        match keeper::read_json::<Process>(&self.dir, file::PROCESS) {
            Ok(process) => {
                keeper::tell(&process, end);
                true
            }
            Err(_) => false,
        }
    }
}

/// One output on its way into lines.
#[derive(Debug)]
struct Stream {
    which: JobStream,
    path: PathBuf,
    file: Option<File>,
    at: u64,
    lines: Lines,
}

impl Stream {
    fn new(which: JobStream, path: PathBuf, taken: u64) -> Self {
        Self { which, path, file: None, at: taken, lines: Lines::from(taken) }
    }

    fn read(&mut self, most: u64) -> Vec<JobHappened> {
        match self.bytes(most) {
            Ok(bytes) => {
                let lines = self.lines.push(&bytes);
                self.happened(lines)
            }
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "a job's output");
                Vec::new()
            }
        }
    }

    /// Leaves out what there is so far.
    fn skip(&mut self) -> Vec<JobHappened> {
        let end = std::fs::metadata(&self.path).map_or(self.at, |metadata| metadata.len());
        *self = Self::new(self.which, std::mem::take(&mut self.path), end);
        Vec::new()
    }

    fn bytes(&mut self, most: u64) -> io::Result<Vec<u8>> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => match File::open(&self.path) {
                Ok(mut file) => {
                    file.seek(SeekFrom::Start(self.at))?;
                    file
                }
                // The keeper has only just begun.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            },
        };
        let mut bytes = Vec::new();
        self.at += (&mut file).take(most).read_to_end(&mut bytes)? as u64;
        self.file = Some(file);
        Ok(bytes)
    }

    fn has_more(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > self.at)
    }

    fn finish(&mut self) -> Vec<JobHappened> {
        let line = self.lines.finish();
        self.happened(line.into_iter().collect())
    }

    /// Of several steps of progress in one turn only the last is worth keeping.
    fn happened(&self, lines: Vec<Line>) -> Vec<JobHappened> {
        let mut happened = Vec::with_capacity(lines.len());
        let mut lines = lines.into_iter().peekable();
        while let Some(line) = lines.next() {
            if line.progress && lines.peek().is_some_and(|next| next.progress) {
                continue;
            }
            let Line { text, progress, to } = line;
            happened.push(JobHappened::Line { stream: self.which, text, progress, to });
        }
        happened
    }
}
