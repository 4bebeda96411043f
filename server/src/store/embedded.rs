//! Rooms in one file: redb, durable before anything is acknowledged.
//!
//! `rooms` holds the records as JSON by id; `by_expiry` and `by_owner` are indexes of keys alone,
//! kept in the same transaction, so they cannot disagree with it. The calls block on the disk and
//! run on blocking threads; writers take turns before they take a thread.

use std::{fs, io, ops::Bound, path::Path, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use halyard_protocol::{access::Access, ids::RoomId};
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    WriteTransaction,
};
use tokio::sync::Semaphore;

use super::{Found, RoomRecord, RoomStore, StoreError, set_token, shut_out};
use crate::{identity::Subject, secret::TokenHash};

const ROOMS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rooms");
/// `(expires_at, id)`.
const BY_EXPIRY: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("by_expiry");
/// `(owner, id)`.
const BY_OWNER: TableDefinition<'_, (&str, &str), ()> = TableDefinition::new("by_owner");
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

/// The layout above. A newer one is refused by an older broker instead of being misread.
const LAYOUT: u64 = 1;
const FILE_NAME: &str = "rooms.redb";

/// Why the embedded store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the file cannot be made or read.
    #[error("cannot use the room store {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the room store {path} is in use by another process; give this one another data_dir")]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// It is not a store, or not a whole one.
    #[error(
        "the room store {path} is damaged and was left as it is: {why}; put back a copy, or move \
         it away to start with no rooms"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A newer broker made it.
    #[error("the room store {path} has layout {found}, this broker knows {LAYOUT}; update it")]
    Newer {
        /// Which.
        path: PathBuf,
        /// What it says.
        found: u64,
    },
}

/// One file below the data directory.
pub struct EmbeddedStore {
    database: Arc<Database>,
    writers: Semaphore,
}

impl EmbeddedStore {
    /// Opens the store of this data directory, or makes one where there is none. Blocks on the
    /// disk. A file that is not a whole store is never written to.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let path = data_dir.join(FILE_NAME);
        let failed = |source| OpenError::Io { path: path.clone(), source };
        fs::create_dir_all(data_dir).map_err(failed)?;
        let database = match fs::metadata(&path) {
            Ok(found) if found.len() > 0 => existing(&path)?,
            Ok(_) => {
                return Err(OpenError::Damaged { path, why: "the file is empty".to_owned() });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => fresh(&path)?,
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { database: Arc::new(database), writers: Semaphore::new(1) })
    }

    /// Runs `work` on the state of one moment.
    pub(crate) async fn reading<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = Arc::clone(&self.database);
        let result = tokio::task::spawn_blocking(move || work(&database.begin_read()?)).await;
        result.map_err(backend)?.map_err(backend)
    }

    /// Runs `work` in a transaction that is on disk when this returns `Ok`, and that never was when
    /// it returns `Err`.
    pub(crate) async fn writing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.writers.acquire().await.map_err(backend)?;
        let database = Arc::clone(&self.database);
        let result = tokio::task::spawn_blocking(move || {
            let write = database.begin_write().map_err(redb::Error::from)?;
            let done = work(&write)?;
            write.commit().map_err(redb::Error::from)?;
            Ok::<T, Failure>(done)
        })
        .await;
        drop(turn);
        match result.map_err(backend)? {
            Ok(done) => Ok(done),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Redb(error)) => Err(backend(error)),
        }
    }

    async fn change(
        &self,
        id: &RoomId,
        now: u64,
        change: impl FnOnce(&mut RoomRecord) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<RoomRecord, StoreError> {
        let id = id.clone();
        self.writing(move |write| {
            let old = read(&write.open_table(ROOMS)?, &id)?.filter(|room| !room.is_expired(now));
            let old = old.ok_or(StoreError::Gone)?;
            let mut new = old.clone();
            change(&mut new)?;
            remove(write, &old)?;
            insert(write, &new)?;
            Ok(new)
        })
        .await
    }
}

fn backend(error: impl std::fmt::Display) -> StoreError {
    StoreError::Backend(error.to_string())
}

/// What ends a transaction: a refusal that the caller asked about, or the database itself.
pub(crate) enum Failure {
    Refused(StoreError),
    Redb(redb::Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl<E: Into<redb::Error>> From<E> for Failure
where
    E: NotRefusal,
{
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

/// The errors of redb that [`Failure`] wraps.
pub(crate) trait NotRefusal {}
impl NotRefusal for redb::Error {}
impl NotRefusal for TableError {}
impl NotRefusal for redb::StorageError {}

/// A new store, made beside its place and moved there whole, so that a crash in the middle leaves
/// no half of one.
fn fresh(path: &Path) -> Result<Database, OpenError> {
    let failed = |source| OpenError::Io { path: path.to_owned(), source };
    let making = path.with_extension("making");
    match fs::remove_file(&making) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let made = Database::create(&making).map_err(|error| refused(path, error))?;
    tables(&made).map_err(|error| refused(path, error))?;
    fs::rename(&making, path).map_err(failed)?;
    fs::File::open(path.parent().unwrap_or(path))
        .and_then(|folder| folder.sync_all())
        .map_err(failed)?;
    Ok(made)
}

fn tables(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(ROOMS)?;
    write.open_table(BY_EXPIRY)?;
    write.open_table(BY_OWNER)?;
    write.open_table(ABOUT)?.insert("layout", LAYOUT)?;
    write.commit()?;
    Ok(())
}

fn existing(path: &Path) -> Result<Database, OpenError> {
    // A damaged file may make the library panic instead of saying so.
    let opened = std::panic::catch_unwind(|| -> Result<(Database, u64), redb::Error> {
        let database = Database::open(path)?;
        let read = database.begin_read()?;
        let layout = read.open_table(ABOUT)?.get("layout")?.map_or(0, |layout| layout.value());
        // Every record must be readable now, not when somebody wants to join.
        for room in read.open_table(ROOMS)?.iter()? {
            let (_, record) = room?;
            parse(record.value())?;
        }
        read.open_table(BY_EXPIRY)?;
        read.open_table(BY_OWNER)?;
        drop(read);
        Ok((database, layout))
    });
    let damaged = |why: String| OpenError::Damaged { path: path.to_owned(), why };
    let (database, found) = opened
        .map_err(|_| damaged("its pages contradict each other".to_owned()))?
        .map_err(|error| refused(path, error))?;
    match found {
        LAYOUT => Ok(database),
        newer if newer > LAYOUT => Err(OpenError::Newer { path: path.to_owned(), found }),
        _ => Err(damaged("it does not say which layout it has".to_owned())),
    }
}

fn refused(path: &Path, error: impl Into<redb::Error>) -> OpenError {
    match error.into() {
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse { path: path.to_owned() },
        redb::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => {
            OpenError::Io { path: path.to_owned(), source }
        }
        error => OpenError::Damaged { path: path.to_owned(), why: error.to_string() },
    }
}

fn parse(record: &[u8]) -> Result<RoomRecord, redb::Error> {
    serde_json::from_slice(record)
        .map_err(|error| redb::Error::Corrupted(format!("a record is no room: {error}")))
}

fn read(
    rooms: &impl ReadableTable<&'static str, &'static [u8]>,
    id: &RoomId,
) -> Result<Option<RoomRecord>, redb::Error> {
    rooms.get(id.as_str())?.map(|record| parse(record.value())).transpose()
}

fn insert(write: &WriteTransaction, room: &RoomRecord) -> Result<(), redb::Error> {
    let record = serde_json::to_vec(room)
        .map_err(|error| redb::Error::Corrupted(format!("a room is no record: {error}")))?;
    write.open_table(ROOMS)?.insert(room.id.as_str(), record.as_slice())?;
    write.open_table(BY_EXPIRY)?.insert((room.expires_at, room.id.as_str()), ())?;
    write.open_table(BY_OWNER)?.insert((room.owner.as_str(), room.id.as_str()), ())?;
    Ok(())
}

fn remove(write: &WriteTransaction, room: &RoomRecord) -> Result<(), redb::Error> {
    write.open_table(ROOMS)?.remove(room.id.as_str())?;
    write.open_table(BY_EXPIRY)?.remove((room.expires_at, room.id.as_str()))?;
    write.open_table(BY_OWNER)?.remove((room.owner.as_str(), room.id.as_str()))?;
    Ok(())
}

/// The live rooms of one owner.
fn owned(
    by_owner: &impl ReadableTable<(&'static str, &'static str), ()>,
    rooms: &impl ReadableTable<&'static str, &'static [u8]>,
    owner: &Subject,
    now: u64,
) -> Result<Vec<RoomRecord>, redb::Error> {
    let mut found = Vec::new();
    let from = (owner.as_str(), "");
    for entry in by_owner.range::<(&str, &str)>((Bound::Included(from), Bound::Unbounded))? {
        let (key, ()) = {
            let (key, _) = entry?;
            let (name, id) = key.value();
            if name != owner.as_str() {
                break;
            }
            (RoomId::new(id), ())
        };
        let Ok(id) = key else { continue };
        found.extend(read(rooms, &id)?.filter(|room| !room.is_expired(now)));
    }
    Ok(found)
}

#[async_trait]
impl RoomStore for EmbeddedStore {
    async fn create(&self, room: &RoomRecord, most: usize, now: u64) -> Result<bool, StoreError> {
        let room = room.clone();
        self.writing(move |write| {
            let old = {
                let rooms = write.open_table(ROOMS)?;
                let by_owner = write.open_table(BY_OWNER)?;
                if owned(&by_owner, &rooms, &room.owner, now)?.len() >= most {
                    return Err(StoreError::TooMany { most }.into());
                }
                read(&rooms, &room.id)?
            };
            match old {
                Some(old) if !old.is_expired(now) => return Ok(false),
                Some(old) => remove(write, &old)?,
                None => {}
            }
            insert(write, &room)?;
            Ok(true)
        })
        .await
    }

    async fn get(&self, id: &RoomId, now: u64) -> Result<Found, StoreError> {
        let id = id.clone();
        self.reading(move |read_at| {
            let rooms = read_at.open_table(ROOMS)?;
            Ok(match read(&rooms, &id)? {
                None => Found::Absent,
                Some(room) if room.is_expired(now) => Found::Expired,
                Some(room) => Found::Live(room),
            })
        })
        .await
    }

    async fn extend(
        &self,
        id: &RoomId,
        expires_at: u64,
        now: u64,
    ) -> Result<RoomRecord, StoreError> {
        self.change(id, now, move |room| {
            room.expires_at = expires_at;
            Ok(())
        })
        .await
    }

    async fn rotate(
        &self,
        id: &RoomId,
        access: Access,
        token: TokenHash,
        now: u64,
    ) -> Result<RoomRecord, StoreError> {
        self.change(id, now, move |room| set_token(room, access, token)).await
    }

    async fn ban(
        &self,
        id: &RoomId,
        subject: &Subject,
        now: u64,
    ) -> Result<RoomRecord, StoreError> {
        let subject = subject.clone();
        self.change(id, now, move |room| {
            shut_out(room, &subject);
            Ok(())
        })
        .await
    }

    async fn delete(&self, id: &RoomId) -> Result<bool, StoreError> {
        let id = id.clone();
        self.writing(move |write| {
            let room = read(&write.open_table(ROOMS)?, &id)?;
            if let Some(room) = &room {
                remove(write, room)?;
            }
            Ok(room.is_some())
        })
        .await
    }

    async fn owned_by(&self, owner: &Subject, now: u64) -> Result<Vec<RoomRecord>, StoreError> {
        let owner = owner.clone();
        self.reading(move |read| {
            let by_owner = read.open_table(BY_OWNER)?;
            let rooms = read.open_table(ROOMS)?;
            let mut found = owned(&by_owner, &rooms, &owner, now)?;
            found.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
            Ok(found)
        })
        .await
    }

    async fn sweep(&self, before: u64, most: usize) -> Result<usize, StoreError> {
        // Looking costs no write, and mostly there is nothing to forget.
        let over: Vec<RoomId> = self
            .reading(move |read| {
                let by_expiry = read.open_table(BY_EXPIRY)?;
                let mut over = Vec::new();
                for entry in by_expiry.range::<(u64, &str)>(..=(before, "\u{10ffff}"))?.take(most) {
                    let (key, _) = entry?;
                    over.extend(RoomId::new(key.value().1));
                }
                Ok(over)
            })
            .await?;
        if over.is_empty() {
            return Ok(0);
        }
        self.writing(move |write| {
            let mut swept = 0;
            for id in &over {
                let room = read(&write.open_table(ROOMS)?, id)?;
                // It may have been extended or replaced meanwhile.
                if let Some(room) = room.filter(|room| room.expires_at <= before) {
                    remove(write, &room)?;
                    swept += 1;
                }
            }
            Ok(swept)
        })
        .await
    }
}
