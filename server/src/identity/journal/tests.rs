//! Every journal keeps the contract, and the one in a file keeps it beyond a restart.

use super::{Journal, MemoryJournal, Subject};
use crate::store::EmbeddedStore;

#[path = "contract.rs"]
mod contract;

use contract::a_journal_knows_who_was_made_and_from_when_nobody_needs_them as contract;

#[tokio::test]
async fn a_journal_in_memory_knows_who_was_made_and_from_when_nobody_needs_them() {
    contract(&MemoryJournal::default()).await;
}

#[tokio::test]
async fn a_journal_in_a_file_knows_it_too_and_after_it_was_opened_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let journal = EmbeddedStore::open(dir.path()).expect("opened");
    contract(&journal).await;
    drop(journal);
    let journal = EmbeddedStore::open(dir.path()).expect("opened again");
    assert!(journal.has(&Subject::new("bob")).await.expect("asked"));
    assert_eq!(journal.due(250, 9).await.expect("asked"), [Subject::new("eve")]);
}
