//! A session's task: what comes from the peer, from the broker and from the machine, in one place.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use halyard_client::{
    peer::{Peer, PeerEvent, PeerState},
    transfer::{Serving, Transfer, Transfers},
};
use halyard_protocol::{
    channel::{
        Ack, Bye, Changed, Command, Estop, EstopAction, JobErrorCode, Lane, LeaseState, Listen,
        Message, Notice, Severity, Talk, Watch,
    },
    ids::PeerId,
};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    CONNECT_WITHIN, Dismissed, Ended, FromSession, MEND_WITHIN, Start, ToSession,
    hello::{self, NO_FILES, NO_JOBS, SoundWords},
    peer_config,
    sound::{Hearing, carry_voice},
    speaker::{NotReading, Speaker},
    video::{Places, Unplayable},
    viewer::Viewer,
};
use crate::{
    existing::{Around, Existing, SPEAKER},
    host::HostLoad,
    jobs::refused,
    machine::{News, Standing, Telemetry, Values, difference},
    sound::{Direction, Sound, SoundEvent, SpeakerHandle},
};

/// Answers to commands that one peer may wait for.
const MOST_PENDING: usize = 64;

/// A peer that keeps saying what cannot be understood hears so once in this long.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// What goes on all the time is said so often.
const COMPLAIN_RARELY: Duration = Duration::from_mins(1);

/// How often a viewer is told how its path looks from here.
const TELL_STATS: Duration = Duration::from_secs(1);

/// How long a goodbye may take to be handed over.
const GOODBYE: Duration = Duration::from_millis(500);

/// How long files may take to be closed.
const CLOSE_FILES: Duration = Duration::from_secs(5);

pub(super) struct Task {
    start: Start,
    inbox: mpsc::Receiver<ToSession>,
}

impl Task {
    pub(super) fn new(start: Start, inbox: mpsc::Receiver<ToSession>) -> Self {
        Self { start, inbox }
    }

    pub(super) async fn run(self) -> Ended {
        let Self { start, mut inbox } = self;
        let (peer, number) = (start.asker.peer.clone(), start.number);
        let reason = match Peer::answerer(peer_config(&start)).await {
            Ok((connection, mut events)) => {
                let mut live = Live::new(start, connection);
                let end = live.run(&mut inbox, &mut events).await;
                let reason = end.to_string();
                live.end(&end, events).await;
                reason
            }
            Err(error) => {
                let reason = error.to_string();
                tracing::error!(%peer, %error, "cannot serve a peer");
                let to = peer.clone();
                let _ = start.out.send(FromSession::NoAnswer { to, reason: reason.clone() }).await;
                reason
            }
        };
        tracing::info!(%peer, %reason, "session ended");
        Ended { peer, number, reason }
    }
}

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the worker is stopping")]
    Stopped,
    #[error(transparent)]
    Dismissed(Dismissed),
    #[error("the peer came back on another connection")]
    Replaced,
    #[error("the peer left: {0}")]
    Left(String),
    #[error("the connection is closed")]
    Closed,
    #[error("no connection came about")]
    NeverConnected,
    #[error("the connection was lost")]
    Lost,
    #[error(transparent)]
    NotReading(#[from] NotReading),
    #[error("its offer cannot be answered: {0}")]
    BadOffer(String),
}

/// A session with a connection.
struct Live {
    start: Start,
    peer: Peer,
    speaker: Speaker,
    transfers: Transfers,
    started: mpsc::Receiver<Transfer>,
    bulk: AbortOnDropHandle<()>,
    places: Places,
    unplayable: mpsc::Receiver<Unplayable>,
    hearing: Hearing,
    voice: Option<AbortOnDropHandle<()>>,
    talker: Option<watch::Receiver<Option<PeerId>>>,
    stats_due: tokio::time::Interval,
    existing: Option<Box<Existing>>,
    greeted: bool,
    answered: bool,
    was_connected: bool,
    /// It is on its way out, and the machine knows.
    has_ended: bool,
    give_up_at: Option<tokio::time::Instant>,
    standing: watch::Receiver<Standing>,
    telemetry: watch::Receiver<Telemetry>,
    host: watch::Receiver<Arc<HostLoad>>,
    news: broadcast::Receiver<News>,
    reliable: watch::Receiver<Values>,
    /// What the peer knows of the reliable values.
    known: Values,
    pending: JoinSet<Ack>,
    /// Answers about jobs; those about events may take long.
    asked: JoinSet<Message>,
    complained: HashMap<&'static str, Instant>,
}

impl Live {
    fn new(start: Start, peer: Peer) -> Self {
        let serving = match &start.shared.files {
            Some(root) => {
                Serving::folder(Arc::new(root.clone()), &start.asker.peer, start.asker.access)
            }
            None => Serving::nothing(NO_FILES),
        };
        let (transfers, started) = Transfers::new(Arc::new(peer.clone()), serving);
        let bulk = carry_bulk(peer.clone(), transfers.clone());
        let bulk = AbortOnDropHandle::new(tokio::spawn(bulk));
        let machine = &start.shared.machine;
        let viewer = Viewer::new(&peer, machine.standing(), start.asker.peer.clone());
        let (places, unplayable) = Places::new(start.shared.tracks.clone(), viewer);
        Self {
            speaker: Speaker::new(peer.clone()),
            transfers,
            started,
            bulk,
            places,
            unplayable,
            hearing: Hearing::new(start.shared.sound.clone()),
            voice: start
                .shared
                .speaker
                .as_ref()
                .filter(|_| start.may_talk())
                .map(|speaker| carry_voice(&peer, &start.asker.peer, speaker)),
            talker: start.shared.speaker.as_ref().map(SpeakerHandle::talker),
            stats_due: stats_due(),
            existing: None,
            greeted: false,
            answered: false,
            was_connected: false,
            has_ended: false,
            give_up_at: Some(tokio::time::Instant::now() + CONNECT_WITHIN),
            standing: machine.standing(),
            telemetry: machine.telemetry(),
            host: start.shared.host.watch(),
            news: machine.news(),
            reliable: machine.reliable(),
            known: Values::default(),
            pending: JoinSet::new(),
            asked: JoinSet::new(),
            complained: HashMap::new(),
            peer,
            start,
        }
    }

    async fn run(
        &mut self,
        inbox: &mut mpsc::Receiver<ToSession>,
        events: &mut mpsc::Receiver<PeerEvent>,
    ) -> End {
        let (stop, replaced) = (self.start.stop.clone(), self.start.replaced.clone());
        let dismissed = self.start.dismissed.clone();
        loop {
            let give_up_at = self.give_up_at;
            let choice_due = self.places.due().map(tokio::time::Instant::from_std);
            let result = tokio::select! {
                // Being told to end comes first; then the peer, whose words may be an e-stop; then
                // what it is owed; telemetry, of which only the latest counts, last.
                biased;

                () = replaced.cancelled() => Err(End::Replaced),
                () = stop.cancelled() => Err(End::Stopped),
                why = dismissed.dismissed() => Err(End::Dismissed(why)),
                () = self.peer.pressed() => self.pressed().await,
                event = events.recv() => match event {
                    Some(event) => self.event(event).await,
                    None => Err(End::Closed),
                },
                told = inbox.recv() => match told {
                    Some(told) => self.told(told).await,
                    None => Err(End::Stopped),
                },
                Some(Ok(ack)) = self.pending.join_next() => self.say(Message::Ack(ack)),
                Some(Ok(answer)) = self.asked.join_next() => self.say(answer),
                Ok(()) = changed(&mut self.talker) => self.tell_talker(),
                Ok(()) = self.standing.changed() => self.tell_standing(),
                Ok(()) = self.reliable.changed() => self.tell_changed(),
                Some(unplayable) = self.unplayable.recv() => {
                    self.complain_rarely("codec_unsupported", unplayable.to_string())
                }
                news = self.news.recv() => self.tell_news(news),
                Some(transfer) = self.started.recv() => {
                    tracing::info!(
                        peer = %self.start.asker.peer, file = %transfer.name(),
                        direction = ?transfer.direction(), "transfer"
                    );
                    Ok(())
                }
                () = sleep_until(choice_due) => {
                    self.places.follow(Instant::now());
                    self.show_video()
                }
                lines = overdue(&mut self.existing) => self.say_existing(lines),
                _ = self.stats_due.tick() => {
                    self.tell_stats();
                    Ok(())
                }
                () = sleep_until(give_up_at) => {
                    Err(if self.was_connected { End::Lost } else { End::NeverConnected })
                }
                Ok(()) = self.telemetry.changed() => {
                    self.tell_telemetry();
                    Ok(())
                }
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    /// Whatever the way out: first the machine stops, then words, then the connection.
    async fn end(mut self, end: &End, mut events: mpsc::Receiver<PeerEvent>) {
        self.leave_machine();
        self.has_ended = true;
        self.places.end();
        self.hearing.end();
        self.voice = None;
        self.bulk.abort();
        // Events that nobody takes would hold up the connection's own goodbye.
        let drain = tokio::spawn(async move { while events.recv().await.is_some() {} });
        if let Some(existing) = self.existing.take() {
            existing.close().await;
            if let End::Dismissed(why) = end {
                let _ = self.speaker.say_legacy(format!("{SPEAKER} {why}"));
            }
        }
        let polite = matches!(end, End::Stopped | End::Dismissed(_) | End::Replaced);
        if polite && self.greeted {
            let _ = self.say(Message::Bye(Bye { reason: end.to_string() }));
        }
        // Who has no rights any more does not keep its connection until a disk has answered.
        let hasty = matches!(end, End::Dismissed(why) if why.takes_rights());
        if !hasty {
            self.close_files().await;
        }
        self.speaker.finish(GOODBYE).await;
        self.peer.close().await;
        if hasty {
            self.close_files().await;
        }
        drain.abort();
    }

    async fn close_files(&self) {
        if tokio::time::timeout(CLOSE_FILES, self.transfers.close()).await.is_err() {
            tracing::warn!(peer = %self.start.asker.peer, "files of a session are still open");
        }
    }

    /// What the peer drove stops; but not what the same peer drives on its next connection. A peer
    /// that was sent away, or has other rights by now, takes nothing along to its next one.
    fn leave_machine(&self) {
        if !self.start.replaced.is_cancelled() || self.start.dismissed.why().is_some() {
            self.start.shared.machine.left(self.start.asker.clone());
            if let Some(speaker) = &self.start.shared.speaker {
                speaker.release(&self.start.asker.peer);
            }
        }
    }

    fn say(&self, message: Message) -> Result<(), End> {
        Ok(self.speaker.say(message)?)
    }

    async fn told(&mut self, told: ToSession) -> Result<(), End> {
        match told {
            ToSession::Offer(sdp) => match self.peer.accept_offer(&sdp).await {
                Ok(sdp) => {
                    let to = self.start.asker.peer.clone();
                    self.answered = true;
                    self.out(FromSession::Answer { to, sdp }).await;
                    self.show_video()
                }
                Err(error) => {
                    let (to, reason) = (self.start.asker.peer.clone(), error.to_string());
                    self.out(FromSession::NoAnswer { to, reason: reason.clone() }).await;
                    // A connection survives a bad change of itself.
                    if self.answered { Ok(()) } else { Err(End::BadOffer(reason)) }
                }
            },
            ToSession::IceServers(servers) => {
                if let Err(error) = self.peer.set_ice_servers(servers).await {
                    tracing::debug!(peer = %self.start.asker.peer, %error, "ICE servers");
                }
                Ok(())
            }
            ToSession::Choose(choice) => self.watch(&choice),
            ToSession::Candidate(candidate) => {
                if let Err(error) = self.peer.add_candidate(candidate).await {
                    tracing::debug!(peer = %self.start.asker.peer, %error, "a candidate");
                }
                Ok(())
            }
        }
    }

    async fn event(&mut self, event: PeerEvent) -> Result<(), End> {
        let is_word = !matches!(event, PeerEvent::State(_) | PeerEvent::KeyframeRequested(_));
        if self.start.watches_only && is_word {
            return Ok(());
        }
        match event {
            PeerEvent::LocalCandidate(candidate) => {
                let to = self.start.asker.peer.clone();
                self.out(FromSession::Candidate { to, candidate }).await;
            }
            PeerEvent::State(state) => return self.state(state).await,
            PeerEvent::LaneOpen(Lane::Control) => return self.greet(),
            // A closed tab closes its lanes before anything else is known of it.
            PeerEvent::LaneClosed(Lane::Control) => {
                return Err(End::Left("it closed the connection".into()));
            }
            PeerEvent::LaneOpen(_) | PeerEvent::LaneClosed(_) => {}
            PeerEvent::Text(lane, text) => return self.heard(lane, &text).await,
            PeerEvent::LegacyOpen(label) => return self.greet_existing(&label),
            PeerEvent::LegacyText(text) => {
                if let Some(existing) = &mut self.existing {
                    let lines = existing.text(text).await;
                    return self.say_existing(lines);
                }
            }
            PeerEvent::LegacyBinary(bytes) => {
                if let Some(existing) = &mut self.existing {
                    let lines = existing.binary(bytes).await;
                    return self.say_existing(lines);
                }
            }
            PeerEvent::LegacyClosed => return Err(End::Left("it closed its channel".into())),
            PeerEvent::KeyframeRequested(place) => self.places.request_keyframe(place),
        }
        Ok(())
    }

    fn greet_existing(&mut self, label: &str) -> Result<(), End> {
        let Start { shared, asker, own_id, .. } = &self.start;
        tracing::info!(peer = %asker.peer, label = shortened(label), "an existing client, everything on one channel");
        let around = Around {
            peer: self.peer.clone(),
            asker: asker.clone(),
            own_id: own_id.clone(),
            root: shared.files.clone(),
            jobs: shared.jobs.clone(),
            common: shared.existing.clone(),
        };
        let (existing, first) = Existing::new(around, label);
        self.existing = Some(Box::new(existing));
        self.say_existing(first)
    }

    fn say_existing(&self, lines: Vec<String>) -> Result<(), End> {
        lines.into_iter().try_for_each(|line| Ok(self.speaker.say_legacy(line)?))
    }

    async fn state(&mut self, state: PeerState) -> Result<(), End> {
        let peer = &self.start.asker.peer;
        tracing::info!(%peer, %state, "connection");
        match state {
            PeerState::New | PeerState::Connecting => {}
            PeerState::Connected => {
                self.give_up_at = None;
                if !self.was_connected {
                    self.was_connected = true;
                    self.out(FromSession::Connected(peer.clone())).await;
                }
                self.show_video()?;
            }
            PeerState::Disconnected { .. } | PeerState::Failed { .. } => {
                // It may be mended, but who cannot be heard does not drive.
                self.leave_machine();
                if self.give_up_at.is_none() {
                    self.give_up_at = Some(tokio::time::Instant::now() + MEND_WITHIN);
                }
            }
            PeerState::Closed => return Err(End::Closed),
        }
        Ok(())
    }

    /// Starts the pictures once the peer has agreed to some and can be reached, and says so.
    fn show_video(&mut self) -> Result<(), End> {
        self.hearing.update(&self.peer);
        match self.places.show(&self.peer) {
            Some(shown) if self.greeted => self.say(Message::Watch(shown)),
            _ => Ok(()),
        }
    }

    /// The peer wants to speak, or lets go; it hears who speaks then.
    fn talk(&mut self, on: bool) -> Result<(), End> {
        let peer = self.start.asker.peer.clone();
        let Some(speaker) = self.start.shared.speaker.clone() else {
            let text = "this machine has no speaker; its owner gives it one with --speaker";
            return self.complain("no_speaker", text.to_owned());
        };
        if !self.start.may_talk() {
            let text = "speaking at the machine needs the operator's link";
            return self.complain("forbidden", text.to_owned());
        }
        if !on {
            speaker.release(&peer);
        } else if let Err(taken) = speaker.ask(&peer) {
            self.complain("talk_taken", taken.to_string())?;
        }
        let talker = speaker.talker().borrow().clone();
        self.say(self.talking(talker))
    }

    fn talking(&self, talker: Option<PeerId>) -> Message {
        let you = talker.as_ref() == Some(&self.start.asker.peer);
        Message::Talk(Talk::State { talker, you })
    }

    fn tell_talker(&mut self) -> Result<(), End> {
        let told = self.talker.as_mut().map(|talker| talker.borrow_and_update().clone());
        match told {
            Some(talker) if self.greeted => self.say(self.talking(talker)),
            _ => Ok(()),
        }
    }

    /// The peer chooses its pictures, and hears what it is shown.
    fn watch(&mut self, choice: &Watch) -> Result<(), End> {
        if let Err(unknown) = self.places.choose(choice, Instant::now()) {
            self.complain("unknown_track", unknown.to_string())?;
            return self.say(Message::Watch(self.places.watch()));
        }
        let shown = self.places.show(&self.peer);
        if !self.greeted {
            return Ok(());
        }
        // What changes nothing is answered too; what waits is answered when it is followed.
        match shown.or_else(|| self.places.due().is_none().then(|| self.places.watch())) {
            Some(shown) => self.say(Message::Watch(shown)),
            None => Ok(()),
        }
    }

    fn greet(&mut self) -> Result<(), End> {
        let shared = &self.start.shared;
        let hello = hello::hello(
            &self.start.own_id,
            self.start.asker.access,
            shared.machine.facts(),
            shared.tracks.infos(),
            SoundWords { listen: shared.sound.is_some(), talk: self.start.may_talk() },
            self.transfers.info(),
            shared.jobs.is_some(),
        );
        self.say(Message::Hello(Box::new(hello)))?;
        self.greeted = true;
        self.places.show(&self.peer);
        self.say(Message::Watch(self.places.watch()))?;
        let standing = self.standing.borrow_and_update().clone();
        self.say(self.lease(&standing))?;
        self.say(estop(&standing))?;
        let schema = self.start.shared.machine.facts().schema.clone();
        self.say(Message::TelemetrySchema(schema))?;
        self.tell_changed()?;
        let troubles = self.start.shared.tracks.troubles();
        troubles.into_iter().try_for_each(|notice| self.say(Message::Notice(notice)))?;
        if let Some(reason) = self.start.shared.sound.as_ref().and_then(Sound::trouble) {
            let notice = SoundEvent::Lost { reason }.notice(Direction::Heard);
            self.say(Message::Notice(notice))?;
        }
        self.tell_talker()
    }

    fn lease(&self, standing: &Standing) -> Message {
        let you = standing.holder.as_ref() == Some(&self.start.asker.peer);
        let (holder, number) = (standing.holder.clone(), standing.number);
        Message::LeaseState(LeaseState { holder, number, you })
    }

    fn tell_standing(&mut self) -> Result<(), End> {
        let standing = self.standing.borrow_and_update().clone();
        if !self.greeted {
            return Ok(());
        }
        self.say(self.lease(&standing))?;
        self.say(estop(&standing))
    }

    fn tell_news(&mut self, news: Result<News, broadcast::error::RecvError>) -> Result<(), End> {
        let me = &self.start.asker.peer;
        match news {
            Ok(news) if self.greeted && news.to.as_ref().is_none_or(|to| to == me) => {
                if news.to.is_some() && news.notice.code == crate::drive::Rule::Lease.as_str() {
                    // Who is refused the lease wants to know who has it.
                    let standing = self.standing.borrow().clone();
                    self.say(self.lease(&standing))?;
                }
                self.say(Message::Notice(news.notice))
            }
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(peer = %me, %error, "notices were lost");
                Ok(())
            }
        }
    }

    /// How its path looks from here.
    fn tell_stats(&self) {
        let Some(stats) = self.places.stats(self.peer.packets_repaired()) else { return };
        if self.greeted
            && let Err(error) = self.peer.try_send_lossy(Lane::State, &Message::Stats(stats))
        {
            tracing::trace!(%error, "stats");
        }
    }

    /// What must not be missed and is new to the peer.
    fn tell_changed(&mut self) -> Result<(), End> {
        let now = self.reliable.borrow_and_update().clone();
        if !self.greeted {
            return Ok(());
        }
        let values = difference(&self.known, &now);
        self.known = now;
        if values.is_empty() {
            return Ok(());
        }
        let stamp = self.start.shared.machine.facts().born.elapsed().as_millis() as u64;
        self.say(Message::Changed(Changed { stamp, values }))
    }

    fn tell_telemetry(&mut self) {
        let mut telemetry = self.telemetry.borrow_and_update().to_value();
        if !self.greeted {
            return;
        }
        // The computer is looked at less often than the machine; its news rides along.
        if self.host.has_changed().unwrap_or(false)
            && let Some(telemetry) = telemetry.as_object_mut()
        {
            let operator = self.start.asker.access.may_operate();
            let host = self.host.borrow_and_update().to_value(operator);
            telemetry.insert("host".to_owned(), host);
        }
        if let Err(error) = self.peer.try_send_lossy(Lane::State, &Message::Telemetry(telemetry)) {
            tracing::trace!(%error, "telemetry");
        }
    }

    async fn heard(&mut self, lane: Lane, text: &str) -> Result<(), End> {
        let message = match Message::decode(text) {
            Ok(message) => message,
            Err(error) => return self.complain("bad_message", error.to_string()),
        };
        let Some(message) = self.transfers.message(message) else { return Ok(()) };
        let machine = self.start.shared.machine.clone();
        let asker = self.start.asker.clone();
        match message {
            Message::Drive(drive) => machine.drive(asker, drive),
            Message::Estop(Estop::Ask { action }) => {
                machine.estop(asker, action).await;
                // A second press changes nothing, and is still answered.
                return self.say(estop(&self.standing.borrow().clone()));
            }
            Message::LeaseRequest(_) if machine.facts().limits.is_none() => {
                let text = "this machine cannot be driven: its worker has no driver (--driver)";
                return self.complain("not_drivable", text.to_owned());
            }
            Message::LeaseRequest(request) => {
                let standing = self.standing.borrow().clone();
                machine.lease(asker.clone(), request).await;
                if standing.holder.as_ref() == Some(&asker.peer) {
                    return self.say(self.lease(&standing));
                }
            }
            Message::Listen(Listen { on }) => {
                self.hearing.want(on);
                self.hearing.update(&self.peer);
            }
            Message::Talk(Talk::Ask { on }) => return self.talk(on),
            Message::Watch(choice) => return self.watch(&choice),
            Message::Command(command) => return self.command(command).await,
            message @ (Message::JobSubmit(_)
            | Message::JobList(_)
            | Message::JobEventsFrom(_)
            | Message::JobStop(_)
            | Message::JobCancel(_)) => return self.job(message),
            Message::Hello(hello) => {
                tracing::info!(peer = %asker.peer, agent = shortened(&hello.agent), "hello");
            }
            Message::Bye(bye) => return Err(End::Left(shortened(&bye.reason).to_owned())),
            Message::Unknown { prefix, .. } => {
                let prefix = shortened(&prefix).to_owned();
                let text = format!("{prefix:?} is not known here, see HELLO for what is offered");
                return self.complain("unknown_message", text);
            }
            // Words of a worker, said to one.
            other => tracing::debug!(peer = %asker.peer, %lane, ?other, "not for a worker"),
        }
        Ok(())
    }

    async fn command(&mut self, command: Command) -> Result<(), End> {
        let id = command.id.clone();
        if self.pending.len() >= MOST_PENDING {
            let text = format!("{MOST_PENDING} of your commands wait already; try again later");
            return self.say(Message::Ack(Ack::failed(id, "failed", text)));
        }
        let machine = &self.start.shared.machine;
        let answer = machine.command(self.start.asker.clone(), command).await;
        self.pending.spawn(async move {
            let lost = "the machine is stopping or has too much to do; try again";
            answer.await.unwrap_or_else(|_| Ack::failed(id, "failed", lost))
        });
        Ok(())
    }

    /// A question about jobs. It is answered when it is answered, and holds up nothing.
    fn job(&mut self, message: Message) -> Result<(), End> {
        let Some(jobs) = self.start.shared.jobs.clone() else {
            return self.say(refused(&message, JobErrorCode::Disabled, NO_JOBS));
        };
        if self.asked.len() >= MOST_PENDING {
            let words = format!("{MOST_PENDING} of your questions wait already; ask later");
            return self.say(refused(&message, JobErrorCode::TooMany, &words));
        }
        let asker = self.start.asker.clone();
        self.asked.spawn(async move { jobs.ask(asker, message).await });
        Ok(())
    }

    /// The e-stop, before everything else that this peer has said.
    async fn pressed(&mut self) -> Result<(), End> {
        let asker = self.start.asker.clone();
        self.start.shared.machine.estop(asker, EstopAction::Press).await;
        // A second press changes nothing, and is still answered.
        self.say(estop(&self.standing.borrow().clone()))
    }

    fn complain(&mut self, code: &'static str, message: String) -> Result<(), End> {
        self.complain_at_most(COMPLAIN_EVERY, code, message)
    }

    /// What does not change by itself is said rarely.
    fn complain_rarely(&mut self, code: &'static str, message: String) -> Result<(), End> {
        self.complain_at_most(COMPLAIN_RARELY, code, message)
    }

    fn complain_at_most(
        &mut self,
        spacing: Duration,
        code: &'static str,
        message: String,
    ) -> Result<(), End> {
        let now = Instant::now();
        let told = self.complained.get(code);
        if told.is_some_and(|told| now.duration_since(*told) < spacing) {
            return Ok(());
        }
        self.complained.insert(code, now);
        self.say(Message::Notice(Notice::new(Severity::Warning, code, message)))
    }

    async fn out(&self, said: FromSession) {
        // The agent ends its sessions before itself, so a closed queue is the end anyway.
        let _ = self.start.out.send(said).await;
    }
}

/// Also when the session panics.
impl Drop for Live {
    fn drop(&mut self) {
        // Once is enough: by the end of a goodbye the peer may drive on another connection.
        if !self.has_ended {
            self.leave_machine();
        }
    }
}

/// File bytes have a task of their own: it may wait for the disk, the session may not.
async fn carry_bulk(peer: Peer, transfers: Transfers) {
    while let Some(chunk) = peer.recv_bulk().await {
        transfers.chunk(chunk).await;
    }
}

fn estop(standing: &Standing) -> Message {
    let latched = standing.latched_by.is_some();
    let by: Option<PeerId> = standing.latched_by.clone().or_else(|| standing.cleared_by.clone());
    Message::Estop(Estop::State { latched, by })
}

/// What a peer said of itself, no longer than a line of a log and nothing but one line.
fn shortened(text: &str) -> &str {
    let mut chars = text.char_indices().enumerate();
    let end = chars.find(|(count, (_, c))| *count == 80 || c.is_control());
    &text[..end.map_or(text.len(), |(_, (at, _))| at)]
}

async fn overdue(existing: &mut Option<Box<Existing>>) -> Vec<String> {
    match existing {
        Some(existing) => existing.overdue().await,
        None => std::future::pending().await,
    }
}

/// Something else is said; never where nothing is.
async fn changed<T>(told: &mut Option<watch::Receiver<T>>) -> Result<(), watch::error::RecvError> {
    match told {
        Some(told) => told.changed().await,
        None => std::future::pending().await,
    }
}

/// The first time at once, then evenly, however late a session is.
fn stats_due() -> tokio::time::Interval {
    let mut interval = tokio::time::interval(TELL_STATS);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}

async fn sleep_until(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn what_a_peer_says_cannot_begin_a_line_of_the_log() {
        assert_eq!(shortened("closed\n2026-01-01 ERROR all is lost"), "closed");
        assert_eq!(shortened("\u{1b}[2J"), "");
        assert_eq!(shortened(&"ä".repeat(100)), "ä".repeat(80));
        assert_eq!(shortened("closed by the user"), "closed by the user");
    }
}
