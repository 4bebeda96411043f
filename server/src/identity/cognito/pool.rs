//! The calls to the user pool, each bounded and behind the circuit.

use std::{error::Error, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_cognitoidentityprovider::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    types::{AuthFlowType, ExplicitAuthFlowsType, MessageActionType, UserPoolMfaType},
};
use futures_util::future::BoxFuture;
use halyard_protocol::token::Token;

use crate::{
    aws::{OPERATION_WITHIN, outage, said},
    breaker::{Failed, Fuse},
    identity::Subject,
    settings::CognitoSettings,
};

/// Why a pool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// It lets people make users by themselves.
    #[error(
        "the user pool {pool} lets anybody sign up (AllowAdminCreateUserOnly is false), so somebody \
         could take the name of a user that the broker deleted; turn self-registration off, see \
         docs/aws.md"
    )]
    SelfSignUp {
        /// Which.
        pool: String,
    },
    /// A setting of the pool or of its client is in the way.
    #[error("the user pool {pool} cannot be used: {why}; docs/aws.md has the settings that work")]
    Unfit {
        /// Which.
        pool: String,
        /// What is in the way.
        why: String,
    },
    /// A call failed, or is not allowed.
    #[error(
        "{action} on the user pool {pool} failed: {why}; check cognito_user_pool_id, \
         cognito_app_client_id and AWS_REGION, and the policy in docs/aws.md"
    )]
    Failed {
        /// Which.
        pool: String,
        /// What was tried.
        action: &'static str,
        /// What happened.
        why: String,
    },
}

/// Why a call to the pool gave nothing.
#[derive(Debug)]
pub(super) enum CallError {
    /// There is no such user.
    NoUser,
    /// The password is not the one that was set last: somebody else set one meanwhile.
    OtherPassword,
    /// It failed.
    Failed(String),
    /// It does not answer.
    Unavailable {
        /// When it may.
        retry_after: Duration,
        /// What happened.
        why: String,
    },
}

/// A fresh token.
pub(super) struct Proof {
    pub(super) id_token: Token,
    pub(super) expires_in: Duration,
}

/// One pool and one client of it.
pub(super) struct Pool {
    client: Client,
    id: String,
    app_client: String,
    fuse: Fuse,
}

impl Pool {
    /// Uses a pool that is there, after looking that it is fit.
    pub(super) async fn open(
        config: &SdkConfig,
        settings: &CognitoSettings,
    ) -> Result<Self, PoolError> {
        let pool = Self {
            client: Client::new(config),
            id: settings.user_pool_id.clone(),
            app_client: settings.app_client_id.clone(),
            fuse: Fuse::new("Cognito", OPERATION_WITHIN),
        };
        pool.check_pool().await?;
        pool.check_client().await?;
        Ok(pool)
    }

    async fn check_pool(&self) -> Result<(), PoolError> {
        let described = self.client.describe_user_pool().user_pool_id(&self.id).send().await;
        let described =
            described.map_err(|error| self.failed("cognito-idp:DescribeUserPool", &error))?;
        let Some(pool) = described.user_pool else {
            return Err(self.unfit("it is not described"));
        };
        if !pool.admin_create_user_config().is_some_and(|users| users.allow_admin_create_user_only)
        {
            return Err(PoolError::SelfSignUp { pool: self.id.clone() });
        }
        if !pool.username_attributes().is_empty() {
            return Err(self.unfit(
                "users sign in with an e-mail address or a phone number, and \
                                   temporary users have neither; UsernameAttributes must be empty",
            ));
        }
        if pool.mfa_configuration() == Some(&UserPoolMfaType::On) {
            return Err(
                self.unfit("it asks everybody for a second factor (MfaConfiguration is ON)")
            );
        }
        Ok(())
    }

    async fn check_client(&self) -> Result<(), PoolError> {
        let describe = self.client.describe_user_pool_client();
        let described = describe.user_pool_id(&self.id).client_id(&self.app_client).send().await;
        let described =
            described.map_err(|error| self.failed("cognito-idp:DescribeUserPoolClient", &error))?;
        let Some(client) = described.user_pool_client else {
            return Err(self.unfit("its app client is not described"));
        };
        if client.client_secret().is_some() {
            return Err(self.unfit(
                "its app client has a secret; make one without (GenerateSecret \
                                   false)",
            ));
        }
        let flows = client.explicit_auth_flows();
        if !flows.contains(&ExplicitAuthFlowsType::AllowAdminUserPasswordAuth)
            && !flows.contains(&ExplicitAuthFlowsType::AdminNoSrpAuth)
        {
            return Err(self.unfit(
                "its app client lacks ALLOW_ADMIN_USER_PASSWORD_AUTH in \
                                   ExplicitAuthFlows",
            ));
        }
        Ok(())
    }

    fn unfit(&self, why: &str) -> PoolError {
        PoolError::Unfit { pool: self.id.clone(), why: why.to_owned() }
    }

    fn failed<E>(&self, action: &'static str, error: &SdkError<E, HttpResponse>) -> PoolError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        PoolError::Failed { pool: self.id.clone(), action, why: said(error) }
    }

    /// Boxed: the library's futures have some 20 KiB, and whoever waits would carry them along.
    fn call<'a, T, E>(
        &'a self,
        work: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Answered>>
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let named = |failed: Failed<SdkError<E, HttpResponse>>| match failed {
            Failed::Unavailable { retry_after, why } => {
                Answered { code: None, error: CallError::Unavailable { retry_after, why } }
            }
            Failed::Answered(error) => Answered {
                code: error.as_service_error().and_then(|error| error.code()).map(str::to_owned),
                error: CallError::Failed(said(&error)),
            },
        };
        Box::pin(async move { self.fuse.call(work, outage).await.map_err(named) })
    }

    /// Whether the pool answers.
    pub(super) async fn probe(&self) -> Result<(), CallError> {
        let describe = self.client.describe_user_pool().user_pool_id(&self.id);
        self.call(describe.send()).await?;
        Ok(())
    }

    /// Makes a user who can sign in with this password.
    pub(super) async fn make(&self, user: &Subject, password: &Token) -> Result<(), CallError> {
        let create = self
            .client
            .admin_create_user()
            .user_pool_id(&self.id)
            .username(user.as_str())
            .temporary_password(password.expose())
            // No mail, no text message.
            .message_action(MessageActionType::Suppress);
        match self.call(create.send()).await {
            Ok(_) => {}
            // Made by an attempt whose answer was lost: names are random.
            Err(error) if error.is("UsernameExistsException") => {}
            Err(error) => return Err(error.into()),
        }
        self.set_password(user, password).await
    }

    /// Gives a user another password.
    pub(super) async fn set_password(
        &self,
        user: &Subject,
        password: &Token,
    ) -> Result<(), CallError> {
        let set = self
            .client
            .admin_set_user_password()
            .user_pool_id(&self.id)
            .username(user.as_str())
            .password(password.expose())
            .permanent(true);
        self.call(set.send()).await?;
        Ok(())
    }

    /// Signs a user in.
    pub(super) async fn prove(&self, user: &Subject, password: &Token) -> Result<Proof, CallError> {
        let initiate = self
            .client
            .admin_initiate_auth()
            .user_pool_id(&self.id)
            .client_id(&self.app_client)
            .auth_flow(AuthFlowType::AdminUserPasswordAuth)
            .auth_parameters("USERNAME", user.as_str())
            .auth_parameters("PASSWORD", password.expose());
        let answer = match self.call(initiate.send()).await {
            Ok(answer) => answer,
            Err(error) if error.is("NotAuthorizedException") => {
                return Err(CallError::OtherPassword);
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(challenge) = answer.challenge_name {
            return Err(CallError::Failed(format!("the pool asks for {challenge} at sign-in")));
        }
        let result = answer.authentication_result.unwrap_or_else(|| {
            aws_sdk_cognitoidentityprovider::types::AuthenticationResultType::builder().build()
        });
        let expires_in = Duration::from_secs(result.expires_in.try_into().unwrap_or_default());
        let id_token = result.id_token.map(Token::new);
        let id_token =
            id_token.ok_or_else(|| CallError::Failed("a sign-in gave no ID token".to_owned()))?;
        Ok(Proof { id_token, expires_in })
    }

    /// Deletes a user. One that is not there is no error.
    pub(super) async fn delete(&self, user: &Subject) -> Result<(), CallError> {
        let delete = self.client.admin_delete_user().user_pool_id(&self.id).username(user.as_str());
        match self.call(delete.send()).await.map_err(CallError::from) {
            Ok(_) | Err(CallError::NoUser) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// An error with AWS's word for it.
struct Answered {
    code: Option<String>,
    error: CallError,
}

impl Answered {
    fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl From<Answered> for CallError {
    fn from(answered: Answered) -> Self {
        if answered.is("UserNotFoundException") { Self::NoUser } else { answered.error }
    }
}
