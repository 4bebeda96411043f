//! What a worker tells its owner: three lines for people, or one JSON object a line.

use std::io::{self, Write};

use halyard_protocol::{
    access::Access,
    ids::{PeerId, RoomId},
    token::Token,
};
use serde::Serialize;
use tokio::sync::mpsc;

/// Something its owner may want to know.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Report {
    /// The room is open. The first report, and again when a room had to be made anew.
    Room(Room),
    /// A peer's connection is up.
    PeerConnected {
        /// Who.
        peer_id: PeerId,
        /// With what rights.
        access: Access,
    },
    /// A peer's session is over.
    PeerDisconnected {
        /// Who.
        peer_id: PeerId,
        /// Why.
        reason: String,
    },
    /// The broker is away; sessions go on.
    SignalingLost {
        /// Why.
        reason: String,
    },
    /// The broker is back.
    SignalingBack,
    /// The room lives on until then.
    RoomExtended {
        /// Seconds since 1970.
        expires_at: u64,
    },
    /// Something happened to a picture.
    Video {
        /// Which.
        track: String,
        /// `source_lost` or `source_back`.
        code: String,
        /// In words.
        message: String,
    },
    /// Something happened to the sound, or to the speaker.
    Sound {
        /// `sound_lost`, `sound_back`, `speaker_lost` or `speaker_back`.
        code: String,
        /// In words.
        message: String,
    },
    /// The worker said goodbye to everybody and ends. The last report.
    Stopped,
}

/// An open room, with its secrets: for its owner's eyes.
#[derive(Debug, Clone, Serialize)]
pub struct Room {
    /// Its public name.
    pub room_id: RoomId,
    /// The operator token.
    pub token: Token,
    /// What the token allows.
    pub role: Access,
    /// The operator's join link, token included.
    pub join_url: Token,
    /// The viewers' join link, token included; unknown for a room that others made.
    pub viewer_url: Option<Token>,
    /// Where the worker itself is asked over HTTP, if it is; without any token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct: Option<Addresses>,
}

/// The addresses of direct mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// For an offer in JSON.
    pub offer: String,
    /// For players.
    pub whep: String,
    /// The picture as a row of JPEGs.
    pub mjpeg: String,
    /// One picture.
    pub snapshot: String,
    /// How the worker is.
    pub status: String,
}

impl Addresses {
    /// Those of the worker that made this join link.
    pub fn beside(join_url: &Token) -> Option<Self> {
        let (base, _) = join_url.expose().split_once("/r/")?;
        let at = |path: &str| format!("{base}/{path}");
        Some(Self {
            offer: at("offer"),
            whep: at("whep"),
            mjpeg: at("mjpeg"),
            snapshot: at("snapshot.jpg"),
            status: at("status"),
        })
    }
}

/// Where reports go. Never waits: a reader who is late loses some.
#[derive(Debug, Clone)]
pub struct Reports(mpsc::Sender<Report>);

/// Reports that may wait for their reader.
const QUEUE: usize = 256;

impl Reports {
    /// A queue of reports.
    pub fn channel() -> (Self, mpsc::Receiver<Report>) {
        let (send, receive) = mpsc::channel(QUEUE);
        (Self(send), receive)
    }

    /// Tells the owner.
    pub fn tell(&self, report: Report) {
        if self.0.try_send(report).is_err() {
            tracing::debug!("a report was lost, nobody reads them");
        }
    }
}

/// Writes reports until there are no more.
pub async fn write_all(mut reports: mpsc::Receiver<Report>, json: bool) {
    while let Some(report) = reports.recv().await {
        let written = if json { write_json(&report) } else { write_text(&report) };
        if let Err(error) = written {
            // Whoever read them is gone; the machine's work goes on.
            tracing::warn!(%error, "reports cannot be written any more");
            return;
        }
    }
}

fn write_json(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, report)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// People get the links; what happens afterwards is in the log.
fn write_text(report: &Report) -> io::Result<()> {
    if let Report::Room(room) = report {
        let mut out = anstream::stdout().lock();
        out.write_all(lines(room).as_bytes())?;
        out.flush()?;
    }
    Ok(())
}

/// Exactly three lines, aligned. The colours are taken out again where there is no terminal.
pub fn lines(room: &Room) -> String {
    let name = anstyle::Style::new().bold();
    let link = anstyle::AnsiColor::Cyan.on_default();
    let viewer = room.viewer_url.as_ref().map_or("(ask the room's owner)", Token::expose);
    let operator = room.join_url.expose();
    format!(
        "{name}Drive{name:#}  {link}{operator}{link:#}\n\
         {name}Watch{name:#}  {link}{viewer}{link:#}\n\
         {name}Try{name:#}    open Drive in a browser and use the arrow keys; or: halyard telemetry \
         '{operator}'\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> Room {
        Room {
            room_id: RoomId::new("ab12").expect("a good name"),
            token: Token::new("t0"),
            role: Access::Operator,
            join_url: Token::new("http://127.0.0.1:8080/r/ab12#t0"),
            viewer_url: Some(Token::new("http://127.0.0.1:8080/r/ab12#t1")),
            direct: None,
        }
    }

    #[test]
    fn a_newcomer_sees_three_aligned_lines() {
        let plain = anstream::adapter::strip_str(&lines(&room())).to_string();
        assert_eq!(
            plain,
            "Drive  http://127.0.0.1:8080/r/ab12#t0\n\
             Watch  http://127.0.0.1:8080/r/ab12#t1\n\
             Try    open Drive in a browser and use the arrow keys; or: halyard telemetry \
             'http://127.0.0.1:8080/r/ab12#t0'\n"
        );
    }

    #[test]
    fn a_program_reads_the_room_in_the_documented_words() {
        let line = serde_json::to_value(Report::Room(room())).expect("plain data");
        assert_eq!(
            line,
            serde_json::json!({
                "event": "room", "room_id": "ab12", "token": "t0", "role": "operator",
                "join_url": "http://127.0.0.1:8080/r/ab12#t0",
                "viewer_url": "http://127.0.0.1:8080/r/ab12#t1"
            })
        );
    }

    #[test]
    fn a_worker_that_is_asked_directly_says_where_and_no_secret() {
        let link = Token::new("https://robot.example/rover/r/ab12#t0");
        let addresses = serde_json::to_value(Addresses::beside(&link)).expect("plain data");
        assert_eq!(
            addresses,
            serde_json::json!({
                "offer": "https://robot.example/rover/offer",
                "whep": "https://robot.example/rover/whep",
                "mjpeg": "https://robot.example/rover/mjpeg",
                "snapshot": "https://robot.example/rover/snapshot.jpg",
                "status": "https://robot.example/rover/status"
            })
        );
    }
}
