//! `halyard room`: make and manage rooms.

use std::time::SystemTime;

use halyard_protocol::{
    access::Access,
    ids::{PeerId, RoomId},
    link::JoinLink,
};
use serde_json::json;
use url::Url;

use super::{
    args::{Role, RoomCommand, RoomName},
    exit::{CliError, Exit},
    output::{GOOD, STRONG, columns, printable},
    session::Context,
    state::State,
    words,
};
use crate::api::{Api, Identity, RoomOptions, WhomToRevoke};

pub(super) async fn run(context: &Context<'_>, command: RoomCommand) -> Result<(), CliError> {
    let work = async {
        match command {
            RoomCommand::Create { ttl, name } => create(context, RoomOptions { ttl, name }).await,
            RoomCommand::Show(room) => show(&Owned::new(context, room).await?).await,
            RoomCommand::Extend { room, ttl } => {
                let owned = Owned::new(context, room).await?;
                let info = owned.api.extend_room(&owned.identity, &owned.room, ttl).await?;
                let ends = info.expires_at.map(words::until).unwrap_or_default();
                context.output.object(&json!({
                    "event": "extended", "room_id": info.room_id, "expires_at": info.expires_at,
                }))?;
                context.output.line(format!("{GOOD}extended{GOOD:#}, it ends {ends}"))
            }
            RoomCommand::Delete(room) => {
                let owned = Owned::new(context, room).await?;
                owned.api.delete_room(&owned.identity, &owned.room).await?;
                context.output.object(&json!({ "event": "deleted", "room_id": owned.room }))?;
                context.output.line(format!("{GOOD}deleted{GOOD:#}"))
            }
            RoomCommand::Revoke { room, peer, role } => {
                let owned = Owned::new(context, room).await?;
                revoke(&owned, peer, role).await
            }
        }
    };
    context.unless_stopped(work).await
}

/// A room of ours, and what is needed to manage it.
struct Owned<'a> {
    context: &'a Context<'a>,
    api: Api,
    identity: Identity,
    room: RoomId,
}

impl<'a> Owned<'a> {
    async fn new(context: &'a Context<'a>, name: RoomName) -> Result<Self, CliError> {
        let (server, room) = which(context, name)?;
        let mut state = State::open(context.settings.state_dir.as_deref())?;
        let kept = state.identity(&server).ok_or_else(|| {
            CliError::new(
                Exit::Refused,
                "NOT_OWNER",
                format!(
                    "no room was made on {server} from here; only who made a room manages it \
                     (`halyard room create --server {server}`)"
                ),
            )
        })?;
        let api = context.api(server)?;
        let identity = fresh(&api, kept, &mut state).await?;
        Ok(Self { context, api, identity, room })
    }
}

/// An identity with enough time left. One that ran out cannot come back.
async fn fresh(api: &Api, kept: Identity, state: &mut State) -> Result<Identity, CliError> {
    let now = SystemTime::now();
    if !kept.is_fresh(now) {
        return Err(CliError::new(
            Exit::Refused,
            "IDENTITY_EXPIRED",
            "the identity that made rooms on this server has run out; its rooms end by \
             themselves, `halyard room create` starts with a new one",
        ));
    }
    if !kept.is_stale(now) {
        return Ok(kept);
    }
    match api.renew(&kept).await {
        Ok(renewed) => {
            state.keep(api.server(), &renewed)?;
            Ok(renewed)
        }
        // It still holds for this call.
        Err(error) => {
            tracing::info!(%error, "the identity was not renewed");
            Ok(kept)
        }
    }
}

async fn create(context: &Context<'_>, options: RoomOptions) -> Result<(), CliError> {
    let server =
        context.settings.server.clone().ok_or_else(|| {
            CliError::usage("no server is named: add --server URL or HALYARD_SERVER")
        })?;
    let api = context.api(server.clone())?;
    let mut state = State::open(context.settings.state_dir.as_deref())?;
    let kept = state.identity(&server).filter(|kept| kept.is_fresh(SystemTime::now()));
    let identity = match kept {
        Some(kept) => fresh(&api, kept, &mut state).await?,
        None => api.sign_in().await?,
    };
    // Kept before the room is made: a room whose owner is forgotten cannot be closed.
    state.keep(&server, &identity)?;
    let room = api.create_room(&identity, &options).await?;
    let operator = room.operator_link(&server).map(|link| link.expose());
    let viewer = room.viewer_link(&server).map(|link| link.expose());
    context.output.object(&json!({
        "event": "room",
        "room_id": room.room_id,
        "token": room.token,
        "role": "operator",
        "expires_at": room.expires_at,
        "tokens": room.tokens,
        "join_url": operator,
        "viewer_url": viewer,
    }))?;
    let mut rows = vec![["Room".to_owned(), room.room_id.to_string()]];
    rows.extend(room.expires_at.map(|at| ["Ends".to_owned(), words::until(at)]));
    rows.extend(operator.map(|link| ["Operator".to_owned(), link]));
    rows.extend(viewer.map(|link| ["Viewers".to_owned(), link]));
    for line in columns(&rows) {
        context.output.line(line)?;
    }
    Ok(())
}

async fn show(owned: &Owned<'_>) -> Result<(), CliError> {
    let output = owned.context.output;
    let info = owned.api.show_room(&owned.identity, &owned.room).await?;
    output.object(&json!({
        "event": "room", "room_id": info.room_id, "name": info.name,
        "expires_at": info.expires_at, "peers": info.peers,
    }))?;
    let name = info.name.map(|name| format!(" ({})", printable(&name))).unwrap_or_default();
    let ends = info.expires_at.map(|at| format!(", ends {}", words::until(at)));
    output.line(format!(
        "{STRONG}Room {}{STRONG:#}{name}{}",
        info.room_id,
        ends.unwrap_or_default()
    ))?;
    if info.peers.is_empty() {
        return output.line("  nobody is here");
    }
    let mut rows = vec![["WHO", "ROLE", "ACCESS"].map(str::to_owned)];
    rows.extend(
        info.peers
            .iter()
            .map(|p| [p.peer_id.to_string(), p.role.to_string(), p.access.to_string()]),
    );
    for line in columns(&rows) {
        output.line(format!("  {line}"))?;
    }
    Ok(())
}

async fn revoke(
    owned: &Owned<'_>,
    peer: Option<String>,
    role: Option<Role>,
) -> Result<(), CliError> {
    let whom = match (peer, role) {
        (Some(peer), _) => WhomToRevoke::Peer {
            peer_id: PeerId::new(peer).map_err(|error| CliError::usage(error.to_string()))?,
        },
        (None, Some(Role::Viewer)) => WhomToRevoke::Role { role: Access::Viewer },
        (None, _) => WhomToRevoke::Role { role: Access::Operator },
    };
    let output = owned.context.output;
    let revoked = owned.api.revoke(&owned.identity, &owned.room, &whom).await?;
    output.object(&json!({
        "event": "revoked", "room_id": owned.room, "token": revoked.token,
        "join_url": revoked.join_url, "viewer_url": revoked.viewer_url,
        "revoked": revoked.extra.get("revoked"),
    }))?;
    let nobody = matches!(revoked.extra.get("revoked"), Some(n) if n == 0 || n == false);
    let words = if nobody { ", nobody of that kind was here" } else { "" };
    output.line(format!("{GOOD}revoked{GOOD:#}{words}"))?;
    match revoked.join_url.or(revoked.viewer_url) {
        Some(link) => output.line(format!("New link  {}", link.expose())),
        None => Ok(()),
    }
}

/// The room by its id or its link, and its server.
fn which(context: &Context<'_>, name: RoomName) -> Result<(Url, RoomId), CliError> {
    let settings = &context.settings;
    if let Some(link) = name.name.as_deref().filter(|name| name.contains("://")) {
        let link = JoinLink::parse(link).map_err(|error| CliError::usage(error.to_string()))?;
        return Ok((link.server().clone(), link.room().clone()));
    }
    let room = match (name.name, &settings.room) {
        (Some(name), _) => RoomId::new(name).map_err(|error| CliError::usage(error.to_string()))?,
        (None, Some(room)) => room.clone(),
        (None, None) => {
            return Err(CliError::usage("no room is named: give its id or its link"));
        }
    };
    let server = settings.server.clone().ok_or_else(|| {
        CliError::usage("no server is named: add --server URL or HALYARD_SERVER, or give the link")
    })?;
    Ok((server, room))
}
