//! Who uses the device: signed in with a token that the gateway judges, or with a PIN that the device judges itself.
//!
//! A session is somebody's: whoever signs in or out begins another one. Work of everybody else is delivered beside his,
//! as far as the gateway believes their tickets.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use feldakte_core::{ids::UserId, limits};
use feldakte_proto::{Credential, SignedIn};
use tokio::time::Instant;
use tracing::info;

use super::{Engine, Reply, outbox::Voices};
use crate::{
    error::SdkError,
    link::Introduction,
    pin::{self, PinRecord},
    store::{ActiveUser, LocalUser},
    user::{self, SignIn},
    view::DeviceUser,
    wire::LinkError,
};

/// Who uses the device, and how the gateway is told.
#[derive(Default)]
pub(super) struct Users {
    pub(super) active: Option<UserId>,
    /// His token, while the app runs.
    token: Option<String>,
    /// A token that the gateway has not judged yet.
    pending: Option<Pending>,
    /// Those of the last introduction whose work is delivered, in its order.
    delivers: Vec<UserId>,
    /// The last introduction named a token.
    introduced_token: bool,
    /// When a PIN was last wrong.
    wrong_at: BTreeMap<UserId, Instant>,
}

impl Users {
    /// As it was when the device was switched off.
    pub(super) fn used_by(active: Option<UserId>) -> Self {
        Self { active, ..Self::default() }
    }
}

struct Pending {
    token: String,
    user: UserId,
    reply: Reply<UserId>,
}

impl Engine {
    pub(super) async fn sign_in(&mut self, sign_in: SignIn, reply: Reply<UserId>) {
        match sign_in {
            SignIn::Pin { login, pin } => {
                let user = self.sign_in_with_pin(&login, &pin).await;
                // The caller may have gone away: he is signed in all the same.
                let _ = reply.send(user);
            }
            SignIn::Token(token) => self.ask_about(token, reply),
        }
    }

    /// The gateway judges a token at the beginning of the next session.
    fn ask_about(&mut self, token: String, reply: Reply<UserId>) {
        let is_online = *self.control.wanted.borrow();
        let refusal = match user::user_of(&token) {
            None => SdkError::BadToken,
            Some(_) if !is_online => SdkError::Offline,
            Some(user) => {
                self.users.pending = Some(Pending { token, user, reply });
                return self.introduce_anew();
            }
        };
        // A caller that has gone away needs no answer.
        let _ = reply.send(Err(refusal));
    }

    async fn sign_in_with_pin(&mut self, login: &str, pin: &str) -> Result<UserId, SdkError> {
        let known = self.check_pin(login, pin).await?;
        self.use_as(Some(known.user)).await?;
        Ok(known.user)
    }

    pub(super) async fn sign_out(&mut self) -> Result<(), SdkError> {
        self.use_as(None).await
    }

    /// Makes a user with a PIN, or changes the PIN of one who knows the old one.
    pub(super) async fn set_pin(&mut self, login: &str, old: Option<&str>, new: String) -> Result<UserId, SdkError> {
        let user = pin::user_of(&self.principal.tenant, login);
        let known = self.store.users().await?.into_iter().find(|known| known.user == user && known.pin.is_some());
        if known.is_some() {
            self.check_pin(login, old.unwrap_or_default()).await?;
        }
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|_| SdkError::Edit("the operating system has no entropy"))?;
        let record = self.environment.compute(move || PinRecord::new(&new, salt)).await;
        let pin = Some(record?);
        let ticket = known.and_then(|known| known.ticket);
        self.store.save_user(&LocalUser { user, pin, ticket, unsent: 0 }).await?;
        Ok(user)
    }

    /// Every try is counted before it is judged: a power cut gives nobody another one.
    async fn check_pin(&mut self, login: &str, pin: &str) -> Result<LocalUser, SdkError> {
        let user = pin::user_of(&self.principal.tenant, login);
        let known = self.store.users().await?.into_iter().find(|known| known.user == user);
        let Some(mut known) = known else { return Err(SdkError::WrongPin) };
        let Some(mut record) = known.pin.clone() else { return Err(SdkError::WrongPin) };
        let since = self.users.wrong_at.get(&user).copied().unwrap_or(self.opened_at);
        let left = record.wait().saturating_sub(since.elapsed());
        if !left.is_zero() {
            return Err(SdkError::PinLocked { wait: left });
        }
        record.wrong = record.wrong.saturating_add(1);
        known.pin = Some(record.clone());
        self.store.save_user(&known).await?;
        let pin = zeroize::Zeroizing::new(pin.to_owned());
        let (is_right, mut record) = self.environment.compute(move || (record.is(&pin), record)).await;
        if !is_right {
            self.users.wrong_at.insert(user, Instant::now());
            return Err(SdkError::WrongPin);
        }
        record.wrong = 0;
        known.pin = Some(record);
        self.store.save_user(&known).await?;
        self.users.wrong_at.remove(&user);
        Ok(known)
    }

    async fn use_as(&mut self, user: Option<UserId>) -> Result<(), SdkError> {
        // First: what the former session still had in hand is no news for whoever comes next.
        self.introduce_anew();
        self.store.set_active(user.map(|user| ActiveUser { user, has_own_cursor: false })).await?;
        self.users.token = None;
        self.now_used_by(user).await
    }

    async fn now_used_by(&mut self, user: Option<UserId>) -> Result<(), SdkError> {
        if self.users.active == user {
            return Ok(());
        }
        info!(is_somebody = user.is_some(), "another user");
        self.users.active = user;
        self.principal.user = user;
        self.documents.set_user(user);
        self.notifier.user_changed();
        Ok(())
    }

    /// The session at hand is over: the next one is somebody else's.
    fn introduce_anew(&mut self) {
        // First: the link must not take the end of the session for one of the network.
        self.control.introduction.send_modify(|number| *number += 1);
        self.drop_session();
    }

    /// How the device introduces itself: its user, and those with unsent work as far as they fit.
    pub(super) async fn introduction(&mut self) -> Result<Introduction, SdkError> {
        let users = self.store.users().await?;
        let pending = self.users.pending.as_ref().map(|pending| (pending.user, pending.token.clone()));
        let token = pending.or_else(|| Some((self.users.active?, self.users.token.clone()?)));
        self.users.introduced_token = token.is_some();
        let reader = token.as_ref().map(|(user, _)| *user);
        let of_pin = |user: &UserId| users.iter().any(|known| known.user == *user && known.pin.is_some());
        let active = match token {
            Some((_, token)) => Some(Credential::Token(token)),
            None => self.users.active.filter(of_pin).map(Credential::Local),
        };
        let speaking = reader.or(self.users.active.filter(of_pin));
        let others = users.into_iter().filter(|known| known.unsent > 0 && Some(known.user) != speaking);
        let credential = |known: LocalUser| {
            let credential = known.ticket.map(Credential::Ticket).or(known.pin.map(|_| Credential::Local(known.user)));
            Some((known.user, credential?))
        };
        let (delivers, credentials) = others.filter_map(credential).take(limits::DELIVERS_MAX).unzip();
        self.users.delivers = delivers;
        let cursor = self.store.cursor_of(reader).await?;
        let number = *self.control.introduction.borrow();
        Ok(Introduction { number, cursor, active, delivers: credentials })
    }

    /// What the gateway made of the introduction. `false` when the session is not one that can go on.
    pub(super) async fn hear_who_is_believed(
        &mut self,
        active: Option<SignedIn>,
        delivers: Vec<SignedIn>,
    ) -> Result<bool, SdkError> {
        let mut voices = Voices::default();
        for signed_in in delivers.into_iter().chain(active.clone()) {
            if let SignedIn::As { user, ticket, .. } = signed_in {
                voices.users.insert(user);
                self.keep_ticket(user, ticket).await?;
            }
        }
        if let Some(SignedIn::As { user, .. }) = &active {
            voices.active = Some(*user);
        }
        if self.users.introduced_token && !self.take_token(active).await? {
            self.introduce_anew();
            return Ok(false);
        }
        if let Some(user) = self.users.active.filter(|_| !self.users.introduced_token) {
            // Without a believed token he is sent what the device is sent.
            self.store.set_active(Some(ActiveUser { user, has_own_cursor: false })).await?;
        }
        self.cursor = self.store.state().await?.cursor;
        self.outbox.begin(voices);
        Ok(true)
    }

    /// Whether the token of the introduction was believed.
    async fn take_token(&mut self, active: Option<SignedIn>) -> Result<bool, SdkError> {
        let pending = self.users.pending.take();
        let Some(SignedIn::As { user, .. }) = active else {
            let refusal = match active {
                Some(SignedIn::Refused(refusal)) => SdkError::SignInRefused(refusal),
                _ => SdkError::Offline,
            };
            match pending {
                Some(Pending { reply, .. }) => drop(reply.send(Err(refusal))),
                None => {
                    self.users.token = None;
                    self.notifier.sign_in_ended();
                }
            }
            return Ok(false);
        };
        self.store.set_active(Some(ActiveUser { user, has_own_cursor: true })).await?;
        self.now_used_by(Some(user)).await?;
        if let Some(Pending { token, reply, .. }) = pending {
            self.users.token = Some(token);
            // The caller may have gone away: he is signed in all the same.
            let _ = reply.send(Ok(user));
        }
        Ok(true)
    }

    async fn keep_ticket(&mut self, user: UserId, ticket: Bytes) -> Result<(), SdkError> {
        let known = self.store.users().await?.into_iter().find(|known| known.user == user);
        let pin = known.and_then(|known| known.pin);
        let ticket = Some(ticket).filter(|ticket| !ticket.is_empty());
        Ok(self.store.save_user(&LocalUser { user, pin, ticket, unsent: 0 }).await?)
    }

    /// Nobody judges a token while there is no gateway.
    pub(super) fn give_up_sign_in(&mut self, error: &LinkError) {
        if matches!(error, LinkError::Introduced) {
            return;
        }
        if let Some(Pending { reply, .. }) = self.users.pending.take() {
            let _ = reply.send(Err(SdkError::Offline));
            self.control.introduction.send_modify(|number| *number += 1);
        }
    }

    pub(super) async fn device_users(&self) -> Result<Vec<DeviceUser>, SdkError> {
        let known: BTreeSet<UserId> = self.users.active.into_iter().collect();
        let users = self.store.users().await?;
        let to_view = |LocalUser { user, pin, ticket: _, unsent }: LocalUser| DeviceUser {
            is_active: known.contains(&user),
            user,
            has_pin: pin.is_some(),
            unsent,
        };
        Ok(users.into_iter().map(to_view).collect())
    }
}
