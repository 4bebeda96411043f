//! The journal of users in the table of rooms: items whose key no room can have, all of one owner
//! that no user can be, so that the index by owner lists them by time.

use async_trait::async_trait;

use super::{
    DynamoStore, StoreError,
    item::{CREATED_BY, EXPIRES_AT, ROOM_ID, number, text},
    table::BY_OWNER,
};
use crate::identity::{Journal, JournalError, Subject};

/// In front of a user's name. A room's name has no colon.
const PREFIX: &str = "user:";
/// Whose the entries are. A user's name is never only this.
const OWNER: &str = "user:";

fn key(user: &Subject) -> aws_sdk_dynamodb::types::AttributeValue {
    text(&format!("{PREFIX}{user}"))
}

#[async_trait]
impl Journal for DynamoStore {
    async fn put(&self, user: &Subject, until: u64) -> Result<(), JournalError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .item(ROOM_ID, key(user))
            .item(CREATED_BY, text(OWNER))
            .item(EXPIRES_AT, number(until));
        self.call(put.send()).await.map_err(StoreError::from)?;
        Ok(())
    }

    async fn has(&self, user: &Subject) -> Result<bool, JournalError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(ROOM_ID, key(user))
            .consistent_read(true);
        Ok(self.call(get.send()).await.map_err(StoreError::from)?.item.is_some())
    }

    async fn remove(&self, user: &Subject) -> Result<(), JournalError> {
        let delete = self.client.delete_item().table_name(&self.table).key(ROOM_ID, key(user));
        self.call(delete.send()).await.map_err(StoreError::from)?;
        Ok(())
    }

    async fn due(&self, now: u64, most: usize) -> Result<Vec<Subject>, JournalError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_OWNER)
            .key_condition_expression("created_by = :owner AND expires_at <= :now")
            .expression_attribute_values(":owner", text(OWNER))
            .expression_attribute_values(":now", number(now))
            .limit(i32::try_from(most).unwrap_or(i32::MAX));
        let page = self.call(query.send()).await.map_err(StoreError::from)?;
        let items = page.items.unwrap_or_default();
        let names = items.iter().filter_map(|item| {
            item.get(ROOM_ID)?.as_s().ok()?.strip_prefix(PREFIX).map(Subject::new)
        });
        Ok(names.collect())
    }
}
