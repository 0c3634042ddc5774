//! The client object.

use std::{path::PathBuf, sync::Arc, time::Duration};

use feldakte_client_sdk::{
    Client, ClientOptions, Identity, SignIn, Transports,
    environment::Environment,
    key::{DatabaseKey, KeyError, KeyProvider},
    store::sqlcipher::SqlCipherStore,
    view::{Event, Observer},
};
use zeroize::Zeroizing;

use crate::{
    convert::case_id,
    error::{CallbackError, FfiError},
    runtime::{in_runtime, on_runtime},
    types::{
        CaseOverview, CaseSafety, ClientStatus, DeviceUser, Edit, EmergencyReason, Happening, LinkFacts, OrderView,
        ParkedChange, WholeCase,
    },
};

/// What a client is opened with.
#[derive(Debug, Clone, uniffi::Record)]
pub struct OpenOptions {
    /// A directory of the app's own; the encrypted store lies in it.
    pub directory: String,
    /// The gateway as `host:port`.
    pub gateway: String,
    /// The name in the gateway's certificate.
    pub server_name: String,
    /// Roots of the gateway's certificate, PEM.
    pub roots_pem: String,
    /// This device's certificate chain, PEM.
    pub certificate_pem: String,
    /// This device's private key, PEM.
    pub private_key_pem: String,
    /// Without word from the gateway for so many hours, what is safe there is removed from the device; unsent work stays.
    #[uniffi(default = None)]
    pub purge_after_hours: Option<u32>,
}

/// Gives the key of the local store, 32 bytes, from the platform's key store. Implemented by the app.
#[uniffi::export(with_foreign)]
pub trait KeySource: Send + Sync {
    /// The key.
    ///
    /// # Errors
    /// Any error when the key is not available, for instance because the device is locked.
    fn database_key(&self) -> Result<Vec<u8>, CallbackError>;
}

/// Told what happens, from a thread of the SDK. Implemented by the app.
#[uniffi::export(with_foreign)]
pub trait Watcher: Send + Sync {
    /// One event at a time; coalesced when the app is slow.
    ///
    /// # Errors
    /// Errors are ignored: watching never disturbs saving.
    fn on_event(&self, event: Happening) -> Result<(), CallbackError>;
}

/// A device's client. Opened once per process and directory.
#[derive(uniffi::Object)]
pub struct FeldakteClient {
    client: Client,
}

impl FeldakteClient {
    pub(crate) fn core(&self) -> &Client {
        &self.client
    }
}

#[uniffi::export]
impl FeldakteClient {
    /// Opens the local store, offline. `go_online` connects.
    ///
    /// # Errors
    /// When key, identity or store cannot be used.
    #[uniffi::constructor]
    pub async fn open(options: OpenOptions, keys: Arc<dyn KeySource>) -> Result<Arc<Self>, FfiError> {
        on_runtime(async move {
            let OpenOptions {
                directory,
                gateway,
                server_name,
                roots_pem,
                certificate_pem,
                private_key_pem,
                purge_after_hours,
            } = options;
            let identity =
                Identity::from_pem(roots_pem.as_bytes(), certificate_pem.as_bytes(), private_key_pem.as_bytes())?;
            let environment = Environment::system();
            let path = PathBuf::from(directory).join("feldakte.db");
            let key = FixedKey(Zeroizing::new(keys.database_key().map_err(|_| FfiError::NoKey)?));
            let store = SqlCipherStore::open(&path, &key, environment.store_id()).await?;
            let options = ClientOptions {
                identity,
                gateway,
                server_name,
                transports: Transports::default(),
                renewal: None,
                store,
                log: None,
                purge_after: purge_after_hours.map(|hours| Duration::from_secs(u64::from(hours) * 3600)),
                environment,
            };
            Ok(Arc::new(Self { client: Client::open(options).await? }))
        })
        .await
    }

    /// A new case with its first edits, saved on the device when this returns. Gives its id.
    ///
    /// # Errors
    /// When it could not be saved.
    pub async fn create_case(&self, edits: Vec<Edit>) -> Result<String, FfiError> {
        let (client, edits) = (self.client.clone(), self.core_edits(edits)?);
        on_runtime(async move { Ok(client.create_case(edits).await?.to_string()) }).await
    }

    /// A new case of kind `mission` or `visit`: its edits are checked against the kind's catalogue. Gives its id.
    ///
    /// # Errors
    /// When the kind is unknown, a value has not the type that the catalogue gives its field, or it could not be saved.
    pub async fn create(&self, kind: String, edits: Vec<Edit>) -> Result<String, FfiError> {
        let kind = kind.parse().map_err(|_| FfiError::Argument("a case is a `mission` or a `visit`".into()))?;
        let (client, edits) = (self.client.clone(), self.core_edits(edits)?);
        on_runtime(async move { Ok(client.create(kind, edits).await?.to_string()) }).await
    }

    /// A new id for an entry or an order, a UUID.
    ///
    /// # Errors
    /// Only after a defect of the SDK.
    pub fn new_id(&self) -> Result<String, FfiError> {
        in_runtime(|| self.client.new_entry_id().to_string())
    }

    /// Signs the case as it is on this device. What comes later is an addendum.
    ///
    /// # Errors
    /// When it could not be saved, or the device holds no such case.
    pub async fn finalise(&self, case_id: String) -> Result<(), FfiError> {
        let (client, id) = (self.client.clone(), self::case_id(&case_id)?);
        on_runtime(async move { Ok(client.finalise(id).await?) }).await
    }

    /// The case's orders, as their events make them.
    ///
    /// # Errors
    /// When the device holds no such case.
    pub async fn orders(&self, case_id: String) -> Result<Vec<OrderView>, FfiError> {
        let (client, id) = (self.client.clone(), self::case_id(&case_id)?);
        on_runtime(async move {
            let outcomes = client.outcome(id).await?;
            Ok(outcomes.into_iter().flat_map(|(_, outcome)| outcome.orders).map(Into::into).collect())
        })
        .await
    }

    /// Edits a case. Saved on the device when this returns.
    ///
    /// # Errors
    /// When it could not be saved or does not fit the case.
    pub async fn edit(&self, case_id: String, edits: Vec<Edit>) -> Result<(), FfiError> {
        let (client, id, edits) = (self.client.clone(), self::case_id(&case_id)?, self.core_edits(edits)?);
        on_runtime(async move { Ok(client.edit(id, edits).await?) }).await
    }

    /// The case as it is on this device.
    ///
    /// # Errors
    /// When the device holds no such case.
    pub async fn read(&self, case_id: String) -> Result<WholeCase, FfiError> {
        let (client, id) = (self.client.clone(), self::case_id(&case_id)?);
        on_runtime(async move { Ok(client.read(id).await?.into()) }).await
    }

    /// All cases on this device, oldest first.
    ///
    /// # Errors
    /// When the local store fails.
    pub async fn list(&self) -> Result<Vec<CaseOverview>, FfiError> {
        let client = self.client.clone();
        on_runtime(async move { Ok(client.list().await?.into_iter().map(Into::into).collect()) }).await
    }

    /// How safe a case is.
    ///
    /// # Errors
    /// When the device holds no such case.
    pub async fn safety(&self, case_id: String) -> Result<CaseSafety, FfiError> {
        let (client, id) = (self.client.clone(), self::case_id(&case_id)?);
        on_runtime(async move { Ok(client.case_sync(id).await?.into()) }).await
    }

    /// What the gateway refused of a case, oldest first.
    ///
    /// # Errors
    /// When the device holds no such case.
    pub async fn parked(&self, case_id: String) -> Result<Vec<ParkedChange>, FfiError> {
        let (client, id) = (self.client.clone(), self::case_id(&case_id)?);
        on_runtime(async move { Ok(client.parked(id).await?.into_iter().map(Into::into).collect()) }).await
    }

    /// Opens one case to this device for an hour, in an emergency, with words that a supervisor will read. Needs a session;
    /// what it may read of the case arrives as any other content does.
    ///
    /// # Errors
    /// Without a session, without words, for a case that nobody knows, or asked too often.
    pub async fn break_glass(&self, case_id: String, reason: EmergencyReason, text: String) -> Result<(), FfiError> {
        let (client, id) = (self.client.clone(), self::case_id(&case_id)?);
        on_runtime(async move { Ok(client.break_glass(id, reason.into(), text).await?) }).await
    }

    /// Cases that are on this device for others than whoever uses it, by id alone: what `break_glass_offline` can open.
    ///
    /// # Errors
    /// When the local store fails.
    pub async fn hidden_cases(&self) -> Result<Vec<String>, FfiError> {
        let client = self.client.clone();
        on_runtime(async move { Ok(client.hidden_cases().await?.iter().map(ToString::to_string).collect()) }).await
    }

    /// Shows whoever uses the device what it holds of one case for others, without a network, in an emergency, with words
    /// that a supervisor will read. To read, not to write; it ends after an hour, with the app, or when somebody else signs
    /// in.
    ///
    /// # Errors
    /// When nothing of it is on the device, without words, with too many, or asked too often.
    pub async fn break_glass_offline(
        &self,
        case_id: String,
        reason: EmergencyReason,
        text: String,
    ) -> Result<(), FfiError> {
        let (client, id) = (self.client.clone(), self::case_id(&case_id)?);
        on_runtime(async move { Ok(client.break_glass_offline(id, reason.into(), text).await?) }).await
    }

    /// Somebody uses the device from here on, whom the gateway judges by an OIDC access token. Gives back his pseudonym.
    ///
    /// # Errors
    /// When the gateway does not believe the token or cannot be reached. Whoever used the device before still does then.
    pub async fn sign_in_with_token(&self, token: String) -> Result<String, FfiError> {
        let client = self.client.clone();
        on_runtime(async move { Ok(client.sign_in(SignIn::Token(token)).await?.to_string()) }).await
    }

    /// Somebody uses the device from here on, whom the device judges by his PIN, also without a network.
    ///
    /// # Errors
    /// When the PIN is wrong, or was wrong too often. Whoever used the device before still does then.
    pub async fn sign_in_with_pin(&self, login: String, pin: String) -> Result<String, FfiError> {
        let client = self.client.clone();
        on_runtime(async move { Ok(client.sign_in(SignIn::Pin { login, pin }).await?.to_string()) }).await
    }

    /// Nobody uses the device from here on.
    ///
    /// # Errors
    /// When the local store fails.
    pub async fn sign_out(&self) -> Result<(), FfiError> {
        let client = self.client.clone();
        on_runtime(async move { Ok(client.sign_out().await?) }).await
    }

    /// Makes a user who signs in with a PIN, or changes the PIN of one who knows the old one. Gives back his pseudonym.
    ///
    /// # Errors
    /// When the new PIN is too easy, or `old` is not the one he has.
    pub async fn set_pin(&self, login: String, old: Option<String>, new: String) -> Result<String, FfiError> {
        let client = self.client.clone();
        on_runtime(async move { Ok(client.set_pin(login, old, new).await?.to_string()) }).await
    }

    /// Who has signed in on this device before.
    ///
    /// # Errors
    /// When the local store fails.
    pub async fn users(&self) -> Result<Vec<DeviceUser>, FfiError> {
        let client = self.client.clone();
        on_runtime(async move { Ok(client.users().await?.into_iter().map(Into::into).collect()) }).await
    }

    /// The whole client in one look.
    ///
    /// # Errors
    /// When the local store fails.
    pub async fn status(&self) -> Result<ClientStatus, FfiError> {
        let client = self.client.clone();
        on_runtime(async move { Ok(client.status().await?.into()) }).await
    }

    /// The path to the gateway as it is at the moment; none without a session. It is looked at every second for half a minute
    /// after each question.
    ///
    /// # Errors
    /// When the runtime is gone.
    pub async fn link(&self) -> Result<Option<LinkFacts>, FfiError> {
        let client = self.client.clone();
        on_runtime(async move { Ok(client.link().await.map(Into::into)) }).await
    }

    /// Calls the watcher on every change from here on.
    ///
    /// # Errors
    /// Only after a defect of the SDK.
    pub fn observe(&self, watcher: Arc<dyn Watcher>) -> Result<(), FfiError> {
        in_runtime(|| self.client.observe(Arc::new(Watching(watcher))))
    }

    /// Connects, and stays connected as well as the network allows.
    ///
    /// # Errors
    /// Only after a defect of the SDK.
    pub fn go_online(&self) -> Result<(), FfiError> {
        in_runtime(|| self.client.go_online())
    }

    /// Disconnects; edits are sent later.
    ///
    /// # Errors
    /// Only after a defect of the SDK.
    pub fn go_offline(&self) -> Result<(), FfiError> {
        in_runtime(|| self.client.go_offline())
    }

    /// The operating system reports another network.
    ///
    /// # Errors
    /// Only after a defect of the SDK.
    pub fn network_changed(&self) -> Result<(), FfiError> {
        in_runtime(|| self.client.network_changed())
    }

    /// The crew goes on a mission, or is back from it: while it is on one, this device comes before others when everybody
    /// connects at once. Of no effect on devices of roles that go on no missions.
    ///
    /// # Errors
    /// Only after a defect of the SDK.
    pub fn set_on_mission(&self, is_on_mission: bool) -> Result<(), FfiError> {
        in_runtime(|| self.client.set_on_mission(is_on_mission))
    }

    /// Ends everything in order. (`close` would collide with Kotlin's `AutoCloseable`.)
    ///
    /// # Errors
    /// Only after a defect of the SDK.
    pub async fn shutdown(&self) -> Result<(), FfiError> {
        let client = self.client.clone();
        on_runtime(async move {
            client.shutdown().await;
            Ok(())
        })
        .await
    }
}

impl FeldakteClient {
    fn core_edits(&self, edits: Vec<Edit>) -> Result<Vec<feldakte_client_sdk::view::Edit>, FfiError> {
        edits.into_iter().map(|edit| edit.into_core(|| self.client.new_entry_id())).collect()
    }
}

/// The key the app gave, for the moment of opening.
struct FixedKey(Zeroizing<Vec<u8>>);

impl KeyProvider for FixedKey {
    fn database_key(&self) -> Result<DatabaseKey, KeyError> {
        DatabaseKey::from_bytes(self.0.to_vec())
    }
}

struct Watching(Arc<dyn Watcher>);

impl Observer for Watching {
    fn on_event(&self, event: Event) {
        // An app whose watcher fails has been told; there is nobody else to tell.
        let _ = self.0.on_event(event.into());
    }
}
