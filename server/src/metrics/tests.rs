use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Units that a name may end in, as Prometheus wants them: base units only.
const UNITS: [&str; 3] = ["seconds", "bytes", "messages"];
/// Gauges and histograms that count things, which are their unit.
const THINGS: [&str; 9] =
    ["sockets", "rooms", "peers", "nodes", "up", "draining", "fds", "threads", "messages"];

fn everything() -> Metrics {
    let metrics = Metrics::new();
    metrics.refused(ErrorCode::InvalidToken);
    metrics.refused_over(Interface::Rest, "FORBIDDEN");
    metrics.limited("max_connections");
    metrics.closed(None);
    metrics.closed(Some(CloseCode::Replaced));
    metrics.answered("GET", "/rooms/{id}", 200, Duration::from_millis(3));
    metrics.called(Backend::Store, "get", Duration::from_millis(1), false);
    metrics.called(Backend::Identity, "verify", Duration::from_millis(1), true);
    metrics.set_up(Backend::Bus, true);
    metrics.tls_reloaded(true);
    metrics.tls_ends(1_800_000_000);
    metrics
}

/// Family name to type, with the rules of the format checked on the way.
fn families(text: &str) -> BTreeMap<String, String> {
    let mut families = BTreeMap::new();
    let mut helped = BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a name and a text");
            assert!(help.len() > 5 && help.ends_with('.'), "{line}");
            assert!(helped.insert(name.to_owned()), "{name} is described twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a type");
            assert!(helped.contains(name), "{name} has no help");
            families.insert(name.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') {
            let name = &line[..line.find(['{', ' ']).expect("a sample")];
            let value = line.rsplit_once(' ').expect("a value").1;
            value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            let of_a_family = ["", "_bucket", "_sum", "_count"].iter().any(|suffix| {
                name.strip_suffix(suffix).is_some_and(|family| families.contains_key(family))
            });
            assert!(of_a_family, "{line} is of no family");
        }
    }
    families
}

#[test]
fn names_follow_the_conventions_and_everything_is_described() {
    let text = everything().render(&Census::default(), Format::Classic);
    let families = families(&text);
    assert!(families.len() > 25, "{families:?}");
    for (name, kind) in &families {
        assert!(name.starts_with("halyard_") || name.starts_with("process_"), "{name}");
        assert!(
            name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{name} is not in snake case"
        );
        let last = name.rsplit('_').next().expect("a word");
        match kind.as_str() {
            "counter" => assert_eq!(last, "total", "{name}"),
            "gauge" if last == "info" => {}
            "gauge" | "histogram" => {
                assert!(UNITS.contains(&last) || THINGS.contains(&last), "{name} has no unit");
            }
            other => panic!("{name} is {other}"),
        }
    }
}

#[test]
fn a_scrape_has_the_values_that_were_counted() {
    let metrics = everything();
    let open = metrics.socket_opened();
    let worker = PeerKind { role: halyard_protocol::access::PeerRole::Worker, here: true };
    let census = Census { rooms: 3, peers: vec![(worker, 2)] };
    let text = metrics.render(&census, Format::Classic);
    for line in [
        "halyard_sockets 1",
        "halyard_sockets_opened_total 1",
        "halyard_rooms 3",
        "halyard_peers{role=\"worker\",state=\"here\"} 2",
        "halyard_peers{role=\"client\",state=\"away\"} 0",
        "halyard_refusals_total{interface=\"socket\",code=\"INVALID_TOKEN\"} 1",
        "halyard_refusals_total{interface=\"rest\",code=\"FORBIDDEN\"} 1",
        "halyard_limited_total{limit=\"max_connections\"} 1",
        "halyard_sockets_closed_total{code=\"1006\"} 1",
        "halyard_sockets_closed_total{code=\"4000\"} 1",
        "halyard_http_requests_total{method=\"GET\",route=\"/rooms/{id}\",status=\"200\"} 1",
        "halyard_backend_call_duration_seconds_count{backend=\"store\",operation=\"get\"} 1",
        "halyard_backend_failures_total{backend=\"store\",operation=\"get\"} 0",
        "halyard_backend_failures_total{backend=\"identity\",operation=\"verify\"} 1",
        "halyard_backend_up{backend=\"bus\"} 1",
        "halyard_tls_reloads_total{result=\"ok\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    drop(open);
    let text = metrics.render(&Census::default(), Format::Classic);
    assert!(text.contains("\nhalyard_sockets 0\n") && text.contains("\nhalyard_rooms 0\n"));
    assert!(text.contains("halyard_peers{role=\"worker\",state=\"here\"} 0"), "{text}");
}

#[test]
fn openmetrics_ends_with_its_mark_and_the_classic_format_has_none() {
    let metrics = Metrics::new();
    assert!(metrics.render(&Census::default(), Format::OpenMetrics).ends_with("\n# EOF\n"));
    assert!(!metrics.render(&Census::default(), Format::Classic).contains("EOF"));
}

#[test]
fn every_refusal_is_counted_under_its_word_on_the_wire() {
    for code in [ErrorCode::InvalidJson, ErrorCode::PeerIdTaken, ErrorCode::Unavailable] {
        let word = serde_json::to_value(code).expect("a word");
        assert_eq!(word, labels::error_code(code));
    }
}

/// Words of this text that are names of metrics.
fn names_in(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("halyard_") || word.starts_with("process_"))
        .collect()
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_that_there_are() {
    let dashboard = include_str!("../../../docs/monitoring/grafana.json");
    let alerts = include_str!("../../../docs/monitoring/alerts.yml");
    let parsed: serde_json::Value = serde_json::from_str(dashboard).expect("JSON");
    assert!(parsed["panels"].as_array().is_some_and(|panels| panels.len() > 15));
    let text = everything().render(&Census::default(), Format::Classic);
    let families = families(&text);
    // What a scrape can hold: the names and, of histograms, their parts.
    let known: BTreeSet<String> = families
        .iter()
        .flat_map(|(name, kind)| match kind.as_str() {
            "histogram" => {
                ["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")).to_vec()
            }
            _ => vec![name.clone()],
        })
        .collect();
    for asked in names_in(dashboard).union(&names_in(alerts)) {
        assert!(known.contains(*asked), "{asked} is asked for and there is no such metric");
    }
    // And nothing is counted that nobody looks at, but for what only informs.
    let looked_at: BTreeSet<&str> = &names_in(dashboard) | &names_in(alerts);
    for name in families.keys().filter(|name| name.starts_with("halyard_")) {
        let is_looked_at = looked_at.iter().any(|asked| asked.starts_with(name.as_str()));
        let informs = [
            "halyard_build_info",
            "halyard_draining",
            "halyard_http_request_duration_seconds",
            "halyard_rooms_created_total",
            "halyard_sockets_opened_total",
        ];
        assert!(is_looked_at || informs.contains(&name.as_str()), "{name} is on no dashboard");
    }
}
