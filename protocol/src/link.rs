//! The join link: `http(s)://HOST[:PORT]/r/ROOM_ID#TOKEN`.
//!
//! The token stands behind `#`, which browsers never send, so no log and no proxy sees it.

use std::fmt;

use url::Url;

use crate::{
    ids::{IdError, RoomId},
    token::Token,
};

/// Everything needed to join a room.
#[derive(Debug, Clone)]
pub struct JoinLink {
    server: Url,
    room: RoomId,
    token: Option<Token>,
}

/// A text is not a join link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Not a URL at all.
    #[error("the link is not a URL ({0}); it looks like https://host/r/ROOM_ID#TOKEN")]
    Url(#[from] url::ParseError),
    /// Another scheme than http or https.
    #[error("the link starts with {0}://, accepted are http:// and https://")]
    Scheme(String),
    /// The path is not `/r/ROOM_ID`.
    #[error("the link has no room in it; it looks like https://host/r/ROOM_ID#TOKEN")]
    NoRoom,
    /// The room id is malformed.
    #[error(transparent)]
    Room(#[from] IdError),
}

impl JoinLink {
    /// A link from its parts. `server` is the broker's address; its path is kept as a prefix.
    pub fn new(server: Url, room: RoomId, token: Option<Token>) -> Result<Self, LinkError> {
        if !matches!(server.scheme(), "http" | "https") {
            return Err(LinkError::Scheme(server.scheme().to_owned()));
        }
        let mut server = server;
        server.set_fragment(None);
        server.set_query(None);
        Ok(Self { server, room, token })
    }

    /// Reads a link. A link without a token is accepted: it may come from `HALYARD_TOKEN`.
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let mut url = Url::parse(text.trim())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(LinkError::Scheme(url.scheme().to_owned()));
        }
        let token = url.fragment().filter(|f| !f.is_empty()).map(Token::new);
        url.set_fragment(None);
        url.set_query(None);
        let path = url.path().trim_end_matches('/').to_owned();
        let (prefix, room) = path.rsplit_once("/r/").ok_or(LinkError::NoRoom)?;
        let room = RoomId::new(room)?;
        url.set_path(prefix);
        Ok(Self { server: url, room, token })
    }

    /// The broker's base address, without the room.
    pub fn server(&self) -> &Url {
        &self.server
    }

    /// The room.
    pub fn room(&self) -> &RoomId {
        &self.room
    }

    /// The token, where the link carried one.
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// The same link with this token.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// The whole link with the secret in it, for printing once to the person who owns it.
    pub fn expose(&self) -> String {
        match &self.token {
            Some(token) => format!("{self}#{}", token.expose()),
            None => self.to_string(),
        }
    }
}

/// Without the token.
impl fmt::Display for JoinLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/r/{}", self.server.as_str().trim_end_matches('/'), self.room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_reads_back_as_it_was_written() {
        let text = "http://127.0.0.1:8080/r/4d7f5fe9#abc-_1";
        let link = JoinLink::parse(text).expect("a good link");
        assert_eq!(link.room().as_str(), "4d7f5fe9");
        assert_eq!(link.server().as_str(), "http://127.0.0.1:8080/");
        assert_eq!(link.expose(), text);
        assert_eq!(link.to_string(), "http://127.0.0.1:8080/r/4d7f5fe9");
    }

    #[test]
    fn a_broker_below_a_path_keeps_its_prefix() {
        let link = JoinLink::parse("https://lab.example/halyard/r/ab12#t").expect("a good link");
        assert_eq!(link.server().as_str(), "https://lab.example/halyard");
        assert_eq!(link.to_string(), "https://lab.example/halyard/r/ab12");
    }

    #[test]
    fn what_is_no_link_says_what_one_looks_like() {
        assert!(JoinLink::parse("rover").expect_err("no URL").to_string().contains("/r/ROOM_ID"));
        assert!(matches!(JoinLink::parse("ftp://x/r/a"), Err(LinkError::Scheme(_))));
        assert!(matches!(JoinLink::parse("http://x/y"), Err(LinkError::NoRoom)));
        assert!(matches!(JoinLink::parse("http://x/r/a%20b"), Err(LinkError::Room(_))));
    }

    #[test]
    fn debug_output_has_no_token_in_it() {
        let link = JoinLink::parse("http://h/r/ab12#s3cret").expect("a good link");
        assert!(!format!("{link:?}").contains("s3cret"));
    }
}
