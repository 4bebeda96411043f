//! A journal that is gone with the broker: for trying out.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{Journal, JournalError, Subject};

/// Users by name and by time.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    users: Mutex<Users>,
}

#[derive(Debug, Default)]
struct Users {
    until: HashMap<Subject, u64>,
    by_time: BTreeSet<(u64, Subject)>,
}

impl MemoryJournal {
    fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Users {
    fn remove(&mut self, user: &Subject) {
        if let Some(until) = self.until.remove(user) {
            self.by_time.remove(&(until, user.clone()));
        }
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn put(&self, user: &Subject, until: u64) -> Result<(), JournalError> {
        let mut users = self.users();
        users.remove(user);
        users.until.insert(user.clone(), until);
        users.by_time.insert((until, user.clone()));
        Ok(())
    }

    async fn has(&self, user: &Subject) -> Result<bool, JournalError> {
        Ok(self.users().until.contains_key(user))
    }

    async fn remove(&self, user: &Subject) -> Result<(), JournalError> {
        self.users().remove(user);
        Ok(())
    }

    async fn due(&self, now: u64, most: usize) -> Result<Vec<Subject>, JournalError> {
        let users = self.users();
        let due = users.by_time.iter().take_while(|(until, _)| *until <= now).take(most);
        Ok(due.map(|(_, user)| user.clone()).collect())
    }
}
