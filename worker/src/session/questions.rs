//! What one peer asks and is answered later: commands for the machine, and questions about jobs.
//!
//! An answer comes when it comes and holds up nothing. How many may wait is bounded; who asks more
//! hears that.

use halyard_protocol::channel::{Ack, Command, JobErrorCode, Message};
use tokio::task::JoinSet;

use super::{Start, hello::NO_JOBS};
use crate::{
    jobs::{JobsHandle, refused},
    machine::{Asker, MachineHandle},
};

/// Answers of each kind that one peer may wait for.
const MOST_PENDING: usize = 64;

/// What one peer waits for.
pub(super) struct Questions {
    asker: Asker,
    machine: MachineHandle,
    jobs: Option<JobsHandle>,
    commands: JoinSet<Message>,
    /// Answers about jobs; those about events may take long.
    about_jobs: JoinSet<Message>,
}

impl Questions {
    pub(super) fn new(start: &Start) -> Self {
        Self {
            asker: start.asker.clone(),
            machine: start.shared.machine.clone(),
            jobs: start.shared.jobs.clone(),
            commands: JoinSet::new(),
            about_jobs: JoinSet::new(),
        }
    }

    /// The next answer that is ready; waits while there is none. Cancel safe.
    pub(super) async fn answer(&mut self) -> Message {
        loop {
            tokio::select! {
                biased;

                Some(ack) = self.commands.join_next() => if let Ok(ack) = ack { return ack },
                Some(answer) = self.about_jobs.join_next() => if let Ok(answer) = answer { return answer },
                else => std::future::pending().await,
            }
        }
    }

    /// A command for the machine. Gives the answer where it is known at once.
    pub(super) async fn command(&mut self, command: Command) -> Option<Message> {
        let id = command.id.clone();
        if self.commands.len() >= MOST_PENDING {
            let text = format!("{MOST_PENDING} of your commands wait already; try again later");
            return Some(Message::Ack(Ack::failed(id, "failed", text)));
        }
        let answer = self.machine.command(self.asker.clone(), command).await;
        self.commands.spawn(async move {
            let lost = "the machine is stopping or has too much to do; try again";
            Message::Ack(answer.await.unwrap_or_else(|_| Ack::failed(id, "failed", lost)))
        });
        None
    }

    /// A question about jobs. Gives the answer where it is known at once.
    pub(super) fn job(&mut self, message: Message) -> Option<Message> {
        let Some(jobs) = self.jobs.clone() else {
            return Some(refused(&message, JobErrorCode::Disabled, NO_JOBS));
        };
        if self.about_jobs.len() >= MOST_PENDING {
            let words = format!("{MOST_PENDING} of your questions wait already; ask later");
            return Some(refused(&message, JobErrorCode::TooMany, &words));
        }
        let asker = self.asker.clone();
        self.about_jobs.spawn(async move { jobs.ask(asker, message).await });
        None
    }
}
