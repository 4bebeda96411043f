//! The screen of jobs that are followed: a [`View`] and the time in, one frame out.
//!
//! ```text
//! train 1a2b3c4d                        running 2m 13s
//! epoch 5 of 20  ━━━━━━━━━━━━──────────  batch 12 of 40
//! all            ━━━━━──────────────────  23%, 4m 2s left
//! loss ────────── train 0.123 · val 0.145 · best 0.140
//! output ─────────────────────────────────────────────
//! CPU 12 % · …
//! s stop  c cancel  q leave it running
//! ```
//! What does not fit is left out from below: the state stays longest.

use std::time::Duration;

use halyard_protocol::channel::JobState;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    symbols,
    text::{Line, Span},
    widgets::{Axis, Block, Borders, Chart, Dataset, GraphType, LineGauge, Paragraph},
};

use super::{
    curve::{Curve, figure},
    view::{Followed, Kind, Training, View},
};
use crate::cli::words::short;

const FAINT: Style = Style::new().fg(Color::DarkGray);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
const TRAIN: Style = Style::new().fg(Color::Cyan);
const VAL: Style = Style::new().fg(Color::Yellow);
const BAD: Style = Style::new().fg(Color::Red);

/// Losses that lie further apart than this are drawn on a logarithmic axis.
const DECADES: f64 = 50.0;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, now_ms: u64) {
    let Some(job) = view.shown() else { return };
    let steps = u16::from(view.jobs.len() > 1);
    let bars = 2 * u16::from(job.training.is_known());
    let computer = u16::from(view.computer.is_some());
    let rest = frame.area().height.saturating_sub(2 + steps + bars + computer);
    // Below this many lines a curve is mostly its axes.
    let (chart, output) = match rest {
        0..8 => (0, rest),
        _ if !job.training.is_known() => (0, rest),
        _ => (rest * 3 / 5, rest - rest * 3 / 5),
    };
    let rows = [1, steps, bars, chart, output, computer, 1].map(Constraint::Length);
    let [title, steps, bars, chart, output, computer, keys] =
        frame.area().layout(&Layout::vertical(rows));
    draw_title(frame, title, job, now_ms);
    draw_steps(frame, steps, view);
    draw_bars(frame, bars, &job.training, now_ms);
    draw_chart(frame, chart, &job.training);
    draw_output(frame, output, job);
    if let Some(words) = &view.computer {
        frame.render_widget(Paragraph::new(words.as_str()).style(FAINT), computer);
    }
    draw_keys(frame, keys, view);
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, job: &Followed, now_ms: u64) {
    let name = Line::from(vec![
        Span::styled(job.template.clone(), STRONG),
        Span::raw(" "),
        Span::styled(job.job.clone(), FAINT),
    ]);
    let mut state = vec![Span::styled(job.state.to_string(), style_of(job.state))];
    if let Some(since) = job.started_ms {
        let took = job.ended_ms.unwrap_or(now_ms).saturating_sub(since);
        state.push(Span::raw(format!(" {}", short(Duration::from_millis(took)))));
    }
    frame.render_widget(name, area);
    frame.render_widget(Line::from(state).right_aligned(), area);
}

fn draw_steps(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let mut spans = Vec::new();
    for (n, job) in view.jobs.iter().enumerate() {
        if n > 0 {
            spans.push(Span::styled(" → ", FAINT));
        }
        let style = if n == view.at { style_of(job.state).patch(STRONG) } else { FAINT };
        spans.push(Span::styled(format!("{} {}", n + 1, job.template), style));
        if job.state.is_over() {
            spans.push(Span::styled(format!(" {}", job.state), style_of(job.state)));
        }
    }
    frame.render_widget(Line::from(spans), area);
}

fn style_of(state: JobState) -> Style {
    match state {
        JobState::Succeeded => Style::new().fg(Color::Green),
        JobState::Failed | JobState::Cancelled | JobState::Lost => BAD,
        JobState::Stopping => VAL,
        JobState::Queued | JobState::Running => STRONG,
    }
}

fn draw_bars(frame: &mut Frame<'_>, area: Rect, training: &Training, now_ms: u64) {
    if area.height < 2 {
        return;
    }
    let [epoch, all] = area.layout(&Layout::vertical([Constraint::Length(1); 2]));
    let over = training.epochs.is_some_and(|epochs| training.done >= epochs);
    let number = if over { training.done } else { training.done + 1 };
    let batch = match (training.batches, training.batch_loss) {
        _ if over => String::new(),
        (Some(batches), _) => format!("batch {} of {batches}", training.batch),
        (None, _) => format!("batch {}", training.batch),
    };
    let label = match training.epochs {
        Some(epochs) => format!("epoch {number} of {epochs}"),
        None => format!("epoch {number}"),
    };
    let wide = u16::try_from(label.chars().count()).unwrap_or(u16::MAX);
    let ratio = if over { Some(1.0) } else { training.of_epoch() };
    bar(frame, epoch, &label, wide, ratio, &batch);
    let percent = training.of_all().map(|all| (all * 100.0).floor());
    let left = training.left_ms(now_ms).filter(|_| !over);
    let words = match (percent, left) {
        (Some(percent), Some(left)) => {
            format!("{percent}%, {} left", short(Duration::from_millis(left)))
        }
        (Some(percent), None) => format!("{percent}%"),
        (None, _) => "nobody says how many".to_owned(),
    };
    bar(frame, all, "all", wide, training.of_all(), &words);
}

/// A label, a bar where there is something to show, and words behind it.
fn bar(frame: &mut Frame<'_>, area: Rect, label: &str, wide: u16, ratio: Option<f64>, words: &str) {
    let columns = [Constraint::Length(wide), Constraint::Fill(1), Constraint::Length(22)];
    let [left, middle, right] = area.layout(&Layout::horizontal(columns).spacing(1));
    frame.render_widget(Paragraph::new(label.to_owned()), left);
    let gauge = LineGauge::default()
        .ratio(ratio.unwrap_or(0.0).clamp(0.0, 1.0))
        .label("")
        .filled_symbol(symbols::line::THICK_HORIZONTAL)
        .unfilled_symbol(symbols::line::HORIZONTAL)
        .filled_style(TRAIN)
        .unfilled_style(FAINT);
    frame.render_widget(gauge, middle);
    frame.render_widget(Paragraph::new(words.to_owned()), right);
}

fn draw_chart(frame: &mut Frame<'_>, area: Rect, training: &Training) {
    if area.height < 3 {
        return;
    }
    let scale = Scale::of(&[&training.train, &training.val]);
    let title = if scale.logarithmic { "loss, logarithmic " } else { "loss " };
    // A rule stays between the two.
    let room = (area.width as usize).saturating_sub(title.len() + 2);
    let block = headed(title).title_top(summary(training, room).right_aligned());
    if training.train.points().len().max(training.val.points().len()) < 2 {
        let words = "the curve begins with the second epoch";
        let inner = block.inner(area);
        frame.render_widget(block, area);
        let middle = Rect { y: inner.y + inner.height / 2, height: inner.height.min(1), ..inner };
        frame.render_widget(Paragraph::new(words).style(FAINT).centered(), middle);
        return;
    }
    // The figures above are in the colours of the curves, which is all the legend there has to be.
    let curves = [(&training.train, TRAIN), (&training.val, VAL)];
    let points = curves.map(|(curve, _)| scale.of_all(curve.points()));
    let sets = curves.iter().zip(&points).map(|((_, style), points)| {
        Dataset::default()
            .marker(symbols::Marker::Braille)
            .graph_type(GraphType::Line)
            .style(*style)
            .data(points)
    });
    let (first, last) = scale.epochs;
    let chart = Chart::new(sets.collect())
        .block(block)
        .legend_position(None)
        .x_axis(
            Axis::default()
                .style(FAINT)
                .bounds([first, last])
                .labels([format!("{first:.0}"), format!("epoch {last:.0}")]),
        )
        .y_axis(
            Axis::default()
                .style(FAINT)
                .bounds([scale.low, scale.high])
                .labels(scale.labels(area.height)),
        );
    frame.render_widget(chart, area);
}

/// A part of the screen under a rule with its title.
fn headed(title: &str) -> Block<'_> {
    Block::new().borders(Borders::TOP).border_style(FAINT).title(title)
}

/// The newest figures, as many as there is room for. That a loss is no number must not be
/// overlooked, so it goes before the best one.
fn summary(training: &Training, room: usize) -> Line<'static> {
    let mut spans: Vec<Span<'_>> = Vec::new();
    let mut wide = 0;
    let mut say = |text: String, style: Style| {
        let between = if spans.is_empty() { " " } else { " · " };
        let more = between.chars().count() + text.chars().count();
        if wide + more > room {
            return;
        }
        wide += more;
        spans.push(Span::styled(between, FAINT));
        spans.push(Span::styled(text, style));
    };
    let figures = [("train", &training.train, TRAIN), ("val", &training.val, VAL)];
    for (name, curve, style) in figures {
        if let Some((_, loss)) = curve.last() {
            let style = if loss.is_finite() { style } else { BAD.patch(STRONG) };
            say(format!("{name} {}", figure(loss)), style);
        }
    }
    if training.train.last().is_none()
        && let Some(loss) = training.batch_loss
    {
        let style = if loss.is_finite() { TRAIN } else { BAD.patch(STRONG) };
        say(format!("batch {}", figure(loss)), style);
    }
    let broken = training.train.not_numbers().max(training.val.not_numbers());
    if broken > 0 {
        say(format!("{broken} no number"), BAD);
    }
    if let Some((epoch, loss)) = training.val.best().or(training.train.best()) {
        say(format!("best {} in epoch {epoch}", figure(loss)), Style::new());
    }
    Line::from(spans)
}

fn draw_output(frame: &mut Frame<'_>, area: Rect, job: &Followed) {
    if area.height == 0 {
        return;
    }
    let mut inner = area;
    if area.height > 2 {
        let block = headed("output ");
        inner = block.inner(area);
        frame.render_widget(block, area);
    }
    let mut lines: Vec<Line<'_>> = Vec::new();
    let hidden = job.lines.len().saturating_sub(inner.height as usize);
    for shown in job.lines.iter().skip(hidden) {
        let style = match shown.kind {
            Kind::Out => Style::new(),
            Kind::Progress => TRAIN,
            Kind::Err => VAL,
            Kind::Note => FAINT.add_modifier(Modifier::ITALIC),
        };
        lines.push(Line::styled(shown.text.as_str(), style));
    }
    if let Some(reason) = &job.reason {
        if lines.len() >= inner.height as usize && !lines.is_empty() {
            lines.remove(0);
        }
        lines.push(Line::styled(reason.as_str(), style_of(job.state)));
    }
    if lines.is_empty() {
        let words = match job.state {
            JobState::Queued => "it waits for its turn",
            _ => "nothing was printed so far",
        };
        lines.push(Line::styled(words, FAINT));
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

fn draw_keys(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let line = if view.asks_to_cancel {
        Line::styled("end it now, with all of its processes? y yes  n no", BAD.patch(STRONG))
    } else if let Some(trouble) = &view.trouble {
        Line::styled(format!("{trouble}  (q leaves; the job goes on)"), VAL)
    } else {
        let mut spans = Vec::new();
        for (key, words) in [("s", "stop early"), ("c", "cancel"), ("q", "leave it running")] {
            spans.push(Span::styled(key, STRONG));
            spans.push(Span::styled(format!(" {words}   "), FAINT));
        }
        if let Some(said) = &view.said {
            spans.push(Span::raw(said.as_str()));
        }
        Line::from(spans)
    };
    frame.render_widget(line, area);
}

/// How losses become places.
struct Scale {
    epochs: (f64, f64),
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    fn of(curves: &[&Curve]) -> Self {
        let points = || curves.iter().flat_map(|curve| curve.points());
        let range = |of: fn(&(f64, f64)) -> f64| {
            let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
            for point in points() {
                (low, high) = (low.min(of(point)), high.max(of(point)));
            }
            (low, high)
        };
        let (low, high) = range(|point| point.1);
        let logarithmic = low > 0.0 && high / low > DECADES;
        let (low, high) = if logarithmic { (low.log10(), high.log10()) } else { (low, high) };
        // A flat curve is drawn in the middle.
        let room = ((high - low) * 0.05).max(low.abs().max(1e-9) * 1e-6);
        let (low, high) = (low - room, high + room);
        Self { epochs: range(|point| point.0), low, high, logarithmic }
    }

    fn of_all(&self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let place = |loss: f64| if self.logarithmic { loss.log10() } else { loss };
        points.iter().map(|&(epoch, loss)| (epoch, place(loss))).collect()
    }

    /// At the ends of the axis, and in its middle where that is far from both.
    fn labels(&self, rows: u16) -> Vec<String> {
        let middle = (rows >= 10).then_some(f64::midpoint(self.low, self.high));
        let places = [Some(self.low), middle, Some(self.high)];
        places.into_iter().flatten().map(|place| self.label(place)).collect()
    }

    fn label(&self, place: f64) -> String {
        figure(if self.logarithmic { 10_f64.powf(place) } else { place })
    }
}

#[cfg(test)]
mod tests {
    use halyard_protocol::channel::JobHappened;
    use ratatui::{Terminal, backend::TestBackend};

    use super::{
        super::view::tests::{event, line, report},
        *,
    };

    fn shown(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| draw(frame, view, 1_600_000)).expect("drawn");
        terminal.backend().to_string()
    }

    fn running() -> View {
        let mut job = Followed::new("1a2b3c4d");
        job.template = "train".into();
        job.training.epochs = Some(20);
        let state = |state| JobHappened::State { state, reason: None, exit_code: None };
        let mut story = vec![
            state(JobState::Queued),
            state(JobState::Running),
            report(r#"{"event":"train_begin"}"#),
        ];
        for epoch in 0..5 {
            story.push(report(&format!(r#"{{"event":"epoch_begin","epoch":{epoch}}}"#)));
            for batch in 0..10 {
                story.push(report(&format!(
                    r#"{{"event":"batch_end","epoch":{epoch},"batch":{batch},"logs":{{"loss":0.5}}}}"#
                )));
            }
            let (train, val) = (0.8 / f64::from(epoch + 1), 0.9 / f64::from(epoch + 1));
            story.push(report(&format!(
                r#"{{"event":"epoch_end","epoch":{epoch},"logs":{{"train/loss":{train},"val/loss":{val}}}}}"#
            )));
            story.push(line(&format!("epoch {epoch} done"), false));
        }
        story.push(report(r#"{"event":"batch_end","epoch":5,"batch":4,"logs":{"loss":0.2}}"#));
        for (what, n) in story.into_iter().zip(1..) {
            job.take(&event(n, what));
        }
        View::new(vec![job])
    }

    #[test]
    fn a_running_training_shows_its_state_bars_curve_output_and_keys() {
        for (width, height) in [(80, 24), (120, 40)] {
            let screen = shown(&running(), width, height);
            for words in [
                "train 1a2b3c4d",
                "running",
                "epoch 6 of 20",
                "batch 5 of 10",
                "27%",
                "left",
                "train 0.1600",
                "val 0.1800",
                "best 0.1800 in epoch 5",
                "epoch 4 done",
                "s stop early   c cancel   q leave it running",
            ] {
                assert!(screen.contains(words), "{words:?} is missing in\n{screen}");
            }
            assert!(screen.contains('⠤') || screen.contains('⠒') || screen.contains('⡀'));
        }
    }

    #[test]
    fn a_loss_that_is_no_number_shows() {
        let mut view = running();
        let text =
            r#"{"event":"epoch_end","epoch":5,"logs":{"train/loss":NaN,"val/loss":Infinity}}"#;
        view.jobs[0].take(&event(100, report(text)));
        let screen = shown(&view, 100, 24);
        assert!(screen.contains("train NaN · val inf"), "{screen}");
        assert!(screen.contains("1 no number"), "{screen}");
    }

    #[test]
    fn where_there_is_little_room_the_least_important_figure_goes() {
        let screen = shown(&running(), 42, 20);
        assert!(screen.contains("loss ─"), "{screen}");
        assert!(screen.contains("train 0.1600 · val 0.1800"), "{screen}");
        assert!(!screen.contains("best"), "{screen}");
    }

    #[test]
    fn losses_over_many_decades_are_drawn_on_a_logarithmic_axis() {
        let mut view = running();
        let text = r#"{"event":"epoch_end","epoch":5,"logs":{"train/loss":1e-7}}"#;
        view.jobs[0].take(&event(100, report(text)));
        let screen = shown(&view, 80, 24);
        assert!(screen.contains("logarithmic") && screen.contains("e-8"), "{screen}");
    }

    #[test]
    fn a_user_who_wants_to_cancel_is_asked_and_trouble_is_told() {
        let mut view = running();
        view.trouble = Some("the connection is gone".into());
        assert!(shown(&view, 80, 24).contains("the connection is gone"));
        view.asks_to_cancel = true;
        let screen = shown(&view, 80, 24);
        assert!(screen.contains("y yes  n no") && !screen.contains("q leave"), "{screen}");
    }

    #[test]
    fn steps_of_one_request_stand_in_a_row() {
        let mut view = running();
        let mut second = Followed::new("5e6f");
        second.template = "centered".into();
        view.jobs.push(second);
        view.jobs[0].state = JobState::Succeeded;
        view.at = 1;
        let screen = shown(&view, 80, 24);
        assert!(screen.contains("1 train succeeded → 2 centered"), "{screen}");
        assert!(screen.contains("it waits for its turn"), "{screen}");
    }

    #[test]
    fn no_terminal_is_too_small_and_none_too_large() {
        let view = running();
        for width in [1, 2, 5, 20, 39, 300] {
            for height in 1..30 {
                shown(&view, width, height);
            }
        }
        shown(&View::default(), 1, 1);
    }
}
