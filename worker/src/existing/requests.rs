//! What existing clients ask by way of the broker, before they connect: `peer_message` with an
//! `app_message_type`.

use halyard_protocol::access::Access;
use serde::Deserialize;
use serde_json::{Value, json};

/// What a worker has to offer at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offer {
    /// It has the template `train`.
    pub trains: bool,
    /// It has the template `track`.
    pub tracks: bool,
    /// A job runs or waits.
    pub is_busy: bool,
}

impl Offer {
    /// The tag and the name of every kind of job that it takes.
    pub fn job_types(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let trains = self.trains.then_some(("training-worker", "training"));
        trains.into_iter().chain(self.tracks.then_some(("inference-worker", "inference")))
    }
}

#[derive(Deserialize)]
struct Asked {
    app_message_type: String,
    #[serde(default)]
    job_id: String,
    #[serde(default)]
    job_type: String,
}

/// Longest id that is repeated in an answer.
const MOST_ID_BYTES: usize = 128;

/// The answer for a peer of these rights. `None` for what is no question of an existing client, and
/// for what needs no answer: a `job_assignment` says that the client is about to connect.
pub fn answer(payload: &Value, access: Access, offer: Offer) -> Option<Value> {
    let asked = Asked::deserialize(payload).ok()?;
    if asked.job_id.len() > MOST_ID_BYTES {
        return None;
    }
    match asked.app_message_type.as_str() {
        "job_request" => Some(response(&asked, access, offer)),
        // Nothing runs that could be meant: jobs begin on the channel, and are cancelled there.
        "job_cancel" => Some(json!({
            "app_message_type": "job_failed",
            "job_id": asked.job_id,
            "error": {
                "code": "UNKNOWN_JOB",
                "message": "no job of this id runs here; cancel it on the data channel that it was \
                            submitted on (JOB_CANCEL)",
                "recoverable": false,
            },
        })),
        _ => None,
    }
}

fn response(asked: &Asked, access: Access, offer: Offer) -> Value {
    let fits = match asked.job_type.as_str() {
        "training" => offer.trains,
        "inference" => offer.tracks,
        _ => false,
    };
    let refused = if !access.may_operate() || !fits {
        Some("incompatible")
    } else {
        offer.is_busy.then_some("busy")
    };
    let mut response = json!({
        "app_message_type": "job_response",
        "job_id": asked.job_id,
        "accepted": refused.is_none(),
    });
    match refused {
        Some(reason) => response["reason"] = json!(reason),
        // How long it takes nobody knows before it has begun.
        None => response["estimated_start_time_sec"] = json!(0),
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Offer = Offer { trains: true, tracks: true, is_busy: false };

    fn asked(job_type: &str, access: Access, offer: Offer) -> Value {
        let payload = json!({
            "app_message_type": "job_request", "job_id": "7", "job_type": job_type,
            "config": {}, "requirements": {},
        });
        answer(&payload, access, offer).expect("an answer")
    }

    #[test]
    fn a_request_is_accepted_or_refused_in_their_words() {
        let accepted = asked("training", Access::Operator, ALL);
        assert_eq!(
            accepted,
            json!({
                "app_message_type": "job_response", "job_id": "7", "accepted": true,
                "estimated_start_time_sec": 0,
            })
        );
        let refused = |reason: &str| {
            json!({
                "app_message_type": "job_response", "job_id": "7", "accepted": false,
                "reason": reason,
            })
        };
        let busy = Offer { is_busy: true, ..ALL };
        assert_eq!(asked("inference", Access::Operator, busy), refused("busy"));
        assert_eq!(asked("training", Access::Viewer, ALL), refused("incompatible"));
        assert_eq!(asked("cooking", Access::Operator, ALL), refused("incompatible"));
        assert_eq!(asked("training", Access::Operator, Offer::default()), refused("incompatible"));
    }

    #[test]
    fn other_messages_are_left_to_others() {
        let says = |payload: Value| answer(&payload, Access::Operator, ALL);
        let cancel = says(json!({"app_message_type": "job_cancel", "job_id": "7"}));
        assert_eq!(cancel.expect("an answer")["error"]["code"], "UNKNOWN_JOB");
        assert_eq!(says(json!({"app_message_type": "job_assignment", "job_id": "7"})), None);
        assert_eq!(says(json!({"type": "refused"})), None);
        assert_eq!(says(json!("hello")), None);
        let long = "x".repeat(1000);
        assert_eq!(says(json!({"app_message_type": "job_request", "job_id": long})), None);
    }
}
