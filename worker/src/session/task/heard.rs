//! What the peer says on its lanes, handed to the part of the session that it is for.

use halyard_protocol::channel::{Estop, Lane, Listen, Message, Talk};

use super::{End, Live};

impl Live {
    pub(super) async fn heard(&mut self, lane: Lane, text: &str) -> Result<(), End> {
        let message = match Message::decode(text) {
            Ok(message) => message,
            Err(error) => return Ok(self.speaker.complain("bad_message", error.to_string())?),
        };
        let Some(message) = self.files.message(message) else { return Ok(()) };
        let peer = &self.start.asker.peer;
        match message {
            Message::Drive(drive) => self.helm.drive(drive),
            Message::Estop(Estop::Ask { action }) => self.helm.estop(action, &self.speaker).await?,
            Message::LeaseRequest(request) => {
                self.helm.lease(request, &mut self.speaker).await?;
            }
            Message::Listen(Listen { on }) => self.voices.listen(on, &self.peer),
            Message::Talk(Talk::Ask { on }) => self.voices.talk(on, &mut self.speaker)?,
            Message::Watch(choice) => {
                self.pictures.choose(&choice, &self.peer, &mut self.speaker)?;
            }
            Message::Command(command) => {
                if let Some(answer) = self.questions.command(command).await {
                    self.speaker.say(answer)?;
                }
            }
            message @ (Message::JobSubmit(_)
            | Message::JobList(_)
            | Message::JobEventsFrom(_)
            | Message::JobStop(_)
            | Message::JobCancel(_)) => {
                if let Some(answer) = self.questions.job(message) {
                    self.speaker.say(answer)?;
                }
            }
            Message::Hello(hello) => {
                tracing::info!(%peer, agent = shortened(&hello.agent), "hello");
            }
            Message::Bye(bye) => return Err(End::Left(shortened(&bye.reason).to_owned())),
            Message::Unknown { prefix, .. } => {
                let prefix = shortened(&prefix).to_owned();
                let text = format!("{prefix:?} is not known here, see HELLO for what is offered");
                self.speaker.complain("unknown_message", text)?;
            }
            // Words of a worker, said to one.
            other => tracing::debug!(%peer, %lane, ?other, "not for a worker"),
        }
        Ok(())
    }
}

/// What a peer said of itself, no longer than a line of a log and nothing but one line.
pub(super) fn shortened(text: &str) -> &str {
    let mut chars = text.char_indices().enumerate();
    let end = chars.find(|(count, (_, c))| *count == 80 || c.is_control());
    &text[..end.map_or(text.len(), |(_, (at, _))| at)]
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn what_a_peer_says_cannot_begin_a_line_of_the_log() {
        assert_eq!(shortened("closed\n2026-01-01 ERROR all is lost"), "closed");
        assert_eq!(shortened("\u{1b}[2J"), "");
        assert_eq!(shortened(&"ä".repeat(100)), "ä".repeat(80));
        assert_eq!(shortened("closed by the user"), "closed by the user");
    }
}
