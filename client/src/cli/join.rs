//! `halyard join`: who is here and what the worker offers.

use halyard_protocol::channel::{Hello, Severity, VideoInfo};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::{
    args::Join,
    computer,
    exit::CliError,
    output::{Output, STRONG, columns, printable},
    session::Context,
    words,
};
use crate::session::{Session, SessionEvent};

pub(super) async fn run(context: &Context<'_>, mut args: Join) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    Context::nothing_more(&args.words)?;
    let options = context.options(&link)?;
    let room = link.room().to_string();
    context
        .in_session(link, options, async |session| {
            let mut events = session.events();
            let hello = session.ready().await?;
            show(context.output, &room, session, &hello)?;
            if !args.stay {
                return Ok(());
            }
            loop {
                match events.recv().await {
                    Ok(event) => happened(context.output, &event)?,
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(session.ended().await.into()),
                }
            }
        })
        .await
}

fn show(output: Output, room: &str, session: &Session, hello: &Hello) -> Result<(), CliError> {
    let peers = session.peers();
    let access = hello.your_access.unwrap_or(session.access());
    output.object(&json!({
        "event": "joined",
        "room_id": room,
        "peer_id": session.me(),
        "access": access,
        "expires_at": session.expires_at(),
        "worker": session.worker(),
        "hello": hello,
        "peers": &*peers,
    }))?;
    let ends = session.expires_at().map(|at| format!(", ends {}", words::until(at)));
    output.line(format!(
        "{STRONG}Room {room}{STRONG:#}{}, you are {} ({access})",
        ends.unwrap_or_default(),
        session.me()
    ))?;
    let mut rows = vec![["WHO", "ROLE", "ACCESS", "ABOUT"].map(str::to_owned)];
    rows.extend(peers.iter().map(|peer| {
        let about = peer.metadata.properties.as_ref().map(computer::about);
        [
            peer.peer_id.to_string(),
            peer.role.to_string(),
            peer.access.to_string(),
            about.unwrap_or_default(),
        ]
    }));
    table(output, &rows)?;
    output.line(format!("{STRONG}The worker{STRONG:#} {} offers", printable(&hello.agent)))?;
    let mut offers = Vec::new();
    offers.extend(hello.video.iter().map(|video| ["video".to_owned(), picture(video)]));
    if let Some(drive) = &hello.drive {
        offers.push([
            "drive".to_owned(),
            format!(
                "up to {} m/s and {} rad/s, stops by itself after {} ms",
                drive.max_linear, drive.max_angular, drive.watchdog_ms
            ),
        ]);
    }
    if let Some(files) = &hello.files {
        let what = match (files.readable, files.writable) {
            (true, true) => "list, get and send",
            (true, false) => "list only",
            (false, true) => "send only",
            (false, false) => "none",
        };
        let hint = files.hint.as_deref().map(|hint| format!(" ({})", printable(hint)));
        offers.push(["files".to_owned(), format!("{what}{}", hint.unwrap_or_default())]);
    }
    for command in &hello.commands {
        offers.push([
            "command".to_owned(),
            format!(
                "{}: {} ({} or more)",
                printable(&command.name),
                printable(&command.help),
                command.access
            ),
        ]);
    }
    if offers.is_empty() {
        return output.line("  nothing that this version knows");
    }
    for line in columns(&offers) {
        output.line(format!("  {line}"))?;
    }
    Ok(())
}

fn table<const N: usize>(output: Output, rows: &[[String; N]]) -> Result<(), CliError> {
    for line in columns(rows) {
        output.line(format!("  {line}"))?;
    }
    Ok(())
}

fn picture(video: &VideoInfo) -> String {
    let size = match (video.width, video.height) {
        (0, _) | (_, 0) => String::new(),
        (width, height) => format!(" {width}x{height}"),
    };
    let rate = if video.fps > 0.0 { format!(" {} frames/s", video.fps) } else { String::new() };
    format!("{} ({}{size}{rate})", printable(&video.name), printable(&video.codec))
}

fn happened(output: Output, event: &SessionEvent) -> Result<(), CliError> {
    let (object, words): (Value, String) = match event {
        SessionEvent::PeerJoined(peer) => (
            json!({ "event": "peer_joined", "peer": peer }),
            format!("{} came ({}, {})", peer.peer_id, peer.role, peer.access),
        ),
        SessionEvent::PeerLeft(peer) => {
            (json!({ "event": "peer_left", "peer_id": peer }), format!("{peer} left"))
        }
        SessionEvent::Connected { worker, again, .. } => (
            json!({ "event": "connected", "worker": worker, "again": again }),
            format!("connected to {worker}"),
        ),
        SessionEvent::Disconnected { reason } => {
            (json!({ "event": "disconnected", "reason": reason }), "disconnected".to_owned())
        }
        SessionEvent::Lease(lease) => (
            json!({ "event": "lease", "holder": lease.holder, "number": lease.number,
                "you": lease.you }),
            match &lease.holder {
                Some(holder) => format!("{holder} drives"),
                None => "nobody drives".to_owned(),
            },
        ),
        SessionEvent::Estop { latched, by } => (
            json!({ "event": "estop", "latched": latched, "by": by }),
            if *latched { "emergency stop pressed" } else { "emergency stop cleared" }.to_owned(),
        ),
        SessionEvent::Notice(notice) => (
            json!({ "event": "notice", "severity": notice.severity, "code": notice.code,
                "message": notice.message }),
            // Louder ones are read on stderr already.
            match notice.severity {
                Severity::Info => printable(&notice.message),
                _ => String::new(),
            },
        ),
        _ => return Ok(()),
    };
    output.object(&object)?;
    if words.is_empty() { Ok(()) } else { output.line(words) }
}
