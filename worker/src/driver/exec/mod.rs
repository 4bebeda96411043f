//! A program of the owner's that speaks to the machine, in any language.
//!
//! It is started with an argument vector and no shell, in a process group of its own, and spoken to
//! in lines of JSON on its standard input and output ([`words`]). A task starts it, watches it
//! ([`health`]), and starts it again when it ends; while it does not follow, the driver has a
//! [fault](Driver::fault) and the gate lets nothing move.
//!
//! Every velocity says for how long it is good. So the machine stands still without this worker too:
//! a program stops it by itself when the next one does not come.

mod health;
mod lines;
mod program;
mod words;

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use halyard_protocol::channel::TelemetryField;
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use self::{program::Program, words::Abilities};
use super::{Action, CommandError, CommandFuture, Driver, DriverState};
use crate::drive::{Limits, Velocity};

/// Commands that wait to be written.
const COMMANDS: usize = 32;

/// How long a program may take to say hello: a robot that boots, a bus that is searched.
pub(super) const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Why a driver program does not start.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It cannot be run at all.
    #[error(
        "cannot start the driver program {program:?}: {source}; --driver takes exec:PROGRAM \
         ARGUMENTS, where PROGRAM is a path or on the PATH"
    )]
    Spawn {
        /// What was typed.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// It ran and did not become a driver.
    #[error(
        "the driver program {program:?} is no driver: {why}; see docs/drivers.md for what it has to \
         say, and the log for what it said"
    )]
    NoDriver {
        /// What was typed.
        program: String,
        /// What was wrong.
        why: String,
    },
}

/// The worker's end of a driver program.
#[derive(Debug)]
pub struct ExecDriver {
    abilities: Arc<Abilities>,
    wish: watch::Sender<Wish>,
    commands: mpsc::Sender<Asked>,
    shown: Arc<Mutex<Shown>>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

/// What the program shall do: the latest counts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Wish {
    velocity: Velocity,
    /// How often it was told to stop as hard as it can.
    stops: u64,
}

/// What is known of the program.
#[derive(Debug, Default)]
struct Shown {
    state: DriverState,
    fault: Option<String>,
}

/// A command on its way to the program.
#[derive(Debug)]
struct Asked {
    name: String,
    args: Value,
    reply: oneshot::Sender<Result<Value, CommandError>>,
}

impl ExecDriver {
    /// Starts this program and waits until it has said hello.
    pub async fn start(command: Vec<String>) -> Result<Self, ExecError> {
        let program = Program::start(command).await?;
        let (wish, wished) = watch::channel(Wish::default());
        let (commands, asked) = mpsc::channel(COMMANDS);
        let shown = Arc::new(Mutex::new(Shown::default()));
        let stop = CancellationToken::new();
        let abilities = program.abilities();
        let task = program.keep(wished, asked, shown.clone(), stop.clone());
        let task = Some(tokio::spawn(task));
        Ok(Self { abilities, wish, commands, shown, stop, task })
    }
}

impl Driver for ExecDriver {
    fn name(&self) -> &str {
        &self.abilities.name
    }

    fn limits(&self) -> Option<Limits> {
        self.abilities.limits
    }

    fn actions(&self) -> Vec<Action> {
        self.abilities.actions.clone()
    }

    fn fields(&self) -> Vec<TelemetryField> {
        self.abilities.fields.clone()
    }

    fn set_velocity(&mut self, velocity: Velocity) {
        self.wish
            .send_if_modified(|wish| std::mem::replace(&mut wish.velocity, velocity) != velocity);
    }

    fn stop(&mut self) {
        self.wish.send_modify(|wish| {
            wish.velocity = Velocity::ZERO;
            wish.stops += 1;
        });
    }

    fn state(&mut self) -> DriverState {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).state.clone()
    }

    fn fault(&mut self) -> Option<String> {
        if self.task.as_ref().is_none_or(JoinHandle::is_finished) {
            return Some("what watched the driver program has ended".to_owned());
        }
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).fault.clone()
    }

    fn command(&mut self, name: &str, args: Value) -> CommandFuture {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { name: name.to_owned(), args, reply };
        let sent = self.commands.try_send(asked);
        Box::pin(async move {
            if sent.is_err() {
                let why = "the driver program has too many commands before this one";
                return Err(CommandError::Failed(why.to_owned()));
            }
            // When this future is dropped the program is told to call it off.
            answer.await.unwrap_or_else(|_| {
                Err(CommandError::Failed("the driver program ended meanwhile".to_owned()))
            })
        })
    }

    fn close(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.stop.cancel();
        let task = self.task.take();
        Box::pin(async move {
            if let Some(task) = task
                && let Err(error) = task.await
            {
                tracing::error!(%error, "what watched the driver program ended badly");
            }
        })
    }
}

impl Drop for ExecDriver {
    fn drop(&mut self) {
        // The task stops and ends the program on its way out.
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_is_being_ended_counts_as_one_that_does_not_follow() {
        let home = tempfile::tempdir().expect("a folder");
        let asked_to_end = home.path().join("asked");
        // It floods, so it is ended, and takes its time over that.
        let script = format!(
            r#"trap ': > {}' TERM; echo '{{"type":"hello","protocol":1,"name":"x"}}'
            i=0; while [ $i -lt 2000 ]; do echo x; i=$((i + 1)); done; while :; do sleep 0.05; done"#,
            asked_to_end.display()
        );
        let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let mut driver = ExecDriver::start(command).await.expect("a driver");
        let ended = async {
            while !asked_to_end.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("it is ended");
        let fault = driver.fault().expect("nobody drives meanwhile");
        assert!(fault.contains("lines a second"), "{fault}");
        driver.close().await;
    }
}
