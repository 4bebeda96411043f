//! The process beside a job's program: `halyard-worker keep-job DIR`.
//!
//! It starts the program in a process group of its own, writes down what it prints, passes on
//! wishes to end, and writes down how it ended. It lives on when the worker dies: so nothing is
//! lost, and the worker that comes next finds out the truth.
//!
//! In the folder: `run.json` says what to do; `lock` is held while the keeper lives; `process.json`
//! says who it is; `stdout.log` and `stderr.log` are what the program wrote; `exit.json` is how it
//! ended. SIGINT to the keeper interrupts the program; SIGTERM makes it end: SIGTERM to the whole
//! group, and after five seconds SIGKILL. Whatever of its descendants is left then is killed too,
//! also those that left the group.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, Write},
    os::unix::{
        fs::{DirBuilderExt, OpenOptionsExt},
        process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, kill_process_group, set_child_subreaper, wait,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

/// Between the wish and the end.
pub const KILL_AFTER: Duration = Duration::from_secs(5);

/// What the program has written by its end is taken within this time; its descendants may hold the
/// pipes open for longer.
const DRAIN: Duration = Duration::from_secs(2);

/// Output leaves this much of the disk free: how a job ended must find room, and other programs too.
const RESERVE: u64 = 64 * 1024 * 1024;

/// The disk is looked at after so much output.
const CHECK_EVERY: u64 = 4 * 1024 * 1024;

/// What the keeper is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// The most that is kept of each of its two outputs, in bytes.
    pub most_output: u64,
}

/// Who keeps a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The keeper.
    pub keeper: i32,
    /// The program, which leads its group.
    pub program: i32,
    /// When the program started, in clock ticks since the machine did: with the number it names
    /// one process.
    pub program_since: u64,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its code, or
    pub code: Option<i32>,
    /// the signal that ended it.
    pub signal: Option<i32>,
    /// It never began, and why.
    #[serde(default)]
    pub not_started: Option<String>,
    /// Bytes of standard output and standard error that were beyond the most.
    #[serde(default)]
    pub left_out: (u64, u64),
}

/// The files of a job that keeper and worker share.
pub mod file {
    /// What to do.
    pub const RUN: &str = "run.json";
    /// Held while the keeper lives.
    pub const LOCK: &str = "lock";
    /// Who it is.
    pub const PROCESS: &str = "process.json";
    /// How it ended.
    pub const EXIT: &str = "exit.json";
    /// What the program wrote.
    pub const STDOUT: &str = "stdout.log";
    /// What it complained about.
    pub const STDERR: &str = "stderr.log";
}

/// Starts a keeper, which does this in this folder.
pub fn start(program: &Path, dir: &Path, run: &Run) -> io::Result<Child> {
    write_json(dir, file::RUN, run)?;
    Command::new(program)
        .arg("keep-job")
        .arg(dir)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Keeps the job of this folder until it is over.
pub fn main(dir: &Path) -> io::Result<()> {
    let lock = File::create(dir.join(file::LOCK))?;
    match lock.try_lock() {
        Ok(()) => {}
        // The worker has given this job up, or another keeper has it.
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if dir.join(file::EXIT).exists() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exit = runtime.block_on(keep(dir)).unwrap_or_else(|error| Exit {
        code: None,
        signal: None,
        not_started: Some(error.to_string()),
        left_out: (0, 0),
    });
    // Whoever still holds a pipe of the program is not waited for.
    runtime.shutdown_background();
    write_json(dir, file::EXIT, &exit)
}

async fn keep(dir: &Path) -> io::Result<Exit> {
    let run: Run = read_json(dir, file::RUN)?;
    // Before there is a program: a wish to end must not end the keeper.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    // Descendants whose parents die become the keeper's, so that none escapes.
    set_child_subreaper(Some(rustix::process::getpid()))?;
    let stdout = File::create(dir.join(file::STDOUT))?;
    let stderr = File::create(dir.join(file::STDERR))?;
    let (program, arguments) =
        run.argv.split_first().ok_or_else(|| io::Error::other("there is no program to run"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(&run.env)
        .current_dir(&run.cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| {
            io::Error::new(error.kind(), format!("{program} does not start: {error}"))
        })?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let group = pid.ok_or_else(|| io::Error::other("the program has no process number"))?;
    let program = group.as_raw_nonzero().get();
    write_json(
        dir,
        file::PROCESS,
        &Process {
            keeper: rustix::process::getpid().as_raw_nonzero().get(),
            program,
            program_since: started(program).unwrap_or_default(),
        },
    )?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let mut out = tokio::spawn(write_down(out, stdout, run.most_output));
    let mut err = tokio::spawn(write_down(err, stderr, run.most_output));
    let mut kill_at = None;
    let mut ended = None;
    let status = loop {
        tokio::select! {
            biased;
            status = child.wait(), if ended.is_none() => {
                let status = status?;
                // A wish to end is for all of them: they have their five seconds.
                if kill_at.is_none() || !group_lives(group) {
                    break status;
                }
                ended = Some(status);
            }
            _ = interrupt.recv() => {
                let _ = kill_process_group(group, Signal::INT);
            }
            _ = terminate.recv() => {
                let _ = kill_process_group(group, Signal::TERM);
                kill_at.get_or_insert(tokio::time::Instant::now() + KILL_AFTER);
            }
            // The terminal that the worker ran in is none of the job's business.
            _ = hangup.recv() => {}
            () = until(kill_at) => {
                let _ = kill_process_group(group, Signal::KILL);
                match ended.take() {
                    Some(status) => break status,
                    None => break child.wait().await?,
                }
            }
            () = tokio::time::sleep(Duration::from_millis(50)), if ended.is_some() => {
                // Children that were handed over are reaped, or the group would seem to live.
                while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
                if !group_lives(group)
                    && let Some(status) = ended.take()
                {
                    break status;
                }
            }
        }
    };
    kill_leftovers(group);
    let drained =
        tokio::time::timeout(DRAIN, async { (left_out(&mut out).await, left_out(&mut err).await) });
    Ok(Exit {
        code: status.code(),
        signal: status.signal(),
        not_started: None,
        left_out: drained.await.unwrap_or_default(),
    })
}

async fn until(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

async fn left_out(task: &mut tokio::task::JoinHandle<io::Result<u64>>) -> u64 {
    task.await.ok().and_then(Result::ok).unwrap_or_default()
}

/// Writes down what comes, up to the most; takes and counts what is beyond, so that the program
/// never waits for somebody to read.
async fn write_down(
    pipe: Option<impl AsyncRead + Unpin>,
    mut file: File,
    most: u64,
) -> io::Result<u64> {
    let Some(mut pipe) = pipe else { return Ok(0) };
    let mut buffer = vec![0; 64 * 1024];
    let (mut written, mut left_out) = (0_u64, 0_u64);
    let (mut unchecked, mut has_room) = (CHECK_EVERY, true);
    loop {
        let read = pipe.read(&mut buffer).await?;
        if read == 0 {
            return Ok(left_out);
        }
        let fits = usize::try_from(most - written).unwrap_or(usize::MAX).min(read);
        if unchecked >= CHECK_EVERY {
            unchecked = 0;
            has_room = free(&file).is_none_or(|free| free > RESERVE);
        }
        // A disk that is full must not stop the program: the rest is left out.
        let kept = if has_room && file.write_all(&buffer[..fits]).is_ok() { fits } else { 0 };
        written += kept as u64;
        unchecked += read as u64;
        left_out += (read - kept) as u64;
    }
}

/// Bytes that are free on a file's disk for those who are not root.
fn free(file: &File) -> Option<u64> {
    let stat = rustix::fs::fstatvfs(file).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn group_lives(group: Pid) -> bool {
    rustix::process::test_kill_process_group(group).is_ok()
}

/// Ends what is left of the program: its group, and the children that became the keeper's.
fn kill_leftovers(group: Pid) {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    // A child that is killed hands its own children over, so this may take several rounds.
    for _ in 0..100 {
        let _ = kill_process_group(group, Signal::KILL);
        let children = children_of(me);
        if children.is_empty() {
            return;
        }
        for child in children {
            if let Some(pid) = Pid::from_raw(child) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        std::thread::sleep(Duration::from_millis(10));
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
    }
}

fn children_of(parent: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| stat(pid).is_some_and(|stat| stat.parent == parent)).collect()
}

struct Stat {
    parent: i32,
    started: u64,
}

/// The parent and the start of a process, as `/proc` says.
fn stat(pid: i32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, started: fields.get(19)?.parse().ok()? })
}

/// When a process started, in clock ticks since the machine did; `None` when there is none.
pub fn started(pid: i32) -> Option<u64> {
    stat(pid).map(|stat| stat.started)
}

/// Ends a program whose keeper is gone.
pub fn kill_orphan(process: &Process) {
    if started(process.program) == Some(process.program_since)
        && let Some(group) = Pid::from_raw(process.program)
    {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Passes a wish on to a keeper that is known to live.
pub fn tell(process: &Process, end: bool) {
    if let Some(pid) = Pid::from_raw(process.keeper) {
        let _ = kill_process(pid, if end { Signal::TERM } else { Signal::INT });
    }
}

/// What became of a job's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Its keeper lives.
    Kept,
    /// It ended.
    Ended(Exit),
    /// Nobody saw how it ended. Nothing of it is left.
    Gone,
}

/// Whether a keeper was ever started for this folder.
pub fn began(dir: &Path) -> bool {
    dir.join(file::RUN).exists()
}

/// Whether its keeper lives.
pub fn lives(dir: &Path) -> bool {
    let lock = fs::OpenOptions::new().write(true).open(dir.join(file::LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Finds out about a program whose keeper somebody else started. When the keeper is gone without
/// a word, what is left of its program is killed, and a keeper that is only about to begin will
/// not.
pub fn fate(dir: &Path) -> io::Result<Fate> {
    let lock = File::create(dir.join(file::LOCK))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Fate::Kept),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if let Ok(exit) = read_json::<Exit>(dir, file::EXIT) {
        return Ok(Fate::Ended(exit));
    }
    if let Ok(process) = read_json::<Process>(dir, file::PROCESS) {
        kill_orphan(&process);
    }
    let given_up = Exit { code: None, signal: None, not_started: None, left_out: (0, 0) };
    write_json(dir, file::EXIT, &given_up)?;
    Ok(Fate::Gone)
}

/// Makes a folder that nobody else on this computer looks into: what a job is told and what it
/// prints may hold its owner's secrets.
pub fn make_private(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a file whole or not at all, durably, and for its owner's eyes alone.
pub fn write_json(dir: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let draft = dir.join(format!("{name}.new"));
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    serde_json::to_writer(&mut file, value).map_err(io::Error::other)?;
    file.sync_all()?;
    fs::rename(draft, dir.join(name))?;
    File::open(dir)?.sync_all()
}

/// Reads such a file.
pub fn read_json<T: DeserializeOwned>(dir: &Path, name: &str) -> io::Result<T> {
    serde_json::from_slice(&fs::read(dir.join(name))?).map_err(io::Error::other)
}
