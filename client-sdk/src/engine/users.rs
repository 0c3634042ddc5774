//! Who uses the device: signed in with a token that the gateway judges, or with a PIN that the device judges itself.
//!
//! A session is somebody's: whoever signs in or out begins another one. Work of everybody else is delivered beside his,
//! as far as the gateway believes their tickets.

use std::collections::{BTreeMap, BTreeSet};

use feldakte_core::{ids::UserId, limits};
use feldakte_proto::{Credential, Login, LoginEvent, SignInRefusal, SignedIn};
use tokio::time::Instant;
use tracing::info;

use super::{Engine, Reply, outbox::Voices};
use crate::{
    error::SdkError,
    link::Introduction,
    pin::PinRecord,
    store::{LocalUser, Reader},
    transport::LinkError,
    user::{self, SignIn},
    view::DeviceUser,
};

/// Who uses the device, and how the gateway is told.
pub(super) struct Users {
    /// As whom [`Engine::principal`]'s user is sent the log.
    reader: Reader,
    /// The gateway does not believe this device about PINs: it is not asked again.
    are_pins_refused: bool,
    /// His token, while the app runs.
    token: Option<String>,
    /// A token that the gateway has not judged yet.
    pending: Option<Pending>,
    /// As whom the last introduction asks to be sent the log.
    introduced: Reader,
    /// When a PIN was last wrong.
    wrong_at: BTreeMap<UserId, Instant>,
    /// Those of whom it is written down that they have to wait.
    locked: BTreeSet<UserId>,
    /// Before that nobody has tried any.
    opened_at: Instant,
}

impl Users {
    /// As it was when the device was switched off.
    pub(super) fn reading_as(reader: Reader) -> Self {
        Self {
            reader,
            are_pins_refused: false,
            token: None,
            pending: None,
            introduced: reader,
            wrong_at: BTreeMap::new(),
            locked: BTreeSet::new(),
            opened_at: Instant::now(),
        }
    }

    /// Whether a token was to be judged.
    fn forget_pending(&mut self) -> bool {
        let Some(Pending { reply, .. }) = self.pending.take() else { return false };
        // A caller that has gone away needs no answer.
        let _ = reply.send(Err(SdkError::Offline));
        true
    }
}

struct Pending {
    token: String,
    user: UserId,
    /// How often the gateway has closed a connection meanwhile.
    closed: u32,
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
                self.users.forget_pending();
                self.users.pending = Some(Pending { token, user, closed: 0, reply });
                return self.introduce_anew();
            }
        };
        // A caller that has gone away needs no answer.
        let _ = reply.send(Err(refusal));
    }

    async fn sign_in_with_pin(&mut self, login: &str, pin: &str) -> Result<UserId, SdkError> {
        let user = UserId::of_login(&self.principal.tenant, login);
        let known = self.check_pin(login, pin).await;
        match &known {
            Ok(_) => self.note_login(user, LoginEvent::SignedIn).await?,
            Err(SdkError::WrongPin) => self.note_login(user, LoginEvent::PinWrong).await?,
            // Once for each wait: however often the app asks meanwhile, nothing is tried.
            Err(SdkError::PinLocked { .. }) if self.users.locked.insert(user) => {
                self.note_login(user, LoginEvent::PinLocked).await?;
            }
            Err(_) => {}
        }
        let known = known?;
        self.note_end_for(Some(known.user)).await?;
        self.use_as(Some(known.user)).await?;
        Ok(known.user)
    }

    pub(super) async fn sign_out(&mut self) -> Result<(), SdkError> {
        self.note_end_for(None).await?;
        self.use_as(None).await
    }

    /// Whoever uses the device leaves it for that one.
    async fn note_end_for(&mut self, next: Option<UserId>) -> Result<(), SdkError> {
        match (self.principal.user, next) {
            (Some(user), None) => self.note_login(user, LoginEvent::SignedOut).await,
            (Some(user), Some(next)) if user != next => self.note_login(user, LoginEvent::Replaced).await,
            _ => Ok(()),
        }
    }

    async fn note_login(&mut self, user: UserId, what: LoginEvent) -> Result<(), SdkError> {
        if what != LoginEvent::PinLocked {
            self.users.locked.remove(&user);
        }
        self.store.note_login(Login { user, what, at_ms: self.environment.now_ms() }).await?;
        self.requests.receipts_are_due_soon();
        Ok(())
    }

    /// Makes a user with a PIN, or changes the PIN of one who knows the old one.
    pub(super) async fn set_pin(&mut self, login: &str, old: Option<&str>, new: String) -> Result<UserId, SdkError> {
        let user = UserId::of_login(&self.principal.tenant, login);
        let known = self.known_with_pin(user).await?;
        if known.is_some() {
            self.check_pin(login, old.unwrap_or_default()).await?;
        }
        let salt = self.environment.random();
        let pin = Some(self.environment.compute(move || PinRecord::new(&new, salt)).await?);
        let (ticket, role) = known.map(|(known, _)| (known.ticket, known.role)).unwrap_or_default();
        self.store.save_user(&LocalUser { user, pin, ticket, role, unsent: 0 }).await?;
        Ok(user)
    }

    async fn known_with_pin(&self, user: UserId) -> Result<Option<(LocalUser, PinRecord)>, SdkError> {
        let known = self.store.users().await?.into_iter().find(|known| known.user == user);
        Ok(known.and_then(|known| known.pin.clone().map(|pin| (known, pin))))
    }

    /// Every try is counted before it is judged: a power cut gives nobody another one.
    async fn check_pin(&mut self, login: &str, pin: &str) -> Result<LocalUser, SdkError> {
        let user = UserId::of_login(&self.principal.tenant, login);
        let Some((mut known, mut record)) = self.known_with_pin(user).await? else { return Err(SdkError::WrongPin) };
        let since = self.users.wrong_at.get(&user).copied().unwrap_or(self.users.opened_at);
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
        // Whoever asked before and has been overtaken must not find himself signed in later.
        self.users.forget_pending();
        self.users.token = None;
        self.users.are_pins_refused = false;
        self.now_used_by(user, user.map_or(Reader::Device, |_| Reader::Local)).await
    }

    /// Written down before anything is shown to him.
    async fn now_used_by(&mut self, user: Option<UserId>, reader: Reader) -> Result<(), SdkError> {
        if (self.principal.user, self.users.reader) == (user, reader) {
            return Ok(());
        }
        self.store.set_active(user, reader).await?;
        info!(is_somebody = user.is_some(), "another user");
        (self.principal.user, self.users.reader) = (user, reader);
        self.documents.set_user(user);
        self.emergencies.close_all();
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
        let token = pending.or_else(|| Some((self.principal.user?, self.users.token.clone()?)));
        let of_token = token.as_ref().map(|(user, _)| *user);
        let of_pin = |user: &UserId| users.iter().any(|known| known.user == *user && known.pin.is_some());
        let of_pin = self.principal.user.filter(of_pin).filter(|_| !self.users.are_pins_refused);
        let active = token.map(|(_, token)| Credential::Token(token)).or(of_pin.map(Credential::Local));
        let speaking = of_token.or(of_pin);
        let others = users.into_iter().filter(|known| known.unsent > 0 && Some(known.user) != speaking);
        let credential = |known: LocalUser| {
            known.ticket.map(Credential::Ticket).or(known.pin.map(|_| Credential::Local(known.user)))
        };
        let delivers = others.filter_map(credential).take(limits::DELIVERS_MAX).collect();
        self.users.introduced = match (of_token, of_pin) {
            (Some(user), _) => Reader::User(user),
            (None, Some(_)) => Reader::Local,
            (None, None) => Reader::Device,
        };
        let cursor = self.store.cursor_of(self.users.introduced).await?;
        let number = *self.control.introduction.borrow();
        let in_use = self.outbox.in_use().collect();
        Ok(Introduction { number, cursor, active, delivers, in_use })
    }

    /// What the gateway made of the introduction. `false` when the session is not one that can go on.
    pub(super) async fn hear_who_is_believed(
        &mut self,
        active: Option<SignedIn>,
        delivers: Vec<SignedIn>,
    ) -> Result<bool, SdkError> {
        let mut voices = Voices::default();
        let users = self.store.users().await?;
        for signed_in in delivers.into_iter().chain(active.clone()) {
            if let SignedIn::As { user, role, ticket, until_ms: _ } = signed_in {
                voices.users.insert(user);
                let known = users.iter().find(|known| known.user == user);
                let pin = known.and_then(|known| known.pin.clone());
                let ticket = Some(ticket).filter(|ticket| !ticket.is_empty());
                self.store.save_user(&LocalUser { user, pin, ticket, role: Some(role), unsent: 0 }).await?;
            }
        }
        if let Some(SignedIn::As { user, .. }) = &active {
            voices.active = Some(*user);
        }
        let is_as_introduced = match self.users.introduced {
            Reader::User(_) => self.take_token(active).await?,
            Reader::Local => self.take_pin(voices.active, refusal_of(&active)).await?,
            Reader::Device => {
                self.now_used_by(self.principal.user, Reader::Device).await?;
                true
            }
        };
        if !is_as_introduced {
            // What is sent stands on another cursor than whoever is believed has.
            self.introduce_anew();
            return Ok(false);
        }
        self.cursor = self.store.state().await?.cursor;
        self.outbox.begin(voices);
        Ok(true)
    }

    /// Whom the gateway does not believe any more has no role without it either. A token that has ended says nothing about
    /// its user.
    async fn forget_role(&self, user: Option<UserId>, refusal: Option<SignInRefusal>) -> Result<(), SdkError> {
        use SignInRefusal::{Denied, Expired, Malformed, NoRole, NotTrusted};
        let is_his = match refusal {
            None | Some(Expired | Malformed) => false,
            Some(Denied | NoRole | NotTrusted) => true,
        };
        let known = self.store.users().await?.into_iter().find(|known| Some(known.user) == user);
        match known {
            Some(known) if is_his => Ok(self.store.save_user(&LocalUser { role: None, ..known }).await?),
            _ => Ok(()),
        }
    }

    /// Whether the gateway takes the device's word for its user.
    async fn take_pin(&mut self, believed: Option<UserId>, refusal: Option<SignInRefusal>) -> Result<bool, SdkError> {
        self.forget_role(self.principal.user, refusal).await?;
        self.users.are_pins_refused = believed.is_none();
        if believed.is_some() {
            self.now_used_by(self.principal.user, Reader::Local).await?;
        }
        Ok(believed.is_some())
    }

    /// Whether the token of the introduction was believed.
    async fn take_token(&mut self, active: Option<SignedIn>) -> Result<bool, SdkError> {
        let pending = self.users.pending.take();
        let Some(SignedIn::As { user, .. }) = active else {
            let judged = pending.as_ref().map(|pending| pending.user).or(self.principal.user);
            self.forget_role(judged, refusal_of(&active)).await?;
            let refusal = match active {
                Some(SignedIn::Refused(refusal)) => SdkError::SignInRefused(refusal),
                _ => SdkError::Offline,
            };
            match pending {
                Some(Pending { reply, .. }) => drop(reply.send(Err(refusal))),
                None => {
                    self.users.token = None;
                    // What his token opened is closed with it.
                    self.now_used_by(self.principal.user, Reader::Device).await?;
                    self.notifier.sign_in_ended();
                }
            }
            return Ok(false);
        };
        self.now_used_by(Some(user), Reader::User(user)).await?;
        if let Some(Pending { token, reply, .. }) = pending {
            self.users.token = Some(token);
            // The caller may have gone away: he is signed in all the same.
            let _ = reply.send(Ok(user));
        }
        Ok(true)
    }

    /// Nobody judges a token while there is no gateway. One that closes is there: a connection of the session before may
    /// have come to it late.
    pub(super) fn give_up_sign_in(&mut self, error: &LinkError) {
        let is_there = matches!(error, LinkError::Closed(_)) && error.is_retryable();
        match &mut self.users.pending {
            _ if matches!(error, LinkError::Introduced) => return,
            Some(pending) if is_there && pending.closed < CLOSED_MAX => {
                pending.closed += 1;
                return;
            }
            _ => {}
        }
        if self.users.forget_pending() {
            self.control.introduction.send_modify(|number| *number += 1);
        }
    }

    pub(super) async fn device_users(&self) -> Result<Vec<DeviceUser>, SdkError> {
        let users = self.store.users().await?;
        let to_view = |LocalUser { user, pin, ticket: _, role: _, unsent }: LocalUser| DeviceUser {
            is_active: self.principal.user == Some(user),
            user,
            has_pin: pin.is_some(),
            unsent,
        };
        Ok(users.into_iter().map(to_view).collect())
    }
}

fn refusal_of(active: &Option<SignedIn>) -> Option<SignInRefusal> {
    match active {
        Some(SignedIn::Refused(refusal)) => Some(*refusal),
        _ => None,
    }
}

/// Sessions that a gateway may close before a token is given up.
const CLOSED_MAX: u32 = 3;
