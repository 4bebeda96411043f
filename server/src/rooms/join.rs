//! Coming into a room: as somebody new, again, or back.

use halyard_protocol::{
    PROTOCOL_VERSION,
    access::{Access, PeerRole},
    ids::PeerId,
    signal::{CloseCode, ErrorCode, Grant, IceServer, Metadata, Registered, ServerMessage},
    token::Token,
};

use super::{
    Mailbox, Refusal, SessionId, Text,
    member::{Member, Place},
    room::Room,
    words::Word,
};
use crate::{identity::Subject, limits::Limit, secret::TokenHash, time::Now};

/// What one peer may say of itself, in bytes of JSON: everybody in the room is sent it.
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// What all peers of a room may say together, so that the answer to a registration, which has it
/// twice, stays below the megabyte that existing clients accept.
const MAX_ROOM_METADATA_BYTES: usize = 256 * 1024;

/// Somebody who wants to come in, and may: the tokens were checked before.
#[derive(Debug)]
pub struct Join {
    /// The name to go by.
    pub peer: PeerId,
    /// Who it is.
    pub identity: Subject,
    /// What it may do here.
    pub access: Access,
    /// By what right, as the others are told.
    pub grant: Option<Grant>,
    /// Its part.
    pub role: PeerRole,
    /// What it says of itself.
    pub metadata: Metadata,
    /// Whether it wants to coordinate the room's workers.
    pub wants_admin: bool,
    /// What it opened the room with, echoed to it.
    pub token: Option<Token>,
    /// Its claim to an earlier place.
    pub resume: Option<Token>,
    /// The proof it will need to take up this place again.
    pub next_resume: Token,
    /// The session that its socket has in this room already.
    pub again: Option<SessionId>,
    /// What it is told to reach others with.
    pub ice_servers: Vec<IceServer>,
    /// The same, between workers.
    pub mesh_ice_servers: Vec<IceServer>,
}

impl<M: Mailbox> Room<M> {
    /// Lets somebody in. The welcome, and what was kept for it, is for `mailbox` to be given first,
    /// in this order; everybody else is told.
    pub fn join(
        &mut self,
        join: Join,
        mailbox: M,
        now: Now,
    ) -> Result<(SessionId, Vec<Text>), Refusal> {
        if join.role == PeerRole::Worker && !join.access.may_operate() {
            return Err(Refusal::new(
                ErrorCode::Forbidden,
                "A viewer's token does not open the room for a worker; use the operator token, or \
                 the identity that owns the room",
            ));
        }
        let mut first = Vec::new();
        let resumed = self.is_back(&join)?;
        let (session, kept) = if resumed {
            self.back(&join, mailbox)
        } else {
            (self.enter(&join, mailbox, now)?, Vec::new())
        };
        if join.wants_admin && join.access.may_operate() {
            match &self.admin {
                Some(admin) if *admin != join.peer => first.push(Text::from(
                    ServerMessage::AdminConflict {
                        room_id: self.id.clone(),
                        current_admin: admin.clone(),
                    }
                    .to_json(),
                )),
                Some(_) => {}
                None => {
                    self.admin = Some(join.peer.clone());
                    self.tell_holders(|room| room.entry_of(&join.peer).map(Word::Changed));
                }
            }
        }
        first.push(self.welcome(join, resumed));
        first.extend(kept);
        self.cut_slow();
        Ok((session, first))
    }

    /// Whether this is an old place taken up again. Refused when the name is somebody else's.
    fn is_back(&self, join: &Join) -> Result<bool, Refusal> {
        let Some(there) = self.members.get(&join.peer) else { return Ok(false) };
        if there.identity != join.identity {
            return Err(Refusal::name_taken(&join.peer));
        }
        Ok(join.again != Some(there.session)
            && join.resume.as_ref().is_some_and(|token| {
                there.is_mine() && there.resume.is_some_and(|proof| proof.opens(token))
            }))
    }

    /// An old place taken up again, with what was not read there. Nobody else notices, and what
    /// the peer said of itself before it dropped still stands.
    fn back(&mut self, join: &Join, mailbox: M) -> (SessionId, Vec<Text>) {
        let session = self.next_session();
        let Some(member) = self.members.get_mut(&join.peer) else { return (session, Vec::new()) };
        member.session = session;
        member.resume = Some(TokenHash::of(&join.next_resume));
        let kept = match std::mem::replace(&mut member.place, Place::Here(mailbox)) {
            Place::Away { kept, .. } => kept.into_messages(),
            Place::Arriving(arriving) => arriving.kept.followed_by(arriving.later).into_messages(),
            Place::Elsewhere(_) => Vec::new(),
            Place::Here(old) => {
                let unread = old.unread();
                old.close(CloseCode::Replaced);
                unread
            }
        };
        // Its rights may have come with another token meanwhile.
        if member.access != join.access || member.grant != join.grant {
            member.access = join.access;
            member.grant.clone_from(&join.grant);
            if !join.access.may_operate() && member.role == PeerRole::Worker {
                member.role = join.role;
            }
            let info = member.info(&join.peer);
            self.broadcast(&ServerMessage::PeerJoined(info), &join.peer);
            self.tell_holders(|room| room.entry_of(&join.peer).map(Word::Joined));
        }
        tracing::debug!(room = %self.id, peer = %join.peer, kept = kept.len(), "a peer is back");
        (session, kept)
    }

    /// A new place, or a new description of one on the same socket.
    fn enter(&mut self, join: &Join, mailbox: M, now: Now) -> Result<SessionId, Refusal> {
        let metadata_bytes = self.room_for(join)?;
        // Before an old place is given up: who comes again has not departed.
        let presence = self.presence_of(&join.identity);
        let same_socket =
            self.members.get(&join.peer).filter(|there| join.again == Some(there.session));
        let (session, connected_at, stamp) = if let Some(there) = same_socket {
            (there.session, there.connected_at, there.stamp)
        } else {
            // Later than the stay that it ends, whatever the clocks of two servers say.
            let before = self.members.get(&join.peer).map_or(0, |there| there.stamp + 1);
            let stamp = u64::try_from(now.wall.as_millis()).unwrap_or(u64::MAX).max(before);
            if let Some(old) = self.take_out(&join.peer, None)
                && let Some(mailbox) = old.mailbox()
            {
                mailbox.close(CloseCode::Replaced);
            }
            (self.next_session(), now.wall.as_secs_f64(), stamp)
        };
        let member = Member {
            identity: join.identity.clone(),
            access: join.access,
            grant: join.grant.clone(),
            role: join.role,
            metadata: join.metadata.clone(),
            metadata_bytes,
            connected_at,
            stamp,
            session,
            resume: Some(TokenHash::of(&join.next_resume)),
            place: Place::Here(mailbox),
            presence,
        };
        let info = member.info(&join.peer);
        self.members.insert(join.peer.clone(), member);
        self.broadcast(&ServerMessage::PeerJoined(info), &join.peer);
        self.tell_holders(|room| room.entry_of(&join.peer).map(Word::Joined));
        Ok(session)
    }

    fn welcome(&self, join: Join, resumed: bool) -> Text {
        let others = || self.members.iter().filter(|(peer, _)| **peer != join.peer);
        let registered = Registered {
            room_id: self.id.clone(),
            token: join.token,
            admin_peer_id: self.admin.clone(),
            peer_list: others().map(|(peer, _)| peer.clone()).collect(),
            peer_metadata: others().map(|(p, m)| (p.clone(), m.metadata.clone())).collect(),
            ice_servers: join.ice_servers,
            mesh_ice_servers: join.mesh_ice_servers,
            role: Some(join.access),
            peers: others().map(|(peer, member)| member.info(peer)).collect(),
            resume_token: Some(join.next_resume),
            resumed,
            expires_at: Some(self.expires_at),
            protocol: PROTOCOL_VERSION,
            peer_id: join.peer,
        };
        ServerMessage::RegisteredAuth(Box::new(registered)).to_json().into()
    }

    /// Whether there is room for it and for what it says; how much that takes.
    fn room_for(&self, join: &Join) -> Result<usize, Refusal> {
        let there = self.members.get(&join.peer);
        let most = self.limits.max_peers;
        if there.is_none() && self.members.len() >= most {
            return Err(Refusal::over(
                Limit::PeersPerRoom,
                format!("The room is full: it has {most} peers, which is the most"),
            ));
        }
        self.metadata_fits(&join.metadata, there.map_or(0, |member| member.metadata_bytes))
    }

    /// How much of the room's budget this takes, if it fits in place of what took `instead_of`.
    pub(super) fn metadata_fits(
        &self,
        metadata: &Metadata,
        instead_of: usize,
    ) -> Result<usize, Refusal> {
        let bytes = serde_json::to_vec(metadata).map_or(usize::MAX, |json| json.len());
        let others: usize = self.members.values().map(|member| member.metadata_bytes).sum();
        let room = MAX_ROOM_METADATA_BYTES.saturating_sub(others.saturating_sub(instead_of));
        let most = MAX_METADATA_BYTES.min(room);
        if bytes > most {
            return Err(Refusal::new(
                ErrorCode::LimitExceeded,
                format!("The metadata has {bytes} bytes, at most {most} are accepted here"),
            ));
        }
        Ok(bytes)
    }
}
