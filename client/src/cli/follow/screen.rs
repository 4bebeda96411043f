//! The terminal while it is a screen: taken, drawn on, and given back whatever happens.
//!
//! It is given back when a [`Screen`] is dropped, when the program panics, and before the program
//! ends at once ([`give_back`]).

use std::{
    io,
    time::{Duration, Instant},
};

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt;
use ratatui::DefaultTerminal;

use super::{
    draw::draw,
    view::{Key, View},
};

/// A screen is not drawn oftener than this: more would only be work.
const BETWEEN: Duration = Duration::from_millis(40);

/// The terminal.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    keys: EventStream,
    drawn: Option<Instant>,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take() -> io::Result<Self> {
        let terminal = ratatui::try_init().inspect_err(|_| give_back())?;
        Ok(Self { terminal, keys: EventStream::new(), drawn: None })
    }

    /// Draws, unless it was drawn a moment ago: then it says how long to wait.
    pub(super) fn draw(&mut self, view: &View, now_ms: u64) -> io::Result<Option<Duration>> {
        if let Some(wait) = self.drawn.and_then(|at| BETWEEN.checked_sub(at.elapsed()))
            && !wait.is_zero()
        {
            return Ok(Some(wait));
        }
        self.terminal.draw(|frame| draw(frame, view, now_ms))?;
        self.drawn = Some(Instant::now());
        Ok(None)
    }

    /// The next key, or that the size changed.
    pub(super) async fn key(&mut self) -> io::Result<Key> {
        match self.keys.next().await {
            Some(Ok(event)) => Ok(meant(&event)),
            Some(Err(error)) => Err(error),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back if it was taken.
pub(super) fn give_back() {
    if crossterm::terminal::is_raw_mode_enabled().unwrap_or(false) {
        ratatui::restore();
    }
}

fn meant(event: &Event) -> Key {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else {
        return Key::Nothing;
    };
    match code {
        KeyCode::Char('c' | 'd') if modifiers.contains(KeyModifiers::CONTROL) => Key::Interrupt,
        KeyCode::Char('s' | 'S') => Key::Stop,
        KeyCode::Char('c' | 'C') => Key::Cancel,
        KeyCode::Char('q' | 'Q') => Key::Leave,
        KeyCode::Char('y' | 'Y') => Key::Yes,
        KeyCode::Char('n' | 'N') | KeyCode::Esc => Key::No,
        _ => Key::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(code: KeyCode, modifiers: KeyModifiers) -> Key {
        meant(&Event::Key(KeyEvent::new(code, modifiers)))
    }

    #[test]
    fn keys_mean_what_the_screen_says() {
        let plain = |c| pressed(KeyCode::Char(c), KeyModifiers::NONE);
        assert_eq!([plain('s'), plain('c'), plain('q')], [Key::Stop, Key::Cancel, Key::Leave]);
        assert_eq!([plain('y'), plain('n'), plain('x')], [Key::Yes, Key::No, Key::Nothing]);
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL), Key::Interrupt);
        assert_eq!(meant(&Event::Resize(80, 24)), Key::Nothing);
    }
}
