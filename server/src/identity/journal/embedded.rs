//! The journal in the file of the embedded store: two tables that are made when they are needed.

use async_trait::async_trait;
use redb::{TableDefinition, TableError, WriteTransaction};

use super::{Journal, JournalError, Subject};
use crate::store::EmbeddedStore;

/// `until` by name.
const USERS: TableDefinition<'_, &str, u64> = TableDefinition::new("users");
/// `(until, name)`.
const BY_TIME: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("users_by_time");

fn remove(write: &WriteTransaction, user: &Subject) -> Result<(), redb::Error> {
    let until = write.open_table(USERS)?.remove(user.as_str())?.map(|until| until.value());
    if let Some(until) = until {
        write.open_table(BY_TIME)?.remove((until, user.as_str()))?;
    }
    Ok(())
}

/// Nobody was ever written down.
fn none_yet<T>(opened: Result<T, TableError>) -> Result<Option<T>, redb::Error> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[async_trait]
impl Journal for EmbeddedStore {
    async fn put(&self, user: &Subject, until: u64) -> Result<(), JournalError> {
        let user = user.clone();
        let put = self.writing(move |write| {
            remove(write, &user)?;
            write.open_table(USERS)?.insert(user.as_str(), until)?;
            write.open_table(BY_TIME)?.insert((until, user.as_str()), ())?;
            Ok(())
        });
        Ok(put.await?)
    }

    async fn has(&self, user: &Subject) -> Result<bool, JournalError> {
        let user = user.clone();
        let has = self.reading(move |read| {
            Ok(match none_yet(read.open_table(USERS))? {
                Some(users) => users.get(user.as_str())?.is_some(),
                None => false,
            })
        });
        Ok(has.await?)
    }

    async fn remove(&self, user: &Subject) -> Result<(), JournalError> {
        let user = user.clone();
        Ok(self.writing(move |write| Ok(remove(write, &user)?)).await?)
    }

    async fn due(&self, now: u64, most: usize) -> Result<Vec<Subject>, JournalError> {
        let due = self.reading(move |read| {
            let Some(by_time) = none_yet(read.open_table(BY_TIME))? else { return Ok(Vec::new()) };
            let mut due = Vec::new();
            for entry in by_time.range::<(u64, &str)>(..=(now, "\u{10ffff}"))?.take(most) {
                due.push(Subject::new(entry?.0.value().1));
            }
            Ok(due)
        });
        Ok(due.await?)
    }
}
