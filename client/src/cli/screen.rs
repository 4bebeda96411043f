//! The terminal while it is a screen: taken, drawn on, and given back whatever happens.
//!
//! It is given back when a [`Screen`] is dropped, when the program panics, and before the program
//! ends at once ([`give_back`]).

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crossterm::{
    event::{
        DisableFocusChange, EnableFocusChange, Event, EventStream, KeyboardEnhancementFlags,
        PopKeyboardEnhancementFlags, PushKeyboardEnhancementFlags,
    },
    execute,
};
use futures_util::StreamExt;
use ratatui::{DefaultTerminal, Frame};

use super::exit::{CliError, Exit};

/// A screen is not drawn oftener than this: more would only be work.
const BETWEEN: Duration = Duration::from_millis(40);

/// The terminal was asked to tell more.
static TELLS_MORE: AtomicBool = AtomicBool::new(false);

/// The terminal.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    events: EventStream,
    drawn: Option<Instant>,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take() -> Result<Self, CliError> {
        let terminal = ratatui::try_init().map_err(|error| {
            give_back();
            broken(&error)
        })?;
        Ok(Self { terminal, events: EventStream::new(), drawn: None })
    }

    /// Asks the terminal to tell when keys come up and when nobody looks at it. Those that cannot do not
    /// answer.
    #[expect(clippy::unused_self, reason = "only who has the terminal may")]
    pub(super) fn tell_of_keys_that_come_up(&mut self) {
        let flags = KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES
            | KeyboardEnhancementFlags::REPORT_EVENT_TYPES;
        let told = execute!(io::stdout(), PushKeyboardEnhancementFlags(flags), EnableFocusChange);
        TELLS_MORE.store(told.is_ok(), Ordering::Relaxed);
    }

    /// Draws, unless it was drawn a moment ago: then it says how long to wait.
    pub(super) fn draw(
        &mut self,
        draw: impl FnOnce(&mut Frame<'_>),
    ) -> Result<Option<Duration>, CliError> {
        if let Some(wait) = self.drawn.and_then(|at| BETWEEN.checked_sub(at.elapsed()))
            && !wait.is_zero()
        {
            return Ok(Some(wait));
        }
        self.terminal.draw(draw).map_err(|error| broken(&error))?;
        self.drawn = Some(Instant::now());
        Ok(None)
    }

    /// The next key, or that the size changed.
    pub(super) async fn event(&mut self) -> Result<Event, CliError> {
        let event = self.events.next().await;
        let event = event.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
        event.map_err(|error| broken(&error))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back if it was taken.
pub(super) fn give_back() {
    if TELLS_MORE.swap(false, Ordering::Relaxed) {
        let _ = execute!(io::stdout(), PopKeyboardEnhancementFlags, DisableFocusChange);
    }
    if crossterm::terminal::is_raw_mode_enabled().unwrap_or(false) {
        ratatui::restore();
    }
}

/// The terminal cannot be a screen.
fn broken(error: &io::Error) -> CliError {
    let words = format!("the terminal cannot be used ({error}); --plain needs none");
    CliError::new(Exit::Failed, "TERMINAL", words)
}
