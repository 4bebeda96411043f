//! The backends in AWS. Opening them asks AWS, so what is missing there is said at the start. All of
//! it is called where blocking is allowed, on a thread of the runtime.

use std::{error::Error, sync::Arc};

use aws_config::SdkConfig;
use tokio::runtime::Handle;

use crate::{
    aws,
    identity::{CognitoIdentity, Journal},
    server::BindError,
    settings::CognitoSettings,
    store::DynamoStore,
};

fn failed(error: impl Error + Send + Sync + 'static) -> BindError {
    BindError::Backend(Box::new(error))
}

/// One configuration for all of them, loaded when the first is opened.
#[derive(Default)]
pub(super) struct Aws {
    config: Option<SdkConfig>,
}

impl Aws {
    fn config(&mut self) -> Result<SdkConfig, BindError> {
        if let Some(config) = &self.config {
            return Ok(config.clone());
        }
        let config = Handle::current().block_on(aws::load()).map_err(failed)?;
        Ok(self.config.insert(config).clone())
    }

    /// The rooms of this table.
    pub(super) fn store(&mut self, table: &str) -> Result<Arc<DynamoStore>, BindError> {
        let config = self.config()?;
        let store = Handle::current().block_on(DynamoStore::open(&config, table));
        Ok(Arc::new(store.map_err(failed)?))
    }

    /// The users of this pool.
    pub(super) fn identity(
        &mut self,
        settings: &CognitoSettings,
        journal: Arc<dyn Journal>,
    ) -> Result<Arc<CognitoIdentity>, BindError> {
        let config = self.config()?;
        let identity = CognitoIdentity::open(&config, settings, journal);
        Ok(Arc::new(Handle::current().block_on(identity).map_err(failed)?))
    }
}
