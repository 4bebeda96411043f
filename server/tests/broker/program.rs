//! The program itself, as a child of the test.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::SOON;

/// The program, running. Killed when dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) addr: SocketAddr,
    /// Where operators look.
    pub(crate) admin: SocketAddr,
    /// Its log so far, and the rest once it has ended.
    log: Option<std::thread::JoinHandle<String>>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    pub(crate) fn start(data_dir: &Path, log: &str) -> Self {
        Self::start_with(data_dir, log, &[])
    }

    pub(crate) fn start_with(data_dir: &Path, log: &str, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_halyard-server"))
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--log-format", "json", "--data-dir"])
            .arg(data_dir)
            .args(more)
            .env("HALYARD_LOG", log)
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut before = String::new();
        let mut said_at = |words: &str| -> SocketAddr {
            loop {
                let line = lines.next().expect("it says where it is").expect("text");
                before.push_str(&line);
                before.push('\n');
                if let Some((_, rest)) = line.split_once(words) {
                    let rest = rest.strip_prefix(" at http://").expect("an address");
                    let end = rest.find('"').expect("the end of the field");
                    return rest[..end].parse().expect("an address");
                }
            }
        };
        let addr = said_at("serving page, REST and WebSocket");
        let admin = said_at("/metrics and /log-level");
        let log = std::thread::spawn(move || {
            lines.map_while(Result::ok).fold(before, |log, line| log + &line + "\n")
        });
        Self { child, addr, admin, log: Some(log) }
    }

    /// `SIGKILL`: no chance to write anything.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        self.rest_of_log()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    /// Waits for its end by itself, and says how it ended and what it logged.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                break status;
            }
            assert!(start.elapsed() < SOON, "it did not end");
            std::thread::sleep(Duration::from_millis(10));
        };
        (status, self.rest_of_log())
    }

    fn rest_of_log(&mut self) -> String {
        self.log.take().expect("read once").join().expect("read")
    }
}
