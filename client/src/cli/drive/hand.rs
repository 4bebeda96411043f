//! Driving by keys: a screen, a dead-man's switch, and the machine.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use halyard_protocol::channel::{EstopAction, LeaseState, Severity};
use tokio::{sync::broadcast::error::RecvError, time::MissedTickBehavior};

use super::{
    EVERY, LEASE,
    draw::draw,
    keys::{Keys, Way},
    stop,
    view::View,
};
use crate::{
    cli::{
        exit::CliError,
        output::printable,
        screen::Screen,
        session::{Context, remark},
    },
    session::{DriveError, Session, SessionError, SessionEvent},
};

/// How long a goodbye may take: the machine stops by itself without it.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// It is down, or down still.
    Steer(Way),
    /// It came up.
    Up(Way),
    LetGo,
    Estop,
    Clear,
    /// Tenths of the machine's speed.
    Share(u8),
    /// Ask for the controls, or give them back.
    Controls,
    Leave,
    /// Ctrl-C, which the terminal does not make a signal of meanwhile.
    Interrupt,
    Nothing,
}

type Asked<'a> = Pin<Box<dyn Future<Output = Result<u64, DriveError>> + 'a>>;
type Saying<'a> = Pin<Box<dyn Future<Output = Result<(), SessionError>> + 'a>>;

/// Drives until the user leaves.
pub(super) async fn run(context: &Context<'_>, session: &Session) -> Result<(), CliError> {
    let mut screen = Screen::take()?;
    screen.tell_of_keys_that_come_up();
    let _hushed = context.hush();
    let machine = session.worker().map(|worker| worker.to_string()).unwrap_or_default();
    let limits = session.hello().and_then(|hello| hello.drive);
    let mut wheel = Wheel {
        session,
        view: View::new(&machine, limits),
        keys: Keys::default(),
        asked: None,
        saying: None,
    };
    wheel.ask();
    let result = wheel.drive(context, &mut screen).await;
    if let Some(lease) = wheel.view.number() {
        let _ = tokio::time::timeout(GOODBYE, stop(session, lease)).await;
    }
    result
}

struct Wheel<'a> {
    session: &'a Session,
    view: View,
    keys: Keys,
    /// The controls were asked for.
    asked: Option<Asked<'a>>,
    /// The e-stop or the end of the lease, on its way.
    saying: Option<Saying<'a>>,
}

impl Wheel<'_> {
    async fn drive(&mut self, context: &Context<'_>, screen: &mut Screen) -> Result<(), CliError> {
        let session = self.session;
        let (mut events, mut lease) = (session.events(), session.lease());
        let changed = session.changed();
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                // The hand on the keys goes before everything.
                biased;
                event = screen.event() => {
                    if !self.pressed(meant(&event?), context) {
                        return Ok(());
                    }
                }
                said = say(&mut self.saying) => {
                    self.saying = None;
                    if let Err(error) = said {
                        self.tell("error", &error.to_string(), true);
                    }
                }
                _ = tick.tick() => {
                    self.steer();
                    self.look(&changed.borrow());
                    let (view, now) = (&self.view, Instant::now());
                    screen.draw(|frame| draw(frame, view, now))?;
                }
                answer = ask(&mut self.asked) => {
                    (self.asked, self.view.asks) = (None, false);
                    if let Err(error) = answer {
                        self.tell("controls", &error.to_string(), true);
                    }
                }
                Ok(()) = lease.changed() => {
                    let state = lease.borrow_and_update().clone();
                    self.lease_is(state);
                }
                event = events.recv() => match event {
                    Ok(event) => self.take(&event),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(session.ended().await.into()),
                }
            }
        }
    }

    /// Whether to go on.
    fn pressed(&mut self, does: Does, context: &Context<'_>) -> bool {
        match does {
            Does::Steer(way) => {
                self.keys.heard(Instant::now(), way);
                if self.view.number().is_none() && self.view.other().is_none() {
                    self.ask();
                }
                self.steer();
            }
            Does::Up(way) => {
                self.keys.up(way);
                self.steer();
            }
            Does::LetGo => {
                self.keys.let_go();
                self.steer();
            }
            Does::Estop => {
                self.keys.let_go();
                self.say_estop(EstopAction::Press);
            }
            Does::Clear => self.say_estop(EstopAction::Clear),
            Does::Share(tenths) => self.view.set_share(tenths),
            Does::Controls if self.view.number().is_some() => {
                self.keys.let_go();
                self.steer();
                let session = self.session;
                self.saying = Some(Box::pin(async move { session.release_lease().await }));
            }
            Does::Controls => self.ask(),
            Does::Leave => return false,
            Does::Interrupt => context.stop.cancel(),
            Does::Nothing => {}
        }
        true
    }

    /// Tells the machine where the keys are.
    fn steer(&mut self) {
        let stick = self.keys.stick(Instant::now());
        let asked = stick.map(|stick| self.view.speeds(stick));
        self.view.asked = asked.filter(|_| self.view.number().is_some());
        if let Some(lease) = self.view.number() {
            let (linear, angular) = asked.unwrap_or_default();
            self.session.drive(lease, linear, angular, asked.is_some());
        }
    }

    fn ask(&mut self) {
        if self.asked.is_none() {
            let session = self.session;
            self.view.asks = true;
            self.asked = Some(Box::pin(async move { session.request_lease(LEASE).await }));
        }
    }

    fn say_estop(&mut self, action: EstopAction) {
        let session = self.session;
        self.saying = Some(Box::pin(async move { session.estop(action).await }));
    }

    fn look(&mut self, changed: &std::collections::BTreeMap<String, serde_json::Value>) {
        let stopped = changed.get("stopped").and_then(|rule| rule.as_str());
        let estop = changed.get("estop").and_then(serde_json::Value::as_bool).unwrap_or(false);
        self.view.changed(Instant::now(), stopped, estop);
        self.view.picture = self.session.picture_age();
    }

    fn lease_is(&mut self, state: Option<LeaseState>) {
        let had = self.view.number().is_some();
        self.view.lease = state;
        match (had, self.view.number()) {
            (false, Some(number)) => {
                self.tell("lease", &format!("you drive, number {number}"), false);
            }
            (true, None) => {
                // A key that is still down must not drive when the controls come back.
                self.keys.let_go();
                let who = self.view.other().map(|other| format!("; {other} drives"));
                let words = format!("you do not drive any more{}", who.unwrap_or_default());
                self.tell("lease", &words, who_is_bad(&self.view));
            }
            _ => {}
        }
    }

    fn take(&mut self, event: &SessionEvent) {
        match event {
            SessionEvent::Telemetry(told) => self.view.report(&told.value),
            SessionEvent::Notice(notice) => {
                let is_bad = notice.severity != Severity::Info;
                self.tell(&notice.code, &notice.message, is_bad);
            }
            SessionEvent::Estop { latched: true, by } => {
                let by = by.as_ref().map(|by| printable(by.as_str()));
                let words =
                    by.as_ref().map_or_else(|| "pressed".into(), |by| format!("pressed by {by}"));
                (self.view.estop, self.view.estop_by) = (true, by);
                self.tell("estop", &words, true);
            }
            SessionEvent::Estop { latched: false, .. } => {
                (self.view.estop, self.view.estop_by) = (false, None);
                self.tell("estop", "cleared; the machine may move again", false);
            }
            SessionEvent::Connected { hello, again: true, .. } => {
                (self.view.trouble, self.view.limits) = (None, hello.drive);
                self.tell("connection", "connected again", false);
            }
            SessionEvent::Heard => self.view.trouble = None,
            SessionEvent::Disconnected { .. } => {
                self.view.lease = None;
                self.keys.let_go();
                self.view.trouble = remark(event);
            }
            SessionEvent::Silent | SessionEvent::Bye { .. } => self.view.trouble = remark(event),
            _ => {}
        }
    }

    fn tell(&mut self, code: &str, words: &str, is_bad: bool) {
        self.view.tell(Instant::now(), code, words, is_bad);
    }
}

/// The controls went to somebody else, and were not given back.
fn who_is_bad(view: &View) -> bool {
    view.other().is_some()
}

async fn say(saying: &mut Option<Saying<'_>>) -> Result<(), SessionError> {
    match saying {
        Some(saying) => saying.await,
        None => std::future::pending().await,
    }
}

async fn ask(asked: &mut Option<Asked<'_>>) -> Result<u64, DriveError> {
    match asked {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}

fn meant(event: &Event) -> Does {
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else {
        // A terminal that is not looked at hears of no key that comes up.
        return if *event == Event::FocusLost { Does::LetGo } else { Does::Nothing };
    };
    if let Some(way) = way(*code).filter(|_| !modifiers.contains(KeyModifiers::CONTROL)) {
        let is_up = *kind == KeyEventKind::Release;
        return if is_up { Does::Up(way) } else { Does::Steer(way) };
    }
    if *kind != KeyEventKind::Press {
        return Does::Nothing;
    }
    match code {
        KeyCode::Char('c' | 'd') if modifiers.contains(KeyModifiers::CONTROL) => Does::Interrupt,
        KeyCode::Char(' ') => Does::LetGo,
        KeyCode::Char('e' | 'E') => Does::Estop,
        KeyCode::Char('c' | 'C') => Does::Clear,
        KeyCode::Char('l' | 'L') => Does::Controls,
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Does::Leave,
        KeyCode::Char('0') => Does::Share(10),
        KeyCode::Char(digit) => {
            digit.to_digit(10).and_then(|n| u8::try_from(n).ok()).map_or(Does::Nothing, Does::Share)
        }
        _ => Does::Nothing,
    }
}

fn way(code: KeyCode) -> Option<Way> {
    Some(match code {
        KeyCode::Char('w' | 'W') | KeyCode::Up => Way::Forward,
        KeyCode::Char('s' | 'S') | KeyCode::Down => Way::Back,
        KeyCode::Char('a' | 'A') | KeyCode::Left => Way::Left,
        KeyCode::Char('d' | 'D') | KeyCode::Right => Way::Right,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(code: KeyCode, modifiers: KeyModifiers) -> Does {
        meant(&Event::Key(KeyEvent::new(code, modifiers)))
    }

    #[test]
    fn keys_mean_what_the_screen_says() {
        let plain = |c| pressed(KeyCode::Char(c), KeyModifiers::NONE);
        assert_eq!([plain('w'), plain('A')], [Way::Forward, Way::Left].map(Does::Steer));
        assert_eq!([plain(' '), plain('e'), plain('c')], [Does::LetGo, Does::Estop, Does::Clear]);
        assert_eq!([plain('3'), plain('0')], [Does::Share(3), Does::Share(10)]);
        assert_eq!(
            [plain('l'), plain('q'), plain('x')],
            [Does::Controls, Does::Leave, Does::Nothing]
        );
        for c in ['c', 'd'] {
            assert_eq!(pressed(KeyCode::Char(c), KeyModifiers::CONTROL), Does::Interrupt);
        }
        assert_eq!(pressed(KeyCode::Down, KeyModifiers::NONE), Does::Steer(Way::Back));
        assert_eq!(meant(&Event::FocusLost), Does::LetGo);
        assert_eq!(meant(&Event::Resize(80, 24)), Does::Nothing);
        let up =
            KeyEvent::new_with_kind(KeyCode::Char('w'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(meant(&Event::Key(up)), Does::Up(Way::Forward));
    }
}
