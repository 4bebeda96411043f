//! A job's events on disk: one JSON object a line, numbered from 1.
//!
//! * A change of state is on the disk (`fsync`) before anybody is told of it. Lines and progress
//!   are handed to the system at once, so they survive the worker's death, but not a power cut.
//! * A last line that was torn by a crash is cut off when the log is opened. A line in the middle
//!   that cannot be read is somebody else's doing: the file is kept under another name before the log
//!   goes on from the last event that is whole.
//! * It is bounded: beyond [`MOST_BYTES`] no lines of standard output and no batches are written,
//!   beyond twice that no lines of standard error, beyond four times no epochs and no remarks about
//!   the trainer: a flood must not drown what matters more. The program's whole output is in files of
//!   its own.
//!
//! Everything here blocks.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use halyard_protocol::channel::{JobEvent, JobHappened, JobState, JobStream, TrainerReport};

use crate::bridge::Remark;

/// The log's size from which on lines of standard output are left out.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// The place of every so many-th event is remembered, so that a page is found without reading all.
const EVERY: u64 = 256;

/// What a log says of its job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The last state, its reason, and when it began to run and was over.
    pub state: Option<(JobState, Option<String>)>,
    /// When it began to run.
    pub started_ms: Option<u64>,
    /// When it was over.
    pub ended_ms: Option<u64>,
    /// Bytes of standard output and of standard error that became lines.
    pub taken: (u64, u64),
    /// Epochs that its trainer reported as done.
    pub epoch: Option<u64>,
    /// Its trainer reported something.
    pub reported: bool,
}

/// How much an event matters when there is no room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Lines of standard output, and batches.
    Light,
    /// Lines of standard error.
    Middle,
    /// Epochs, and remarks about a trainer, which makes as many as it likes.
    Heavy,
    /// Everything else, of which there is little: it is written whatever else is there.
    Needed,
}

impl Weight {
    /// That of an event.
    pub fn of(what: &JobHappened) -> Self {
        match what {
            JobHappened::Line { stream: JobStream::Stdout, .. } => Self::Light,
            JobHappened::Line { .. } => Self::Middle,
            JobHappened::Progress { report } if report.contains("\"batch_") => Self::Light,
            JobHappened::Progress { .. } => Self::Heavy,
            JobHappened::Note { code, .. } if Remark::CODES.contains(&code.as_str()) => Self::Heavy,
            _ => Self::Needed,
        }
    }
}

/// A job's log, open.
#[derive(Debug)]
pub struct EventLog {
    file: File,
    bytes: u64,
    last: u64,
    /// Where the events 1, 1 + EVERY, 1 + 2 * EVERY … begin.
    places: Vec<u64>,
    told: Told,
    most_bytes: u64,
    /// What it was said of that it is left out from now on.
    full: Option<Weight>,
    /// The file under its other name, when it was found damaged.
    damaged: Option<PathBuf>,
}

impl EventLog {
    /// Opens a log, or begins one.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::bounded(path, MOST_BYTES)
    }

    fn bounded(path: &Path, most_bytes: u64) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut log = Self {
            file,
            bytes: 0,
            last: 0,
            places: Vec::new(),
            told: Told::default(),
            most_bytes,
            full: None,
            damaged: None,
        };
        let mut reader = BufReader::new(log.file.try_clone()?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            let event: Option<JobEvent> =
                line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok());
            match event {
                Some(event) if event.n == log.last + 1 => {
                    log.noticed(&event);
                    log.bytes += read as u64;
                }
                _ if read == 0 => break,
                _ => {
                    let torn = !line.ends_with(b"\n");
                    if torn {
                        tracing::warn!(at = log.bytes, "a job's log was torn, its end is cut off");
                    } else {
                        log.damaged = Some(set_aside(path)?);
                    }
                    log.file.set_len(log.bytes)?;
                    break;
                }
            }
        }
        Ok(log)
    }

    /// The number of the newest event; 0 when there is none.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// What it says of its job.
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// Whether lines of standard output and batches are still written.
    pub fn takes_output(&self) -> bool {
        self.full.is_none()
    }

    /// Where the file was put that could not be read to its end, when that was found at opening.
    pub fn damaged(&self) -> Option<&Path> {
        self.damaged.as_deref()
    }

    /// Writes events, all of them or none, except those that are left out because the log is full.
    /// They are taken out of the queue when they are written.
    pub fn append(&mut self, events: &mut VecDeque<(u64, JobHappened)>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut written = Vec::new();
        let mut full = self.full;
        let mut sync = false;
        let mut numbers = self.last + 1..;
        for (at_ms, what) in &*events {
            let what = match self.left_out(what, bytes.len() as u64, &mut full) {
                Fits::Yes => what.clone(),
                Fits::No => continue,
                Fits::Not(message) => JobHappened::Note { code: "log_full".to_owned(), message },
            };
            sync |= matches!(what, JobHappened::State { .. });
            let event = JobEvent { n: numbers.next().unwrap_or_default(), at_ms: *at_ms, what };
            serde_json::to_writer(&mut bytes, &event).map_err(io::Error::other)?;
            bytes.push(b'\n');
            written.push((event, bytes.len() as u64));
        }
        self.file.seek(SeekFrom::Start(self.bytes))?;
        let wrote = self.file.write_all(&bytes);
        if let Err(error) = wrote.and_then(|()| if sync { self.file.sync_data() } else { Ok(()) }) {
            // Half a line must not stand before the next one.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.full = full;
        let begin = self.bytes;
        for (event, end) in written {
            self.noticed(&event);
            self.bytes = begin + end;
        }
        events.clear();
        Ok(())
    }

    /// Whether there is room for an event behind so many more bytes.
    fn left_out(&self, what: &JobHappened, more: u64, full: &mut Option<Weight>) -> Fits {
        let weight = Weight::of(what);
        let (most, words) = match weight {
            Weight::Light => (self.most_bytes, "output and batches"),
            Weight::Middle => (self.most_bytes * 2, "errors too"),
            Weight::Heavy => (self.most_bytes * 4, "epochs too"),
            Weight::Needed => return Fits::Yes,
        };
        if self.bytes + more < most {
            return Fits::Yes;
        }
        if *full >= Some(weight) {
            return Fits::No;
        }
        *full = Some(weight);
        Fits::Not(format!("the log of events is full: {words} are left out from here on"))
    }

    /// Events from this number on, as many as take about this many bytes; at least one if there
    /// are any.
    pub fn page(&mut self, from: u64, most_bytes: usize) -> io::Result<Vec<JobEvent>> {
        let from = from.max(1);
        if from > self.last {
            return Ok(Vec::new());
        }
        let place = self.places.get(((from - 1) / EVERY) as usize).copied().unwrap_or(0);
        self.file.seek(SeekFrom::Start(place))?;
        let reader = BufReader::new((&self.file).take(self.bytes - place));
        let (mut events, mut bytes) = (Vec::new(), 0);
        for line in reader.split(b'\n') {
            let line = line?;
            let event: JobEvent = serde_json::from_slice(&line).map_err(io::Error::other)?;
            if event.n < from {
                continue;
            }
            bytes += line.len() + 1;
            if bytes > most_bytes && !events.is_empty() {
                break;
            }
            events.push(event);
        }
        Ok(events)
    }

    fn noticed(&mut self, event: &JobEvent) {
        if (event.n - 1).is_multiple_of(EVERY) {
            self.places.push(self.bytes);
        }
        self.last = event.n;
        match &event.what {
            JobHappened::State { state, reason, .. } => {
                if *state == JobState::Running && self.told.started_ms.is_none() {
                    self.told.started_ms = Some(event.at_ms);
                }
                if state.is_over() {
                    self.told.ended_ms = Some(event.at_ms);
                }
                self.told.state = Some((*state, reason.clone()));
            }
            JobHappened::Line { stream: JobStream::Stdout, to, .. } => self.told.taken.0 = *to,
            JobHappened::Line { stream: JobStream::Stderr, to, .. } => self.told.taken.1 = *to,
            JobHappened::Progress { report } => {
                self.told.reported = true;
                if report.contains("\"epoch_end\"")
                    && let Some(TrainerReport { epoch: Some(epoch), .. }) =
                        TrainerReport::read(report)
                {
                    self.told.epoch = Some(epoch.saturating_add(1));
                }
            }
            _ => {}
        }
    }
}

/// Whether an event has room in a log.
enum Fits {
    Yes,
    No,
    /// It has not, which is said once.
    Not(String),
}

/// Keeps a file under a name that is not taken.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    for number in 1.. {
        let aside = path.with_extension(format!("damaged-{number}"));
        if !aside.exists() {
            fs::copy(path, &aside)?;
            return Ok(aside);
        }
    }
    Err(io::Error::other("there are too many damaged logs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, to: u64) -> JobHappened {
        let (text, stream) = (text.to_owned(), JobStream::Stdout);
        JobHappened::Line { stream, text, progress: false, to }
    }

    fn append(log: &mut EventLog, at_ms: u64, what: JobHappened) -> u64 {
        let before = log.last();
        log.append(&mut [(at_ms, what)].into()).expect("written or left out");
        log.last() - before
    }

    fn state(state: JobState) -> JobHappened {
        JobHappened::State { state, reason: None, exit_code: None }
    }

    #[test]
    fn events_are_numbered_and_read_back_from_any_number() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("events");
        let mut log = EventLog::open(&path).expect("begun");
        append(&mut log, 1, state(JobState::Running));
        for n in 2..=1000 {
            append(&mut log, n, line(&format!("line {n}"), n * 10));
        }
        for mut log in [log, EventLog::open(&path).expect("opened again")] {
            assert_eq!(log.last(), 1000);
            assert_eq!(log.told().taken, (10_000, 0));
            assert_eq!(log.told().started_ms, Some(1));
            for from in [0, 1, 255, 256, 257, 258, 700, 1000] {
                let page = log.page(from, 1000).expect("read");
                assert_eq!(page.first().map(|event| event.n), Some(from.max(1)), "from {from}");
                assert!(page.windows(2).all(|pair| pair[1].n == pair[0].n + 1));
            }
            assert_eq!(log.page(1, 1_000_000).expect("read").len(), 1000);
            assert_eq!(log.page(5, 1).expect("read").len(), 1, "at least one");
            assert_eq!(log.page(1001, 1000).expect("read"), []);
        }
    }

    #[test]
    fn a_flood_of_output_does_not_drown_errors_and_states() {
        let home = tempfile::tempdir().expect("a folder");
        let mut log = EventLog::bounded(&home.path().join("events"), 2000).expect("begun");
        let text = "x".repeat(100);
        let kept = (0..1000).filter(|&n| append(&mut log, n, line(&text, n)) > 0).count();
        assert!((5..30).contains(&kept));
        let report = |event: &str, epoch: u64| JobHappened::Progress {
            report: format!(r#"{{"event":"{event}","epoch":{epoch},"logs":null}}"#),
        };
        assert_eq!(append(&mut log, 1, report("batch_end", 1)), 0, "no more than output");
        let error = JobHappened::Line {
            stream: JobStream::Stderr,
            text: "out of memory".to_owned(),
            progress: false,
            to: 14,
        };
        assert_eq!(append(&mut log, 1, error.clone()), 1);
        while append(&mut log, 1, error.clone()) > 0 {}
        assert!((4000..5000).contains(&log.bytes), "{}", log.bytes);
        assert_eq!(append(&mut log, 1, report("epoch_end", 3)), 1, "the curve goes on");
        assert_eq!(log.told().epoch, Some(4));
        while append(&mut log, 1, report("epoch_begin", 4)) > 0 {}
        assert!(log.bytes < 9000, "{}", log.bytes);
        // Nor does a trainer that begins anew again and again fill the disk with remarks on that.
        let again = JobHappened::Note {
            code: Remark::Restarted.code().to_owned(),
            message: "the trainer began anew".to_owned(),
        };
        for _ in 0..1000 {
            append(&mut log, 1, again.clone());
        }
        assert!(log.bytes < 9000, "{}", log.bytes);
        assert_eq!(append(&mut log, 1, state(JobState::Failed)), 1);
        let notes = log.page(1, 100_000).expect("read");
        let full = |event: &&JobEvent| matches!(event.what, JobHappened::Note { .. });
        assert_eq!(notes.iter().filter(full).count(), 3, "each is said once");
    }

    #[test]
    fn many_events_are_written_at_once_and_found_one_by_one() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("events");
        let mut log = EventLog::open(&path).expect("begun");
        let mut many: VecDeque<_> = (1..=700).map(|n| (n, line(&format!("line {n}"), n))).collect();
        log.append(&mut many).expect("written");
        assert!(many.is_empty());
        for mut log in [log, EventLog::open(&path).expect("opened again")] {
            for from in [1, 256, 257, 513, 700] {
                let page = log.page(from, 1).expect("read");
                assert_eq!(page[0].n, from);
                assert_eq!(page[0].at_ms, from);
            }
        }
    }

    #[test]
    fn a_log_that_is_damaged_in_the_middle_is_kept_aside_and_goes_on() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("events.jsonl");
        let mut log = EventLog::open(&path).expect("begun");
        for n in 1..=5 {
            append(&mut log, n, line("x", n));
        }
        drop(log);
        let mut bytes = std::fs::read(&path).expect("read");
        let third = bytes.iter().position(|&byte| byte == b'\n').expect("a line") * 2 + 10;
        bytes[third] = b'\xff';
        std::fs::write(&path, &bytes).expect("damaged");
        let mut log = EventLog::open(&path).expect("opened");
        assert_eq!(log.last(), 2);
        let aside = log.damaged().expect("it is said").to_owned();
        assert_eq!(std::fs::read(&aside).expect("kept"), bytes, "nothing of it is lost");
        append(&mut log, 6, state(JobState::Lost));
        drop(log);
        let log = EventLog::open(&path).expect("opened");
        assert_eq!((log.last(), log.damaged()), (3, None));
    }

    #[test]
    fn a_torn_last_line_is_cut_off_wherever_it_was_torn() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("events");
        let mut log = EventLog::open(&path).expect("begun");
        append(&mut log, 1, state(JobState::Queued));
        append(&mut log, 2, state(JobState::Running));
        drop(log);
        let whole = std::fs::read(&path).expect("read");
        let first = whole.iter().position(|&byte| byte == b'\n').expect("a line") + 1;
        for cut in first..whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("torn");
            let mut log = EventLog::open(&path).expect("opened");
            assert_eq!(log.last(), 1, "cut at {cut}");
            append(&mut log, 3, state(JobState::Lost));
            drop(log);
            let mut log = EventLog::open(&path).expect("opened");
            assert_eq!(log.told().state, Some((JobState::Lost, None)));
            assert_eq!(log.page(1, 1000).expect("read").len(), 2);
        }
    }
}
