//! The credentials that the broker mints, before a real coturn.

use std::{
    process::{Command, Output},
    time::Duration,
};

use halyard_protocol::token::Token;
use halyard_server::{Settings, ice::IceConfig, settings::TurnSettings, time};

use crate::support::coturn::Coturn;

/// Asks coturn for two allocations and sends a few packets from one to the other.
fn relays(coturn: &Coturn, turn: TurnSettings, now: u64, tcp: bool) -> Output {
    let settings = Settings { stun_urls: vec![], turn: Some(turn), ..Settings::default() };
    let list = IceConfig::new(&settings).list_for("3f0e6f1c-1f1f-4d0e-9a3b-5d4b7a1c2e00", now);
    let server = list.ice_servers.first().expect("TURN");
    let (name, password) = (server.username.as_ref(), server.credential.as_ref());
    let mut command = Command::new("turnutils_uclient");
    if tcp {
        command.arg("-t");
    }
    command.args(["-y", "-n", "1", "-m", "1", "-p", &coturn.address.port().to_string()]);
    command.args(["-u", name.expect("a name"), "-w", password.expect("a password").expose()]);
    command
        .arg("127.0.0.1")
        .output()
        .unwrap_or_else(|error| panic!("turnutils_uclient: {error}; install the package coturn"))
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn coturn_accepts_what_the_broker_mints_over_udp_and_tcp() {
    let coturn = Coturn::start();
    for (transport, tcp) in [("udp", false), ("tcp", true)] {
        let turn = coturn.settings(transport, Duration::from_mins(10));
        let output = relays(&coturn, turn, time::unix(), tcp);
        let said = said(&output);
        assert!(output.status.success(), "{transport}: {said}");
        assert!(said.contains("Total lost packets 0 "), "{transport}: {said}");
    }
}

#[test]
fn coturn_refuses_what_has_run_out_and_what_another_secret_signed() {
    let coturn = Coturn::start();
    let turn = coturn.settings("udp", Duration::from_mins(10));
    let old = relays(&coturn, turn.clone(), time::unix() - 700, false);
    assert!(!old.status.success() && said(&old).contains("Cannot complete Allocation"));
    let foreign = TurnSettings { secret: Token::new("a guess"), ..turn };
    let foreign = relays(&coturn, foreign, time::unix(), false);
    assert!(!foreign.status.success() && said(&foreign).contains("Cannot complete Allocation"));
}
