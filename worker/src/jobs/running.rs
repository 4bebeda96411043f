//! A job whose program runs: its keeper, its output on the way into lines, its bridge.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use halyard_protocol::channel::{JobHappened, JobStream};
use tokio::process::{Child, Command};

use super::{
    CommandLine, Filled, Line, Lines, Own, Patience, Told, Wish,
    keeper::{self, Fate, Process, Run, file},
};
use crate::bridge::{Bridge, Ports, Watch};

/// The most that is kept of each output of a job.
const MOST_OUTPUT: u64 = 256 * 1024 * 1024;

/// Output that is looked at in one turn, of each stream.
const A_TURN: u64 = 256 * 1024;

/// Output that is still looked at when the job is over, of each stream.
const AT_THE_END: u64 = 16 * 1024 * 1024;

/// A wish to stop is published this often.
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
    pub(super) watch: Watch,
    grace: Duration,
    wished_at: Option<Instant>,
    asked_at: Option<Instant>,
    interrupted: bool,
    ended: bool,
    unreadable: bool,
    pub(super) not_understood: u32,
}

/// What a program is started with.
pub(super) struct Launch<'a> {
    pub(super) dir: &'a Path,
    pub(super) keeper: &'a Path,
    pub(super) command: CommandLine,
    pub(super) job: &'a str,
    pub(super) folder: &'a Path,
    pub(super) files: &'a Path,
    pub(super) env: BTreeMap<String, String>,
    pub(super) ports: Option<Ports>,
}

impl Running {
    /// Starts a keeper for the job of this folder.
    pub(super) fn launch(launch: Launch<'_>) -> io::Result<Child> {
        let Launch { dir, keeper, command, job, folder, files, mut env, ports } = launch;
        let text = |parts: &Vec<Filled>| -> String {
            let text = |part: &Filled| match part {
                Filled::Text(text) => text.clone(),
                Filled::Own(Own::Job) => job.to_owned(),
                Filled::Own(Own::Folder) => folder.display().to_string(),
                Filled::Own(Own::Files) => files.display().to_string(),
                Filled::Own(Own::ControlPort) => {
                    ports.map_or_else(String::new, |ports| ports.control.to_string())
                }
                Filled::Own(Own::ProgressPort) => {
                    ports.map_or_else(String::new, |ports| ports.progress.to_string())
                }
            };
            parts.iter().map(text).collect()
        };
        env.extend(command.set.iter().map(|(name, parts)| (name.clone(), text(parts))));
        let argv = command.run.iter().map(text).collect();
        let cwd =
            command.cwd.as_ref().map_or_else(|| folder.to_owned(), |parts| text(parts).into());
        let run = Run { argv, env, cwd, most_output: MOST_OUTPUT };
        keeper::write_json(dir, file::RUN, &run)?;
        Command::new(keeper)
            .arg("keep-job")
            .arg(dir)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
    }

    /// A program that this worker started, or that it found alive.
    pub(super) fn new(
        dir: &Path,
        child: Option<Child>,
        bridge: Option<Bridge>,
        told: &Told,
        (grace, silent_after): (Duration, Duration),
    ) -> Self {
        let grace = if bridge.is_some() { grace } else { Duration::ZERO };
        Self {
            dir: dir.to_owned(),
            child,
            out: Stream::new(JobStream::Stdout, dir.join(file::STDOUT), told.taken.0),
            err: Stream::new(JobStream::Stderr, dir.join(file::STDERR), told.taken.1),
            bridge,
            watch: Watch::new(silent_after),
            grace,
            wished_at: None,
            asked_at: None,
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

    /// What it wrote since the last turn.
    pub(super) fn output(&mut self) -> Vec<JobHappened> {
        let mut happened = self.out.read(A_TURN);
        happened.extend(self.err.read(A_TURN));
        happened
    }

    /// What it wrote in the end.
    pub(super) fn last_output(&mut self) -> Vec<JobHappened> {
        let mut happened = self.out.read(AT_THE_END);
        happened.extend(self.out.finish());
        happened.extend(self.err.read(AT_THE_END));
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
                if self.asked_at.is_none_or(|at| now.duration_since(at) >= ASK_AGAIN)
                    && let Some(bridge) = &self.bridge
                {
                    self.asked_at = Some(now);
                    bridge.ask_to_stop();
                }
                let patience = Patience::after(now.duration_since(wished_at), self.grace);
                if patience == Patience::Interrupted && !self.interrupted {
                    self.interrupted = self.tell(false);
                }
            }
            Some(Wish::Cancel | Wish::TimeUp) if self.ended => {}
            Some(Wish::Cancel | Wish::TimeUp) => self.ended = self.tell(true),
        }
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
