//! The text that a scrape reads, in the format that it asked for.

use std::fmt::Write;

use prometheus_client::{encoding::text::encode_registry, registry::Registry};

use super::process::Process;

/// How the text is written. Prometheus reads both and asks for OpenMetrics; people and older
/// scrapers get the classic one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4.
    Classic,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The better one of those that an `Accept` header names.
    pub fn of(accept: Option<&str>) -> Self {
        let wanted = accept.unwrap_or_default().split(',').any(|part| {
            let mut words = part.split(';').map(str::trim);
            let is_it = words.next() == Some("application/openmetrics-text");
            // A quality of zero is a refusal.
            is_it
                && !words.any(|word| {
                    word.strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0_f32))
                })
        });
        if wanted { Self::OpenMetrics } else { Self::Classic }
    }

    /// For `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

pub(super) fn render(registry: &Registry, process: &Process, format: Format) -> String {
    let mut text = String::with_capacity(16 * 1024);
    // Writing to a string does not fail.
    let _ = encode_registry(&mut text, registry);
    for (name, kind, help, value) in process.samples() {
        let total = if kind == "counter" { "_total" } else { "" };
        let _ =
            writeln!(text, "# HELP {name} {help}.\n# TYPE {name} {kind}\n{name}{total} {value}");
    }
    match format {
        Format::OpenMetrics => text + "# EOF\n",
        Format::Classic => classic(&text),
    }
}

/// The same in the classic format: there, what describes a counter has its `_total` too, what only
/// informs is a gauge, and units stand in names alone.
fn classic(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(help) = line.strip_prefix("# HELP ") else {
            if !line.starts_with("# UNIT ") {
                out.push_str(line);
                out.push('\n');
            }
            continue;
        };
        let (name, help) = help.split_once(' ').unwrap_or((help, ""));
        let kind = lines
            .next_if(|next| next.starts_with("# TYPE "))
            .and_then(|next| next.rsplit_once(' '))
            .map_or("untyped", |(_, kind)| kind);
        let (suffix, kind) = match kind {
            "counter" => ("_total", "counter"),
            "info" => ("_info", "gauge"),
            kind => ("", kind),
        };
        let _ = writeln!(out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_openmetrics_gets_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2";
        assert_eq!(Format::of(Some(prometheus)), Format::OpenMetrics);
        for other in
            [None, Some("*/*"), Some("application/openmetrics-text;q=0"), Some("text/html")]
        {
            assert_eq!(Format::of(other), Format::Classic, "{other:?}");
        }
    }

    #[test]
    fn the_classic_format_names_counters_in_full() {
        let open = "# HELP a_b Help me.\n# TYPE a_b counter\na_b_total{x=\"1\"} 2\n\
            # HELP c_seconds Time.\n# TYPE c_seconds histogram\n# UNIT c_seconds seconds\n\
            c_seconds_sum 1.0\n# HELP d Built.\n# TYPE d info\nd_info{v=\"1\"} 1\n";
        assert_eq!(
            classic(open),
            "# HELP a_b_total Help me.\n# TYPE a_b_total counter\na_b_total{x=\"1\"} 2\n\
             # HELP c_seconds Time.\n# TYPE c_seconds histogram\nc_seconds_sum 1.0\n\
             # HELP d_info Built.\n# TYPE d_info gauge\nd_info{v=\"1\"} 1\n"
        );
    }
}
