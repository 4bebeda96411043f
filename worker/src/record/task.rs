//! The recording's task: pictures, telemetry and events into the files of one part after another.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    RecordStatus,
    mp4::{CLOCK, Format, Fragment},
    shelf::Shelf,
};
use crate::{
    machine::{Entry, MachineHandle, Telemetry},
    media::{EncodedFrame, Fanout},
};

/// A part is closed after this long, or this much, whichever comes first; of a small recording it is
/// an eighth, so that something is left whenever the oldest part goes.
const PART_TIME: Duration = Duration::from_mins(10);
const PART_BYTES: u64 = 64 * 1024 * 1024;
const PARTS: u64 = 8;

/// A fragment holds this much time at most: what a kill costs.
const FRAGMENT: Duration = Duration::from_secs(1);

/// Or this many bytes.
const FRAGMENT_BYTES: usize = 8 * 1024 * 1024;

/// A disk that took nothing is tried again after this long.
const AGAIN: Duration = Duration::from_secs(5);

/// Writes that may wait for the disk: at a fragment a second, some while.
const WRITES: usize = 256;

pub(super) struct Task {
    writer: mpsc::Sender<Job>,
    thread: Option<std::thread::JoinHandle<()>>,
    began: Instant,
    name: String,
    status: std::sync::Arc<watch::Sender<RecordStatus>>,
    fragment: Fragment,
    format: Option<Format>,
    journal: broadcast::Receiver<Entry>,
    telemetry: watch::Receiver<Telemetry>,
    fanout: Option<Fanout>,
    part_began: Instant,
    part_bytes: u64,
    part_max: u64,
}

/// What the disk's thread is told.
enum Job {
    /// A new picture: the file of a part begins with this.
    Picture {
        header: Vec<u8>,
    },
    Fragment {
        fragment: Fragment,
        next: u64,
    },
    Line(String),
    /// A part is over.
    Part,
    End,
}

impl Task {
    pub(super) fn new(
        shelf: Shelf,
        now: SystemTime,
        status: watch::Sender<RecordStatus>,
        machine: &MachineHandle,
        fanout: Option<Fanout>,
    ) -> Self {
        let (writer, writes) = mpsc::channel(WRITES);
        let part_max = PART_BYTES.min(shelf.most() / PARTS);
        let began = Instant::now();
        let name = fanout.as_ref().map_or_else(|| "none".to_owned(), |fanout| fanout.info().name);
        let status = std::sync::Arc::new(status);
        let first = json!({
            "t": 0.0, "kind": "start",
            "time": humantime::format_rfc3339_millis(now).to_string(),
            "stamp": began.saturating_duration_since(machine.facts().born).as_millis() as u64,
            "driver": machine.facts().driver, "schema": machine.facts().schema,
        });
        let disk = Disk {
            shelf,
            part: 0,
            name: name.clone(),
            header: None,
            video: None,
            lines: None,
            first: first.to_string(),
            number: 0,
            part_max,
            status: status.clone(),
            broken_at: None,
        };
        let thread = std::thread::Builder::new()
            .name("recording".to_owned())
            .spawn(move || disk.run(writes))
            .inspect_err(|error| tracing::error!(%error, "no thread for the recording"))
            .ok();
        Self {
            writer,
            thread,
            began,
            name,
            status,
            fragment: Fragment::default(),
            format: None,
            journal: machine.journal(),
            telemetry: machine.telemetry(),
            fanout,
            part_began: began,
            part_bytes: 0,
            part_max,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut subscription = self.fanout.as_ref().map(Fanout::subscribe);
        let mut wants_key = false;
        loop {
            tokio::select! {
                biased;

                () = stop.cancelled() => break,
                entry = self.journal.recv() => match entry {
                    Ok(entry) => self.line("event", entry.at, &entry.what),
                    Err(broadcast::error::RecvError::Lagged(missed)) => self.lose(missed),
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                frame = next(subscription.as_mut()) => match frame {
                    Some(frame) => {
                        if self.is_over() && !wants_key {
                            wants_key = true;
                            if let Some(subscription) = &subscription {
                                subscription.request_keyframe();
                            }
                        }
                        if frame.is_key && (wants_key || self.is_over()) {
                            wants_key = false;
                            self.new_part();
                        }
                        self.frame(&frame);
                    }
                    None => subscription = None,
                },
                Ok(()) = self.telemetry.changed() => {
                    let told = self.telemetry.borrow_and_update().to_value();
                    self.line("telemetry", Instant::now(), &told);
                    // Without pictures nothing else ends a part.
                    if self.is_over() && (subscription.is_none() || self.is_overdue()) {
                        wants_key = false;
                        self.new_part();
                    }
                }
            }
        }
        self.flush(Instant::now());
        // The last words wait for the disk, but not for ever.
        let _ = tokio::time::timeout(AGAIN, self.writer.send(Job::End)).await;
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join());
            if tokio::time::timeout(AGAIN, joined).await.is_err() {
                tracing::error!("the disk does not take the end of the recording");
            }
        }
        let files = self.status.borrow().files.clone();
        tracing::info!(name = %self.name, ?files, "the recording ended");
    }

    fn is_over(&self) -> bool {
        self.part_began.elapsed() >= PART_TIME || self.part_bytes >= self.part_max
    }

    /// No key frame came to begin the next part with.
    fn is_overdue(&self) -> bool {
        self.part_began.elapsed() >= 2 * PART_TIME || self.part_bytes >= 2 * self.part_max
    }

    fn new_part(&mut self) {
        self.flush(Instant::now());
        self.write(Job::Part);
        self.part_began = Instant::now();
        self.part_bytes = 0;
        self.format = None;
    }

    fn frame(&mut self, frame: &EncodedFrame) {
        let at = self.ticks(frame.captured);
        if frame.is_key {
            let format = Format::of(&frame.data);
            if format != self.format || self.format.is_none() {
                let Some(format) = format else { return };
                if self.format.is_some() {
                    self.new_part();
                }
                match format.header() {
                    Ok(header) => self.write(Job::Picture { header }),
                    Err(error) => tracing::error!(%error, "the recording's header"),
                }
                self.format = Some(format);
            }
        }
        // Nothing can be made of pictures before a key frame.
        if self.format.is_none() {
            return;
        }
        let long = self.fragment.begins().is_some_and(|first| {
            at.saturating_sub(first) >= FRAGMENT.as_millis() as u64 * CLOCK / 1000
        });
        if long || self.fragment.bytes() >= FRAGMENT_BYTES {
            self.flush(frame.captured);
        }
        self.fragment.push(at, frame.is_key, &frame.data);
    }

    fn flush(&mut self, next: Instant) {
        if self.fragment.begins().is_none() {
            return;
        }
        let fragment = std::mem::take(&mut self.fragment);
        self.part_bytes += fragment.bytes() as u64;
        let next = self.ticks(next);
        self.write(Job::Fragment { fragment, next });
    }

    fn line(&mut self, kind: &str, at: Instant, what: &Value) {
        let t = at.saturating_duration_since(self.began).as_secs_f64();
        let line = json!({ "t": (t * 1e4).round() / 1e4, "kind": kind, "what": what }).to_string();
        self.part_bytes += line.len() as u64;
        self.write(Job::Line(line));
    }

    fn ticks(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began);
        (since.as_micros() as u64) * CLOCK / 1_000_000
    }

    /// Never waits for the disk.
    fn write(&self, what: Job) {
        if self.writer.try_send(what).is_err() {
            self.lose(1);
        }
    }

    fn lose(&self, count: u64) {
        self.status.send_modify(|status| status.lost += count);
    }
}

async fn next(subscription: Option<&mut crate::media::Subscription>) -> Option<EncodedFrame> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}

/// The disk's own thread: it alone waits for it.
struct Disk {
    shelf: Shelf,
    part: u32,
    name: String,
    header: Option<Vec<u8>>,
    video: Option<(PathBuf, File)>,
    lines: Option<(PathBuf, File)>,
    first: String,
    number: u32,
    part_max: u64,
    status: std::sync::Arc<watch::Sender<RecordStatus>>,
    broken_at: Option<Instant>,
}

impl Disk {
    fn run(mut self, mut writes: mpsc::Receiver<Job>) {
        while let Some(write) = writes.blocking_recv() {
            if matches!(write, Job::End) {
                return;
            }
            if self.broken_at.is_some_and(|at| at.elapsed() < AGAIN) {
                self.keep_header(&write);
                self.status.send_modify(|status| status.lost += 1);
                continue;
            }
            match self.write(write) {
                Ok(()) => {
                    if self.broken_at.take().is_some() {
                        tracing::info!("recording goes on");
                        self.status.send_modify(|status| status.trouble = None);
                    }
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    /// What a file begins with is needed again when the disk takes something again.
    fn keep_header(&mut self, write: &Job) {
        match write {
            Job::Picture { header } => self.header = Some(header.clone()),
            Job::Part => self.close(),
            _ => {}
        }
    }

    fn close(&mut self) {
        self.video = None;
        self.lines = None;
        self.header = None;
    }

    fn failed(&mut self, error: &io::Error) {
        if self.broken_at.is_none() {
            tracing::error!(%error, "recording stopped; driving goes on, and recording is tried again");
        }
        self.broken_at = Some(Instant::now());
        // Half a fragment may be in the file: what follows begins a new one.
        self.video = None;
        self.lines = None;
        let trouble = format!("{error}: nothing is recorded until the disk takes something again");
        self.status.send_modify(|status| {
            status.lost += 1;
            status.trouble = Some(trouble);
        });
    }

    fn write(&mut self, write: Job) -> io::Result<()> {
        match write {
            Job::Part => self.close(),
            Job::Picture { header } => {
                self.header = Some(header);
                self.video = None;
            }
            Job::Fragment { mut fragment, next } => {
                let Some(header) = self.header.clone() else { return Ok(()) };
                if self.video.is_none() {
                    self.video = Some(self.begin("mp4", &header)?);
                    self.number = 0;
                    self.show();
                }
                self.number += 1;
                let bytes = fragment.finish(self.number, next).map_err(io::Error::other)?;
                if let Some((path, mut file)) = self.video.take() {
                    self.count(&mut file, &bytes)?;
                    self.video = Some((path, file));
                }
            }
            Job::Line(line) => {
                if self.lines.is_none() {
                    let first = format!("{}\n", self.first);
                    self.lines = Some(self.begin("jsonl", first.as_bytes())?);
                    self.show();
                }
                if let Some((path, mut file)) = self.lines.take() {
                    self.count(&mut file, format!("{line}\n").as_bytes())?;
                    self.lines = Some((path, file));
                }
            }
            Job::End => {}
        }
        Ok(())
    }

    /// A new file that begins with this, and room for it.
    fn begin(&mut self, kind: &str, head: &[u8]) -> io::Result<(PathBuf, File)> {
        let busy: Vec<_> = self.files();
        let removed = self.shelf.make_room(self.part_max, &busy)?;
        if removed > 0 {
            tracing::info!(removed, "the oldest recordings made room");
        }
        // Files of one part share its number; a file that begins within a part has a new one. A clock
        // that was set back may have brought an earlier recording of the same moment.
        if busy.is_empty() {
            self.part += 1;
        }
        while self.shelf.path(self.part, &self.name, kind).exists() {
            self.part += 1;
        }
        let path = self.shelf.path(self.part, &self.name, kind);
        let mut file = self.shelf.create(&path)?;
        let begun = self.count(&mut file, head);
        // A disk that stays full for days is not filled with the beginnings of files.
        begun.inspect_err(|_: &io::Error| drop(std::fs::remove_file(&path)))?;
        Ok((path, file))
    }

    fn files(&self) -> Vec<PathBuf> {
        [&self.video, &self.lines].into_iter().flatten().map(|(path, _)| path.clone()).collect()
    }

    fn show(&self) {
        let files = self.files();
        self.status.send_modify(|status| status.files = files);
    }

    fn count(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)?;
        self.status.send_modify(|status| status.bytes += bytes.len() as u64);
        Ok(())
    }
}
