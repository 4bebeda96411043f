//! What keys mean while jobs are followed.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::view::Key;

/// What a user wants who did this.
pub(super) fn meant(event: &Event) -> Key {
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
