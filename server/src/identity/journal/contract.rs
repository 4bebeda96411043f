//! What every journal keeps: here in memory and in a file, in `tests/backends` in DynamoDB. It takes
//! its words from the module around it.

use super::{Journal, Subject};

pub(super) async fn a_journal_knows_who_was_made_and_from_when_nobody_needs_them(
    journal: &dyn Journal,
) {
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(Subject::new);
    assert!(!journal.has(&ann).await.expect("asked"));
    assert!(journal.due(u64::MAX, 9).await.expect("asked").is_empty());
    journal.remove(&ann).await.expect("nobody is no error");
    journal.put(&ann, 100).await.expect("written");
    journal.put(&bob, 50).await.expect("written");
    journal.put(&eve, 200).await.expect("written");
    assert!(journal.has(&ann).await.expect("asked"));
    assert_eq!(journal.due(49, 9).await.expect("asked"), []);
    assert_eq!(journal.due(100, 9).await.expect("asked"), [bob.clone(), ann.clone()]);
    assert_eq!(journal.due(100, 1).await.expect("asked"), std::slice::from_ref(&bob));
    // Who is needed longer is not due at the old time.
    journal.put(&bob, 300).await.expect("moved");
    assert_eq!(journal.due(250, 9).await.expect("asked"), [ann.clone(), eve.clone()]);
    journal.remove(&ann).await.expect("crossed out");
    journal.remove(&ann).await.expect("once more is no error");
    assert!(!journal.has(&ann).await.expect("asked"));
    assert_eq!(journal.due(u64::MAX, 9).await.expect("asked"), [eve, bob]);
}
