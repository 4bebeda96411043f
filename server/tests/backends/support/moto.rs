//! moto: Cognito and DynamoDB on this machine.

use std::process::Command;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{Credentials, Region};
use halyard_server::aws;

use super::{broker::REGION, program::Program};

/// A moto server of this test's own.
pub(crate) struct Moto {
    /// Where it is.
    pub(crate) url: String,
    _program: Program,
}

impl Moto {
    /// Starts one and waits until it listens.
    pub(crate) fn start() -> Self {
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", "0"]).env("PYTHONUNBUFFERED", "1");
        let program = Program::start(
            command,
            "install it with `pip install 'moto[server]'`, or test_files/run",
        );
        let url = program.wait_for("Running on ");
        Self { url, _program: program }
    }

    /// Host and port.
    pub(crate) fn addr(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// A client's configuration for it, with the broker's own time-outs and retries.
    pub(crate) async fn config(&self) -> SdkConfig {
        config_for(&self.url).await
    }
}

/// A client's configuration for whatever stands at `url`.
pub(crate) async fn config_for(url: &str) -> SdkConfig {
    let credentials = Credentials::new("testing", "testing", None, None, "tests");
    aws::loader()
        .endpoint_url(url)
        .region(Region::new(REGION))
        .credentials_provider(credentials)
        .load()
        .await
}
