//! A user pool as docs/aws.md describes it, in moto.

use aws_sdk_cognitoidentityprovider::{
    Client,
    types::{AdminCreateUserConfigType, ExplicitAuthFlowsType},
};
use halyard_server::settings::CognitoSettings;

use super::moto::Moto;

/// One pool and one client of it.
pub(crate) struct UserPool {
    pub(crate) id: String,
    pub(crate) app_client: String,
    pub(crate) jwks_url: String,
    pub(crate) cognito: Client,
}

impl UserPool {
    /// A fit one.
    pub(crate) async fn make(moto: &Moto) -> Self {
        let flows = [
            ExplicitAuthFlowsType::AllowAdminUserPasswordAuth,
            ExplicitAuthFlowsType::AllowRefreshTokenAuth,
        ];
        Self::with(moto, true, false, &flows).await
    }

    /// Whatever is asked for.
    pub(crate) async fn with(
        moto: &Moto,
        admin_only: bool,
        secret: bool,
        flows: &[ExplicitAuthFlowsType],
    ) -> Self {
        let cognito = Client::new(&moto.config().await);
        let users = AdminCreateUserConfigType::builder().allow_admin_create_user_only(admin_only);
        let made = cognito
            .create_user_pool()
            .pool_name("halyard")
            .admin_create_user_config(users.build())
            .send()
            .await;
        let id = made.expect("made").user_pool.and_then(|pool| pool.id).expect("an id");
        let made = cognito
            .create_user_pool_client()
            .user_pool_id(&id)
            .client_name("broker")
            .generate_secret(secret)
            .set_explicit_auth_flows(Some(flows.to_vec()))
            .send()
            .await;
        let app_client = made.expect("made").user_pool_client;
        let app_client = app_client.and_then(|client| client.client_id).expect("an id");
        let jwks_url = format!("{}/{id}/.well-known/jwks.json", moto.url);
        Self { id, app_client, jwks_url, cognito }
    }

    /// What the library is told.
    pub(crate) fn settings(&self) -> CognitoSettings {
        CognitoSettings {
            user_pool_id: self.id.clone(),
            app_client_id: self.app_client.clone(),
            issuer: None,
            jwks_url: Some(self.jwks_url.parse().expect("an address")),
        }
    }

    /// What the program is told.
    pub(crate) fn flags(&self) -> Vec<&str> {
        vec![
            "--identity",
            "cognito",
            "--cognito-user-pool-id",
            &self.id,
            "--cognito-app-client-id",
            &self.app_client,
            "--cognito-jwks-url",
            &self.jwks_url,
        ]
    }

    /// Everybody in it.
    pub(crate) async fn users(&self) -> Vec<String> {
        let listed = self.cognito.list_users().user_pool_id(&self.id).send().await;
        let users = listed.expect("listed").users.unwrap_or_default();
        users.into_iter().filter_map(|user| user.username).collect()
    }
}
