//! A job's events on disk: one JSON object a line, numbered from 1.
//!
//! * A change of state is on the disk (`fsync`) before anybody is told of it. Lines and progress
//!   are handed to the system at once, so they survive the worker's death, but not a power cut.
//! * A last line that was torn by a crash is cut off when the log is opened.
//! * It is bounded: beyond [`MOST_BYTES`] no lines of standard output are written, beyond twice that
//!   neither those of standard error nor progress, which a flood must not drown. The program's whole
//!   output is in files of its own.
//!
//! Everything here blocks.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
};

use halyard_protocol::channel::{JobEvent, JobHappened, JobState, JobStream};

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
    /// How often it was said that something is left out from now on.
    full: u8,
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
            full: 0,
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
                    tracing::warn!(
                        at = log.bytes,
                        "the end of a job's log was torn, it is cut off"
                    );
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

    /// Writes an event. `None` when the log is full and the event is only a line or progress.
    pub fn append(&mut self, at_ms: u64, what: JobHappened) -> io::Result<Option<JobEvent>> {
        let (most, step, left_out) = match &what {
            JobHappened::Line { stream: JobStream::Stdout, .. } => (self.most_bytes, 1, "output"),
            JobHappened::Line { .. } | JobHappened::Progress { .. } => {
                (self.most_bytes * 2, 2, "errors and progress")
            }
            _ => return self.write(at_ms, what).map(Some),
        };
        if self.bytes >= most {
            if self.full >= step {
                return Ok(None);
            }
            self.full = step;
            let message =
                format!("the log of events is full: {left_out} are left out from here on");
            let what = JobHappened::Note { code: "log_full".to_owned(), message };
            return self.write(at_ms, what).map(Some);
        }
        self.write(at_ms, what).map(Some)
    }

    fn write(&mut self, at_ms: u64, what: JobHappened) -> io::Result<JobEvent> {
        let event = JobEvent { n: self.last + 1, at_ms, what };
        let mut line = serde_json::to_vec(&event).map_err(io::Error::other)?;
        line.push(b'\n');
        self.file.seek(SeekFrom::Start(self.bytes))?;
        if let Err(error) = self.file.write_all(&line) {
            // Half a line must not stand before the next one.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        if matches!(event.what, JobHappened::State { .. }) {
            self.file.sync_data()?;
        }
        self.noticed(&event);
        self.bytes += line.len() as u64;
        Ok(event)
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
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, to: u64) -> JobHappened {
        let (text, stream) = (text.to_owned(), JobStream::Stdout);
        JobHappened::Line { stream, text, progress: false, to }
    }

    fn state(state: JobState) -> JobHappened {
        JobHappened::State { state, reason: None, exit_code: None }
    }

    #[test]
    fn events_are_numbered_and_read_back_from_any_number() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("events");
        let mut log = EventLog::open(&path).expect("begun");
        log.append(1, state(JobState::Running)).expect("written");
        for n in 2..=1000 {
            log.append(n, line(&format!("line {n}"), n * 10)).expect("written");
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
        let kept = (0..1000)
            .filter(|&n| log.append(n, line(&text, n)).expect("written or left out").is_some());
        assert!((5..30).contains(&kept.count()));
        let error = JobHappened::Line {
            stream: JobStream::Stderr,
            text: "out of memory".to_owned(),
            progress: false,
            to: 14,
        };
        assert!(log.append(1, error.clone()).expect("written").is_some());
        while log.append(1, error.clone()).expect("written or left out").is_some() {}
        assert!(log.bytes < 5000, "{}", log.bytes);
        assert!(log.append(1, state(JobState::Failed)).expect("written").is_some());
        let notes = log.page(1, 100_000).expect("read");
        let full = |event: &&JobEvent| matches!(event.what, JobHappened::Note { .. });
        assert_eq!(notes.iter().filter(full).count(), 2, "each is said once");
    }

    #[test]
    fn a_torn_last_line_is_cut_off_wherever_it_was_torn() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("events");
        let mut log = EventLog::open(&path).expect("begun");
        log.append(1, state(JobState::Queued)).expect("written");
        log.append(2, state(JobState::Running)).expect("written");
        drop(log);
        let whole = std::fs::read(&path).expect("read");
        let first = whole.iter().position(|&byte| byte == b'\n').expect("a line") + 1;
        for cut in first..whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("torn");
            let mut log = EventLog::open(&path).expect("opened");
            assert_eq!(log.last(), 1, "cut at {cut}");
            log.append(3, state(JobState::Lost)).expect("goes on");
            drop(log);
            let mut log = EventLog::open(&path).expect("opened");
            assert_eq!(log.told().state, Some((JobState::Lost, None)));
            assert_eq!(log.page(1, 1000).expect("read").len(), 2);
        }
    }
}
