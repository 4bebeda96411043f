//! Speaking to people or to programs.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::json;

use super::exit::{CliError, Exit};

/// Headings and names.
pub(super) const STRONG: Style = Style::new().bold();
/// What went well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What did not.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What may be overlooked.
pub(super) const FAINT: Style = Style::new().dimmed();

/// Where a command's results go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
    logs: bool,
}

impl Output {
    /// `json` speaks to programs; `logs` says that logs are wanted on stderr.
    pub(super) fn new(json: bool, logs: bool) -> Self {
        Self { json, logs }
    }

    /// Whether programs listen.
    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// Whether bars may be drawn on stderr.
    pub(super) fn may_draw(self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// Whether the terminal may become a screen: people sit at it, and no log is to be seen on it.
    pub(super) fn may_take_the_screen(self) -> bool {
        let at_a_terminal = || {
            io::stdin().is_terminal() && io::stdout().is_terminal() && io::stderr().is_terminal()
        };
        !self.json && !self.logs && at_a_terminal()
    }

    /// One object for programs; nothing for people.
    pub(super) fn object(self, object: &impl Serialize) -> Result<(), CliError> {
        if !self.json {
            return Ok(());
        }
        let line = serde_json::to_string(object)
            .map_err(|error| CliError::new(Exit::Failed, "OUTPUT", error.to_string()))?;
        self.raw(&line)
    }

    /// One line for people; nothing for programs. Colours are removed where nobody sees them.
    pub(super) fn line(self, line: impl AsRef<str>) -> Result<(), CliError> {
        if self.json {
            return Ok(());
        }
        wrote(writeln!(anstream::stdout(), "{}", line.as_ref()))
    }

    /// One line on stdout for both, as it is.
    #[expect(clippy::unused_self, reason = "whoever has an output may write to it")]
    pub(super) fn raw(self, line: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        wrote(writeln!(out, "{line}").and_then(|()| out.flush()))
    }

    /// A remark beside the results, on stderr.
    #[expect(clippy::unused_self, reason = "whoever has an output may write beside it")]
    pub(super) fn note(self, words: impl AsRef<str>) {
        // Nobody reading remarks is no reason to stop.
        let _ = writeln!(anstream::stderr(), "{FAINT}{}{FAINT:#}", words.as_ref());
    }

    /// Says why it failed, and gives the code to end with.
    pub(super) fn failed(self, error: &CliError) -> Exit {
        if self.json {
            let words = json!({ "event": "error", "code": error.code, "message": error.message });
            let _ = self.raw(&words.to_string());
        } else {
            let _ = writeln!(anstream::stderr(), "{BAD}error:{BAD:#} {}", printed(&error.message));
        }
        error.exit
    }
}

/// A reader that went away is not an error of ours; a full disk is.
fn wrote(result: io::Result<()>) -> Result<(), CliError> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::closed_pipe(),
        _ => CliError::new(Exit::Failed, "OUTPUT", format!("cannot write the output: {error}")),
    })
}

/// `NO_COLOR`, when set to anything, forbids colours (no-color.org).
pub(super) fn may_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Bytes for people, in the units of disks and networks here: 1 KiB is 1024.
pub(super) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// Somebody else's words, fit for a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Several lines, some of which may be somebody else's words.
fn printed(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

/// Cells in columns, two blanks apart. The last column is not padded.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let widths: [usize; N] =
        std::array::from_fn(|n| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0));
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for (n, cell) in row.iter().enumerate() {
                line.push_str(cell);
                if n + 1 < N {
                    let pad = widths[n] + 2 - cell.chars().count();
                    line.extend(std::iter::repeat_n(' ', pad));
                }
            }
            line.trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_in_any_script() {
        let rows = [["a", "1", "x"], ["Räder", "22", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), ["a      1   x", "Räder  22"]);
    }

    #[test]
    fn nobody_else_paints_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\n"), "a\u{fffd}[31mb\u{fffd}");
        assert_eq!(printed("one\ntwo\u{1b}]0;x\u{7}"), "one\ntwo\u{fffd}]0;x\u{fffd}");
    }
}
