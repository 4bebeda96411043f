//! The backends in AWS. Opening them asks AWS, so what is missing there is said at the start.

use std::{error::Error, sync::Arc};

use tokio::runtime::Handle;

use crate::{
    aws,
    server::BindError,
    store::{DynamoStore, RoomStore},
};

impl BindError {
    fn backend(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Backend(Box::new(error))
    }
}

/// The rooms of this table. Called where blocking is allowed, on a thread of the runtime.
pub(super) fn store(table: &str) -> Result<Arc<dyn RoomStore>, BindError> {
    Handle::current().block_on(async {
        let config = aws::load().await.map_err(BindError::backend)?;
        let store = DynamoStore::open(&config, table).await.map_err(BindError::backend)?;
        Ok(Arc::new(store) as Arc<dyn RoomStore>)
    })
}
