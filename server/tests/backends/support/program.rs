//! A child that ends with the test.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Instant,
};

use super::SOON;

/// A running program. Killed when it goes out of scope, also when the test fails.
pub(crate) struct Program {
    pub(crate) child: Child,
    said: Arc<(Mutex<Said>, Condvar)>,
}

#[derive(Default)]
struct Said {
    text: String,
    over: bool,
}

impl Program {
    /// Starts it and listens to what it says on stderr. `install` says what to do where it is not
    /// there.
    pub(crate) fn start(mut command: Command, install: &str) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap_or_else(|error| panic!("{name}: {error}; {install}"));
        let stderr = child.stderr.take().expect("asked for");
        let said: Arc<(Mutex<Said>, Condvar)> = Arc::default();
        let listening = Arc::clone(&said);
        thread::spawn(move || {
            let mut lines = BufReader::new(stderr);
            let mut line = Vec::new();
            while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
                let (said, changed) = &*listening;
                said.lock().expect("no panic").text.push_str(&String::from_utf8_lossy(&line));
                changed.notify_all();
                line.clear();
            }
            listening.0.lock().expect("no panic").over = true;
            listening.1.notify_all();
        });
        Self { child, said }
    }

    /// Everything it said until now.
    pub(crate) fn said(&self) -> String {
        self.said.0.lock().expect("no panic").text.clone()
    }

    /// What follows `mark` on its line, once it says that.
    pub(crate) fn wait_for(&self, mark: &str) -> String {
        let until = Instant::now() + SOON;
        let (said, changed) = &*self.said;
        let mut said = said.lock().expect("no panic");
        loop {
            if let Some((_, rest)) = said.text.split_once(mark)
                && let Some((rest, _)) = rest.split_once('\n')
            {
                return rest.trim_end().to_owned();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!said.over && !left.is_zero(), "it never said {mark:?}:\n{}", said.text);
            said = changed.wait_timeout(said, left).expect("no panic").0;
        }
    }

    /// Waits until it ends by itself; its exit code and everything it said.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let until = Instant::now() + SOON;
        let (said, changed) = &*self.said;
        let mut now = said.lock().expect("no panic");
        while !now.over {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it does not end:\n{}", now.text);
            now = changed.wait_timeout(now, left).expect("no panic").0;
        }
        let text = now.text.clone();
        drop(now);
        (self.child.wait().expect("a child").code(), text)
    }

    /// Ends it as a power cut would: without a chance to put anything away.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}
