//! The page, REST and the upgrade to a WebSocket, on one port.

mod auth;
mod body;
mod caller;
mod error;
mod headers;
mod health;
mod legacy;
mod links;
mod log_level;
mod metrics;
mod openapi;
pub mod origin;
mod page;
mod rooms;
mod socket;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderValue, Method, header},
    middleware,
    routing::{any, get},
};
use tokio_util::task::TaskTracker;
use tower_http::cors::{AllowOrigin, CorsLayer};

pub use self::log_level::LogLevel;
use crate::{
    accept::Held,
    broker::{Broker, RoomError},
    cue::Cue,
    settings::AllowedOrigins,
    store::StoreError,
};

/// Largest body of a REST call: the biggest that means anything has a few hundred bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// A browser need not ask again for this long whether a page may call.
const PREFLIGHT_GOOD_FOR: Duration = Duration::from_mins(10);

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) broker: Arc<Broker>,
    /// The address that was taken, for links when nobody says another.
    pub(crate) local_addr: SocketAddr,
    /// Fires when the broker should stop.
    pub(crate) stop: Cue,
    /// Fires when waiting for a graceful end is over.
    pub(crate) kill: Cue,
    /// The tasks of sockets, so that somebody waits for them.
    pub(crate) tasks: TaskTracker,
}

impl App {
    /// A broker that does not run and listens nowhere.
    #[cfg(test)]
    fn for_tests(broker: Arc<Broker>) -> Self {
        Self {
            broker,
            local_addr: SocketAddr::from(([127, 0, 0, 1], 1)),
            stop: Cue::default(),
            kill: Cue::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Does something to the end even where the caller hangs up half way. The handler is dropped
    /// then, and a room whose record is gone while its peers go on talking could not be closed by
    /// anybody.
    async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, RoomError>> + Send + 'static,
    ) -> Result<T, RoomError> {
        let done = self.tasks.spawn(work).await;
        done.map_err(|error| RoomError::Store(StoreError::Backend(error.to_string())))?
    }
}

/// One connection's share of what may be open; it goes where the connection goes.
#[derive(Debug, Clone)]
pub(crate) struct Permit(#[expect(dead_code, reason = "held, not read")] pub(crate) Arc<Held>);

/// Every route of the broker.
pub(crate) fn routes(app: App) -> Router {
    let routes = openapi::rest()
        .route("/", any(socket::page_or_socket))
        .route("/ws", any(socket::socket))
        .route("/r/{room}", get(page::room))
        .fallback(page::asset);
    finished(routes, app)
}

/// The routes of the port that has REST alone, as the original's 8001.
pub(crate) fn rest_routes(app: App) -> Router {
    finished(openapi::rest().fallback(error::not_found), app)
}

/// What every call goes through, from the last to the first.
fn finished(routes: Router<App>, app: App) -> Router {
    routes
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), caller::admit))
        .layer(cors(&app.broker.settings.allowed_origins))
        .layer(middleware::from_fn(headers::secure))
        .layer(middleware::from_fn_with_state(app.clone(), metrics::count))
        .with_state(app)
}

/// The routes of the second address.
pub(crate) fn admin_routes(app: App, level: Option<Arc<dyn LogLevel>>) -> Router {
    health::routes()
        .merge(log_level::routes(level))
        .route("/metrics", get(metrics::scrape))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::from_fn(headers::secure))
        .with_state(app)
}

/// What pages from elsewhere may do. A page of the broker's own needs none of it.
fn cors(allowed: &AllowedOrigins) -> CorsLayer {
    let origin = match allowed {
        AllowedOrigins::Any => AllowOrigin::any(),
        AllowedOrigins::Only(listed) => {
            AllowOrigin::list(listed.iter().filter_map(|text| HeaderValue::from_str(text).ok()))
        }
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .expose_headers([header::RETRY_AFTER])
        .max_age(PREFLIGHT_GOOD_FOR)
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use halyard_protocol::{
        access::{Access, PeerRole},
        ids::{PeerId, RoomId},
        signal::CloseCode,
    };
    use tower::ServiceExt;

    use super::*;
    use crate::{
        Settings,
        rooms::{Batch, Join, Outbox},
        secret::{TokenHash, new_token},
        store::{RoomRecord, RoomStore, SlowStore},
        time::Now,
        wiring,
    };

    #[tokio::test]
    async fn a_room_is_closed_even_where_who_deletes_it_hangs_up_half_way() {
        let store = Arc::new(SlowStore::default());
        let broker = wiring::open(Settings::default()).expect("a broker");
        let broker = Arc::new(Broker { store: store.clone(), ..broker });
        let app = App::for_tests(broker.clone());
        let now = Now::read();
        let owner = broker.identity.sign_in(None, now).await.expect("signed in");
        let record = RoomRecord {
            id: RoomId::new("lab").expect("a name"),
            name: None,
            owner: owner.subject.clone(),
            created_at: now.unix(),
            expires_at: now.unix() + 600,
            operator: TokenHash::of(&new_token()),
            viewer: TokenHash::of(&new_token()),
            banned: Vec::new(),
        };
        store.rooms.create(&record, 1, now.unix()).await.expect("kept");
        let outbox: Arc<Outbox> = Arc::default();
        let join = Join {
            peer: PeerId::new("ann").expect("a name"),
            identity: owner.subject,
            access: Access::Admin,
            grant: None,
            role: PeerRole::Client,
            metadata: serde_json::from_str("{}").expect("metadata"),
            wants_admin: false,
            token: None,
            resume: None,
            next_resume: new_token(),
            again: None,
            ice_servers: vec![],
            mesh_ice_servers: vec![],
        };
        let seat = broker.hall.join(&record, join, &outbox, now, broker.hall.withdrawals());
        let _seat = seat.expect("in");

        let bearer = format!("Bearer {}", owner.id_token.expose());
        let request = Request::delete("/rooms/lab").header(header::AUTHORIZATION, bearer);
        let request = request.body(Body::empty()).expect("a request");
        let tasks = app.tasks.clone();
        let asking = tokio::spawn(routes(app).oneshot(request));
        store.answer(1);
        store.asked().await;
        store.asked().await;
        // The record is gone; nobody was told yet.
        assert_eq!(outbox.take(&mut Batch::default()), None);
        asking.abort();
        assert!(asking.await.expect_err("hung up").is_cancelled());
        store.answer(1);
        tasks.close();
        tasks.wait().await;
        assert_eq!(outbox.take(&mut Batch::default()), Some(CloseCode::RoomClosed));
    }
}
