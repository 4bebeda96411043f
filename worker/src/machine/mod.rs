//! The one owner of the gate and the driver.
//!
//! Sessions ask, the machine decides: every message that could move something goes through one
//! queue into one task, which holds the [`Gate`](crate::drive::Gate) and the
//! [`Driver`] and lets nobody else near them. The e-stop and the loss of a
//! peer have a queue of their own that is always served first.
//!
//! Nobody is waited for: standing facts (who drives, e-stop, telemetry) are latest-wins, notices
//! are dropped for a session that does not keep up, and answers to commands are futures.

mod budget;
mod ledger;
mod reliable;
mod task;
mod telemetry;

use std::{sync::Arc, time::Instant};

use halyard_protocol::{
    access::Access,
    channel::{
        Ack, ActionSpec, Command, Drive, DriveLimits, EstopAction, LeaseRequest, Notice,
        TelemetrySchema,
    },
    ids::PeerId,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub use reliable::{Values, difference, own_fields};
use serde_json::Value;
pub use telemetry::Telemetry;

use crate::{
    drive::{Input, Rules},
    driver::Driver,
};

/// Asks that wait. At fifty turns a second and twenty messages a second from each of some fifty
/// peers this is many times what a turn finds.
const ASKS: usize = 256;

/// Notices that a session may be behind before it loses some.
const NEWS: usize = 64;

/// Entries of the journal that a reader may be behind before it loses some.
const JOURNAL: usize = 256;

/// A running machine. Dropping it stops the machine without waiting.
#[derive(Debug)]
pub struct Machine {
    handle: MachineHandle,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Asks the machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MachineHandle {
    asks: mpsc::Sender<Ask>,
    urgent: mpsc::Sender<Ask>,
    news: broadcast::Sender<News>,
    standing: watch::Receiver<Standing>,
    telemetry: watch::Receiver<Telemetry>,
    reliable: watch::Receiver<Values>,
    journal: broadcast::Sender<Entry>,
    facts: Arc<Facts>,
}

/// What does not change while the machine runs.
#[derive(Debug)]
pub struct Facts {
    /// What drives it.
    pub driver: String,
    /// Its limits; `None` when it cannot be driven.
    pub limits: Option<DriveLimits>,
    /// What can be asked of it.
    pub actions: Vec<ActionSpec>,
    /// What its telemetry means.
    pub schema: TelemetrySchema,
    /// Where stamps count from.
    pub born: Instant,
}

/// Who drives, and whether anything may move: latest wins, never lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Who drives.
    pub holder: Option<PeerId>,
    /// The lease's number.
    pub number: u64,
    /// Who pressed the e-stop, while it is latched.
    pub latched_by: Option<PeerId>,
    /// Who cleared it last.
    pub cleared_by: Option<PeerId>,
}

/// A notice on its way to one peer or to everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// For whom; `None` is everybody.
    pub to: Option<PeerId>,
    /// What.
    pub notice: Notice,
}

/// Something that happened at the machine, for who writes it down.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// What: an object that names its `event`.
    pub what: Value,
}

/// Who asks, and what the broker says they may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// Their name in the room.
    pub peer: PeerId,
    /// Their rights.
    pub access: Access,
}

#[derive(Debug)]
enum Ask {
    Gate(Asker, Input),
    Command {
        asker: Asker,
        command: Command,
        arrived: Instant,
        reply: oneshot::Sender<Ack>,
    },
    Picture(Option<String>),
    /// Everything before this in the queue was said by a peer that left, as was told urgently.
    Gone(PeerId),
}

impl Ask {
    /// Who asks, where it is a peer.
    fn peer(&self) -> Option<&PeerId> {
        match self {
            Self::Gate(asker, _) | Self::Command { asker, .. } => Some(&asker.peer),
            Self::Picture(_) | Self::Gone(_) => None,
        }
    }
}

impl Machine {
    /// Starts the machine's task. It goes by these rules.
    pub fn start(driver: Box<dyn Driver>, rules: Rules) -> Self {
        let (asks, asked) = mpsc::channel(ASKS);
        let (urgent, urgently) = mpsc::channel(ASKS);
        let (news, _) = broadcast::channel(NEWS);
        let (journal, _) = broadcast::channel(JOURNAL);
        let (standing, stands) = watch::channel(Standing::default());
        let (telemetry, tells) = watch::channel(Telemetry::default());
        let (reliable, relies) = watch::channel(Values::default());
        let born = Instant::now();
        let facts = Arc::new(Facts {
            driver: driver.name().to_owned(),
            limits: driver.limits().map(|_| rules.told()),
            actions: driver.actions().into_iter().map(|action| action.spec).collect(),
            schema: TelemetrySchema { fields: reliable::schema(driver.fields()) },
            born,
        });
        let stop = CancellationToken::new();
        let out = task::Out {
            news: news.clone(),
            journal: journal.clone(),
            standing,
            telemetry,
            reliable,
        };
        let task = task::Task::new(driver, rules, born, out);
        let task = tokio::spawn(task.run(asked, urgently, stop.clone()));
        let handle = MachineHandle {
            asks,
            urgent,
            news,
            standing: stands,
            telemetry: tells,
            reliable: relies,
            journal,
            facts,
        };
        Self { handle, stop, task }
    }

    /// A handle for a session.
    pub fn handle(&self) -> MachineHandle {
        self.handle.clone()
    }

    /// Stops the machine itself, then its task, and waits for it.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the machine's task ended badly");
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The task stops the driver on its way out; it does not have to be waited for.
        self.stop.cancel();
    }
}

impl MachineHandle {
    /// What does not change.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Who drives and whether anything may move.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// How the machine is, twenty times a second.
    pub fn telemetry(&self) -> watch::Receiver<Telemetry> {
        self.telemetry.clone()
    }

    /// What of its state must not be missed: latest wins, and whoever reads it late reads it whole.
    pub fn reliable(&self) -> watch::Receiver<Values> {
        self.reliable.clone()
    }

    /// What happens at the machine from now on, for who writes it down.
    pub fn journal(&self) -> broadcast::Receiver<Entry> {
        self.journal.subscribe()
    }

    /// What people should know, from now on.
    pub fn news(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// Tells everybody something that did not come from the gate.
    pub fn tell(&self, notice: Notice) {
        // Nobody listening is nobody told, and no error.
        let _ = self.news.send(News { to: None, notice });
    }

    /// Passes a `DRIVE::` on. Never waits: when the queue is full the message is lost, as on the
    /// lane it came by.
    pub fn drive(&self, asker: Asker, drive: Drive) {
        if self.asks.try_send(Ask::Gate(asker, Input::Drive(drive))).is_err() {
            tracing::debug!("a drive message was lost, the machine has too much to do");
        }
    }

    /// Passes a `CONTROL_LEASE::` on.
    pub async fn lease(&self, asker: Asker, request: LeaseRequest) {
        let _ = self.asks.send(Ask::Gate(asker, Input::Lease(request))).await;
    }

    /// Passes an `ESTOP::` on, before everything else.
    pub async fn estop(&self, asker: Asker, action: EstopAction) {
        let _ = self.urgent.send(Ask::Gate(asker, Input::Estop(action))).await;
    }

    /// The picture shows something else than the machine (why), or the machine again. Before
    /// everything else.
    pub async fn picture(&self, trouble: Option<String>) {
        let _ = self.urgent.send(Ask::Picture(trouble)).await;
    }

    /// The peer left or its connection is lost: what it drove stops, and what it asked for and was
    /// not begun is not begun any more. Before everything else, and without waiting, so that it can
    /// be said on any way out.
    pub fn left(&self, asker: Asker) {
        let peer = asker.peer.clone();
        surely(&self.urgent, Ask::Gate(asker, Input::Left));
        surely(&self.asks, Ask::Gone(peer));
    }

    /// Waits until the machine's task has ended.
    pub async fn ended(&self) {
        let mut standing = self.standing.clone();
        while standing.changed().await.is_ok() {}
    }

    /// Gives a command. The answer comes by itself; dropping it does not call the command off.
    pub async fn command(&self, asker: Asker, command: Command) -> oneshot::Receiver<Ack> {
        let (reply, answer) = oneshot::channel();
        let arrived = Instant::now();
        let _ = self.asks.send(Ask::Command { asker, command, arrived, reply }).await;
        answer
    }
}

/// Sends what must not be lost. The watchdog stops the machine in any case; but a lease that stayed
/// taken by somebody who is gone would lock everybody else out.
fn surely(queue: &mpsc::Sender<Ask>, ask: Ask) {
    if let Err(mpsc::error::TrySendError::Full(ask)) = queue.try_send(ask) {
        let queue = queue.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { queue.send(ask).await });
        } else {
            tracing::error!("the machine did not hear that a peer left: it has too much to do");
        }
    }
}
