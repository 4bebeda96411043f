//! A loss over epochs, bounded in memory however long a training lasts.

/// Points that are kept at most: more than any terminal has columns.
const MOST: usize = 4096;

/// One curve.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::cli) struct Curve {
    points: Vec<(f64, f64)>,
    /// Of so many points one is kept; 0 and 1 mean all.
    every: u64,
    last: Option<(u64, f64)>,
    best: Option<(u64, f64)>,
    /// Points that were no numbers.
    not_numbers: u64,
}

impl Curve {
    /// The loss after so many epochs.
    pub(in crate::cli) fn add(&mut self, epoch: u64, loss: f64) {
        self.last = Some((epoch, loss));
        if !loss.is_finite() {
            self.not_numbers += 1;
            return;
        }
        if self.best.is_none_or(|(_, best)| loss < best) {
            self.best = Some((epoch, loss));
        }
        if self.every > 1 && !epoch.is_multiple_of(self.every) {
            return;
        }
        self.points.push((epoch as f64, loss));
        if self.points.len() >= MOST {
            self.every = self.every.max(1) * 2;
            let every = self.every;
            self.points.retain(|(epoch, _)| (*epoch as u64).is_multiple_of(every));
        }
    }

    /// Those that are numbers.
    pub(in crate::cli) fn points(&self) -> &[(f64, f64)] {
        &self.points
    }

    /// The newest, maybe no number.
    pub(in crate::cli) fn last(&self) -> Option<(u64, f64)> {
        self.last
    }

    /// The least.
    pub(in crate::cli) fn best(&self) -> Option<(u64, f64)> {
        self.best
    }

    /// How many were no numbers.
    pub(in crate::cli) fn not_numbers(&self) -> u64 {
        self.not_numbers
    }
}

/// Four digits that matter.
pub(in crate::cli) fn figure(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        value.to_string()
    } else if size != 0.0 && !(1e-3..1e5).contains(&size) {
        format!("{value:.2e}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_of_a_million_epochs_stays_small_and_keeps_its_shape() {
        let mut curve = Curve::default();
        for epoch in 1..=1_000_000 {
            curve.add(epoch, 1.0 / epoch as f64);
        }
        let points = curve.points();
        assert!((MOST / 4..MOST).contains(&points.len()), "{}", points.len());
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 > pair[1].1));
        assert_eq!(curve.last(), Some((1_000_000, 1e-6)));
    }

    #[test]
    fn what_is_no_number_is_counted_and_never_the_best() {
        let mut curve = Curve::default();
        for (epoch, loss) in [(1, 0.5), (2, f64::NAN), (3, f64::NEG_INFINITY), (4, 0.75)] {
            curve.add(epoch, loss);
        }
        assert_eq!(curve.points(), [(1.0, 0.5), (4.0, 0.75)]);
        assert_eq!((curve.best(), curve.not_numbers()), (Some((1, 0.5)), 2));
    }

    #[test]
    fn figures_have_the_digits_that_matter() {
        let words = [0.0, 0.123_456, -2.5, 1e-7, 123_456.0, f64::NAN].map(figure);
        assert_eq!(words, ["0.0000", "0.1235", "-2.5000", "1.00e-7", "1.23e5", "NaN"]);
    }
}
