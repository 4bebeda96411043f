//! What the other end may do with the files here.

use std::{fmt, sync::Arc};

use halyard_protocol::{
    access::Access,
    channel::{FileErrorCode, FilesInfo},
    ids::PeerId,
    transfer::{Failure, RelativeName},
};

use crate::files::{
    Charge, Store,
    unpack::{UnpackLimits, Unpacked},
};

/// The folder that one peer is served from, and its rights there.
///
/// Viewers may list it; operators may also take and leave files. What this end asked for itself
/// comes in whatever stands here.
#[derive(Clone)]
pub struct Serving {
    store: Option<Arc<dyn Store>>,
    peer: String,
    /// Who pays for what the peer sends.
    holder: String,
    access: Access,
    hint: String,
}

impl Serving {
    /// No folder. `hint` says how to allow it, for example `start the worker with --files DIR`.
    pub fn nothing(hint: impl Into<String>) -> Self {
        Self {
            store: None,
            peer: String::new(),
            holder: String::new(),
            access: Access::Viewer,
            hint: hint.into(),
        }
    }

    /// This folder, for this peer. Both its name and its access must come from the broker, never
    /// from the peer itself.
    pub fn folder(store: Arc<dyn Store>, peer: &PeerId, access: Access) -> Self {
        let hint = "join with the operator's link to get and send files".to_owned();
        let peer = peer.to_string();
        Self { store: Some(store), holder: peer.clone(), peer, access, hint }
    }

    /// Counts what the peer sends as this one's, whatever the peer is called. From the broker as well.
    #[must_use]
    pub fn held_by(self, holder: impl Into<String>) -> Self {
        Self { holder: holder.into(), ..self }
    }

    /// What to tell the peer in `HELLO::`.
    pub fn info(&self) -> FilesInfo {
        let readable = self.may_read().is_ok();
        let writable = self.may_write().is_ok();
        let hint = (!readable || !writable).then(|| self.hint.clone());
        FilesInfo { readable, writable, folders: true, hint }
    }

    /// The peer whose rights these are.
    pub(super) fn peer(&self) -> &str {
        &self.peer
    }

    /// Counts what this peer is about to send.
    pub(super) fn charge(&self, bytes: u64) -> Result<Charge, Failure> {
        let quota = self.store.as_ref().map(|store| store.quota()).unwrap_or_default();
        quota.charge(&self.holder, bytes)
    }

    /// Unpacks an archive that is there into the new folder `into`, as far as this peer may and its
    /// quota goes, and counts what came out. Blocks; the caller holds the claim of `into`.
    pub fn unpack(
        &self,
        archive: &RelativeName,
        into: &RelativeName,
        replace: bool,
    ) -> Result<Unpacked, Failure> {
        let store = self.may_write()?;
        let standard = UnpackLimits::default();
        let left = store.quota().left(&self.holder);
        let limits = UnpackLimits { bytes: standard.bytes.min(left), ..standard };
        let unpacked = store.unpack(archive, into, replace, &limits)?;
        // Others may have come first meanwhile; what is there is there.
        if let Ok(mut charge) = self.charge(unpacked.bytes) {
            charge.keep(unpacked.bytes);
        }
        Ok(unpacked)
    }

    pub(super) fn may_list(&self) -> Result<Arc<dyn Store>, Failure> {
        self.store.clone().ok_or_else(|| {
            let message = format!("no files are served or taken here: {}", self.hint);
            Failure::new(FileErrorCode::Disabled, message)
        })
    }

    pub(super) fn may_read(&self) -> Result<Arc<dyn Store>, Failure> {
        self.operator("get files")
    }

    pub(super) fn may_write(&self) -> Result<Arc<dyn Store>, Failure> {
        self.operator("send files")
    }

    pub(super) fn may_delete(&self) -> Result<Arc<dyn Store>, Failure> {
        self.operator("delete files")
    }

    fn operator(&self, to: &str) -> Result<Arc<dyn Store>, Failure> {
        let store = self.may_list()?;
        if self.access.may_operate() {
            return Ok(store);
        }
        let message = format!("{}s may not {to}: {}", self.access, self.hint);
        Err(Failure::new(FileErrorCode::Forbidden, message))
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving")
            .field("folder", &self.store.is_some())
            .field("peer", &self.peer)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}
