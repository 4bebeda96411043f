//! The machine and one peer: what the peer makes it do, and what the peer hears of it.

use halyard_protocol::{
    channel::{Changed, Drive, Estop, EstopAction, LeaseRequest, LeaseState, Message},
    ids::PeerId,
};
use tokio::sync::{broadcast, watch};

use super::{
    Start,
    speaker::{NotReading, Speaker},
};
use crate::{
    drive::Rule,
    machine::{Asker, MachineHandle, News, Standing, Values, difference},
};

/// The machine, as one peer has it.
pub(super) struct Helm {
    machine: MachineHandle,
    asker: Asker,
    standing: watch::Receiver<Standing>,
    reliable: watch::Receiver<Values>,
    /// What the peer knows of the reliable values.
    known: Values,
    news: broadcast::Receiver<News>,
}

/// Something that the peer is owed.
#[derive(Debug)]
pub(super) enum Owed {
    Standing,
    Reliable,
    News(Result<News, broadcast::error::RecvError>),
}

impl Helm {
    pub(super) fn new(start: &Start) -> Self {
        let machine = &start.shared.machine;
        Self {
            standing: machine.standing(),
            reliable: machine.reliable(),
            known: Values::default(),
            news: machine.news(),
            machine: machine.clone(),
            asker: start.asker.clone(),
        }
    }

    /// How fast the machine is to move.
    pub(super) fn drive(&self, drive: Drive) {
        self.machine.drive(self.asker.clone(), drive);
    }

    /// A second press changes nothing, and is still answered.
    pub(super) async fn estop(
        &self,
        action: EstopAction,
        speaker: &Speaker,
    ) -> Result<(), NotReading> {
        self.machine.estop(self.asker.clone(), action).await;
        speaker.say(estop(&self.standing.borrow().clone()))
    }

    /// Who has the lease already is told so.
    pub(super) async fn lease(
        &self,
        request: LeaseRequest,
        speaker: &mut Speaker,
    ) -> Result<(), NotReading> {
        if self.machine.facts().limits.is_none() {
            let text = "this machine cannot be driven: its worker has no driver (--driver)";
            return speaker.complain("not_drivable", text.to_owned());
        }
        let standing = self.standing.borrow().clone();
        self.machine.lease(self.asker.clone(), request).await;
        if standing.holder.as_ref() == Some(&self.asker.peer) {
            return speaker.say(self.lease_state(&standing));
        }
        Ok(())
    }

    /// How everything stands, for who was greeted.
    pub(super) fn greet(&mut self, speaker: &Speaker) -> Result<(), NotReading> {
        self.tell_standing(speaker)?;
        speaker.say(Message::TelemetrySchema(self.machine.facts().schema.clone()))?;
        self.tell_reliable(speaker)
    }

    /// Waits until there is something to [`tell`](Self::tell). Cancel safe.
    pub(super) async fn owed(&mut self) -> Owed {
        tokio::select! {
            biased;

            Ok(()) = self.standing.changed() => Owed::Standing,
            Ok(()) = self.reliable.changed() => Owed::Reliable,
            news = self.news.recv() => Owed::News(news),
        }
    }

    /// Tells it, to who was greeted.
    pub(super) fn tell(&mut self, owed: Owed, speaker: &Speaker) -> Result<(), NotReading> {
        match owed {
            Owed::Standing => self.tell_standing(speaker),
            Owed::Reliable => self.tell_reliable(speaker),
            Owed::News(Ok(news)) => self.tell_news(news, speaker),
            Owed::News(Err(error)) => {
                tracing::debug!(peer = %self.asker.peer, %error, "notices were lost");
                Ok(())
            }
        }
    }

    fn tell_standing(&mut self, speaker: &Speaker) -> Result<(), NotReading> {
        let standing = self.standing.borrow_and_update().clone();
        speaker.tell(self.lease_state(&standing))?;
        speaker.tell(estop(&standing))
    }

    fn tell_news(&self, news: News, speaker: &Speaker) -> Result<(), NotReading> {
        if news.to.as_ref().is_some_and(|to| *to != self.asker.peer) {
            return Ok(());
        }
        if news.to.is_some() && news.notice.code == Rule::Lease.as_str() {
            // Who is refused the lease wants to know who has it.
            let standing = self.standing.borrow().clone();
            speaker.tell(self.lease_state(&standing))?;
        }
        speaker.tell(Message::Notice(news.notice))
    }

    /// What must not be missed and is new to the peer.
    fn tell_reliable(&mut self, speaker: &Speaker) -> Result<(), NotReading> {
        let now = self.reliable.borrow_and_update().clone();
        if !speaker.has_greeted() {
            return Ok(());
        }
        let values = difference(&self.known, &now);
        self.known = now;
        if values.is_empty() {
            return Ok(());
        }
        let stamp = self.machine.facts().born.elapsed().as_millis() as u64;
        speaker.tell(Message::Changed(Changed { stamp, values }))
    }

    fn lease_state(&self, standing: &Standing) -> Message {
        let you = standing.holder.as_ref() == Some(&self.asker.peer);
        let (holder, number) = (standing.holder.clone(), standing.number);
        Message::LeaseState(LeaseState { holder, number, you })
    }
}

fn estop(standing: &Standing) -> Message {
    let latched = standing.latched_by.is_some();
    let by: Option<PeerId> = standing.latched_by.clone().or_else(|| standing.cleared_by.clone());
    Message::Estop(Estop::State { latched, by })
}
