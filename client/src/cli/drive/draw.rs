//! The screen of somebody who drives: a [`View`] and the time in, one frame out.
//!
//! ```text
//! rover                                               you drive (lease 3)
//! forwards   0.42 m/s    ━━━━━━━━━───────────  asked 0.40 of 1.00
//! turning   -0.10 rad/s  ━━──────────────────  asked 0.00 of 1.50
//! picture   41 ms old, at most 300
//! ┌ what happened ──────────────────────────────────────────────────────┐
//! W A S D drive  space stop  E emergency stop  …
//! ```
//! What does not fit is left out from below; the keys and who drives stay longest.

use std::time::Instant;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    symbols,
    text::{Line, Span},
    widgets::{Block, LineGauge, Paragraph, Wrap},
};

use super::view::View;
use crate::cli::words::short;

const FAINT: Style = Style::new().fg(Color::DarkGray);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
const GOOD: Style = Style::new().fg(Color::Green);
const WARN: Style = Style::new().fg(Color::Yellow);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const ALARM: Style = Style::new().fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD);

/// Columns of names and of values.
const NAME: u16 = 10;
const VALUE: u16 = 14;
const ASKED: u16 = 22;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, now: Instant) {
    let battery = u16::from(view.battery.is_some());
    let rows = [1, 1, 1, 1, 1, battery, 1];
    let rows = rows.map(Constraint::Length).into_iter();
    let rows: Vec<_> = rows.chain([Constraint::Min(0), Constraint::Length(2)]).collect();
    let [title, state, linear, angular, picture, battery, _, happened, keys] =
        frame.area().layout(&Layout::vertical(rows));
    draw_title(frame, title, view);
    draw_state(frame, state, view);
    draw_speeds(frame, [linear, angular], view);
    draw_picture(frame, picture, view);
    if let Some(charge) = view.battery {
        let style = if charge < 0.2 { BAD } else { Style::new() };
        let words = Span::styled(format!("{:.0} %", charge * 100.0), style);
        frame.render_widget(named("battery", words), battery);
    }
    draw_happened(frame, happened, view, now);
    draw_keys(frame, keys, view);
}

fn named<'a>(name: &'a str, value: Span<'a>) -> Line<'a> {
    Line::from(vec![
        Span::styled(format!("{name:<width$}", width = usize::from(NAME)), FAINT),
        value,
    ])
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let who = match (view.number(), view.other()) {
        (Some(number), _) => Span::styled(format!("you drive (lease {number})"), GOOD),
        (None, Some(other)) => Span::styled(format!("{other} drives"), WARN),
        (None, None) if view.asks => Span::styled("asking for the controls", WARN),
        (None, None) => Span::styled("nobody drives", WARN),
    };
    frame.render_widget(Line::styled(view.machine.as_str(), STRONG), area);
    frame.render_widget(Line::from(who).right_aligned(), area);
}

/// The one thing that matters most now.
fn draw_state(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let line = if view.estop {
        let by = view.estop_by.as_ref();
        let by = by.map(|by| format!(", pressed by {by}")).unwrap_or_default();
        Line::styled(format!(" EMERGENCY STOP{by}: nothing moves. C clears it "), ALARM)
    } else if let Some(words) = &view.trouble {
        Line::styled(words.as_str(), BAD)
    } else if let Some(rule) = &view.stopped {
        Line::styled(format!("stopped by the rule {rule}; let go, and press again"), BAD)
    } else if view.number().is_none() {
        Line::styled("L asks for the controls", WARN)
    } else if view.asked.is_some() {
        Line::styled("driving", GOOD)
    } else {
        Line::styled("hands off", FAINT)
    };
    frame.render_widget(line, area);
}

fn draw_speeds(frame: &mut Frame<'_>, areas: [Rect; 2], view: &View) {
    let most = |of: fn(&halyard_protocol::channel::DriveLimits) -> f64| {
        view.limits.as_ref().map_or(0.0, of)
    };
    let forwards = if view.speed < 0.0 || view.asked.is_some_and(|(linear, _)| linear < 0.0) {
        most(|limits| limits.max_reverse.unwrap_or(limits.max_linear))
    } else {
        most(|limits| limits.max_linear)
    };
    let rows = [
        ("forwards", "m/s", view.speed, view.asked.map(|asked| asked.0), forwards),
        (
            "turning",
            "rad/s",
            view.angular,
            view.asked.map(|asked| asked.1),
            most(|limits| limits.max_angular),
        ),
    ];
    for (area, (name, unit, speed, asked, most)) in areas.into_iter().zip(rows) {
        let columns = [
            Constraint::Length(NAME),
            Constraint::Length(VALUE),
            Constraint::Fill(1),
            Constraint::Length(ASKED),
        ];
        let [left, value, bar, right] = area.layout(&Layout::horizontal(columns));
        frame.render_widget(Span::styled(name, FAINT), left);
        frame.render_widget(Span::styled(format!("{speed:>5.2} {unit}"), STRONG), value);
        let share = if most > 0.0 { (speed.abs() / most).clamp(0.0, 1.0) } else { 0.0 };
        let gauge = LineGauge::default()
            .ratio(share)
            .label("")
            .filled_symbol(symbols::line::THICK_HORIZONTAL)
            .unfilled_symbol(symbols::line::HORIZONTAL)
            .filled_style(GOOD)
            .unfilled_style(FAINT);
        frame.render_widget(gauge, bar);
        let asked = asked.map_or_else(|| "-".to_owned(), |asked| format!("{asked:.2}"));
        let words = format!(" asked {asked} of {most:.2}");
        frame.render_widget(Span::styled(words, FAINT), right);
    }
}

fn draw_picture(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let most = view.limits.as_ref().and_then(|limits| limits.max_picture_age_ms);
    let words = match (view.picture, most) {
        (Some(age), Some(most)) => {
            let style = if age.as_millis() > u128::from(most) { BAD } else { Style::new() };
            Span::styled(format!("{} old, at most {most} ms", age_words(age)), style)
        }
        (Some(age), None) => Span::raw(format!("{} old; nobody asks for its age", age_words(age))),
        (None, Some(_)) => Span::styled("none came yet; without one nobody drives", WARN),
        (None, None) => Span::styled("none; this machine is driven without", FAINT),
    };
    frame.render_widget(named("picture", words), area);
}

fn age_words(age: std::time::Duration) -> String {
    if age.as_millis() < 10_000 { format!("{} ms", age.as_millis()) } else { short(age) }
}

fn draw_happened(frame: &mut Frame<'_>, area: Rect, view: &View, now: Instant) {
    if area.height < 3 {
        return;
    }
    let block = Block::bordered().title(" what happened ").border_style(FAINT);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let width = usize::from(inner.width).max(1);
    let (mut lines, mut rows) = (Vec::new(), 0);
    for happened in view.happened.iter().rev() {
        let ago = short(std::time::Duration::from_secs(
            now.saturating_duration_since(happened.at).as_secs(),
        ));
        let times =
            if happened.times > 1 { format!(" ({} times)", happened.times) } else { String::new() };
        let line = Line::from(vec![
            Span::styled(format!("{ago:>7} ago  "), FAINT),
            Span::styled(happened.code.clone(), if happened.is_bad { BAD } else { STRONG }),
            Span::raw(format!("  {}{times}", happened.words)),
        ]);
        rows += line.width().div_ceil(width);
        if rows > usize::from(inner.height) && !lines.is_empty() {
            break;
        }
        lines.push(line);
    }
    // The newest at the bottom would jump while lines wrap; it is at the top.
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), inner);
}

fn draw_keys(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let key = |key: &'static str, does: &'static str| {
        [Span::styled(key, STRONG), Span::styled(format!(" {does}  "), FAINT)]
    };
    let controls =
        if view.number().is_some() { "give the controls back" } else { "ask for the controls" };
    let lines = vec![
        Line::from(
            [
                key("W A S D, arrows", "drive while held"),
                key("space", "stop"),
                key("E", "EMERGENCY STOP"),
                key("C", "clear it"),
            ]
            .concat(),
        ),
        Line::from(
            [
                vec![
                    Span::styled("1-9 0", STRONG),
                    Span::styled(format!(" speed: {} %  ", u32::from(view.share) * 10), FAINT),
                ],
                key("L", controls).to_vec(),
                key("Q", "leave").to_vec(),
            ]
            .concat(),
        ),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::{Terminal, backend::TestBackend};

    use super::{
        super::view::tests::{limits, view},
        *,
    };

    fn shown(view: &View, now: Instant, (width, height): (u16, u16)) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
        terminal.draw(|frame| draw(frame, view, now)).expect("drawn");
        terminal.backend().to_string()
    }

    #[test]
    fn who_drives_how_fast_and_what_stopped_it_is_on_the_screen() {
        let (mut view, now) = (view(), Instant::now());
        view.speed = 0.42;
        view.asked = Some((0.4, 0.0));
        view.picture = Some(Duration::from_millis(41));
        view.battery = Some(0.93);
        let screen = shown(&view, now, (80, 24));
        for words in [
            "you drive (lease 3)",
            "driving",
            "0.42 m/s",
            "asked 0.40 of 1.00",
            "41 ms old, at most 300 ms",
            "93 %",
            "speed: 40 %",
            "EMERGENCY STOP",
        ] {
            assert!(screen.contains(words), "{words}\n{screen}");
        }
        view.changed(now, Some("picture"), false);
        let screen = shown(&view, now, (80, 24));
        assert!(screen.contains("stopped by the rule picture"), "{screen}");
        assert!(screen.contains("too old to drive by"), "{screen}");
        (view.estop, view.estop_by) = (true, Some("bob".into()));
        let screen = shown(&view, now, (80, 24));
        assert!(screen.contains("EMERGENCY STOP, pressed by bob"), "{screen}");
    }

    #[test]
    fn a_screen_of_any_size_is_drawn() {
        let (mut view, now) = (View::new("rover", Some(limits())), Instant::now());
        for n in 0..60 {
            view.tell(now, "watchdog", &format!("{n} {}", "words ".repeat(30)), true);
        }
        for width in [1, 5, 20, 80, 300] {
            for height in [1, 2, 5, 9, 24, 100] {
                shown(&view, now, (width, height));
            }
        }
    }
}
