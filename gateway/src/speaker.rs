//! Who speaks in a session: the device of the certificate, the user who has signed in on it, and those whose unsent work it
//! delivers.
//!
//! All of it is decided once, by the device's `Hello`: another user is another session.

use feldakte_core::{
    access::{PartSet, Policy, Principal, Rules, Subject},
    admission::Ledger,
    ids::{TenantId, UserId},
};
use feldakte_proto::{Credential, Hello, SignedIn};
use tracing::info;

use crate::{
    gateway::Shared,
    registry::SignIns,
    store::Reader,
    users::{Purpose, Refusal, SignIn, Voucher},
};

/// Everybody in whose name a session may act.
#[derive(Debug, Clone)]
pub struct Speaker {
    /// The device and its active user.
    pub principal: Principal,
    /// The tenant whose log the session reads and writes.
    pub log: TenantId,
    /// What the device is told about its credentials.
    pub active: Option<SignedIn>,
    /// The same about those whose work it delivers.
    pub delivers: Vec<SignedIn>,
    /// Whether the device is to destroy what it holds: it gets nothing, and what it delivers is kept for a supervisor.
    pub is_wiped: bool,
    /// The device without anybody.
    device: Principal,
    /// Those who have signed in or whose work is delivered.
    users: Vec<(Principal, Voucher)>,
    /// What it stands on besides the certificate.
    sign_ins: SignIns,
    /// Whose grants are read by.
    reads_as: Principal,
}

/// In whose name a push is made.
#[derive(Debug, Clone)]
pub struct Author {
    /// The device, and its user at the time.
    pub principal: Principal,
    /// Who vouches for the user; `None` when there is none.
    voucher: Option<Voucher>,
}

impl Speaker {
    /// Judges the credentials of a `Hello` from the device that the certificate names. One that is refused leaves the
    /// device as it is without it.
    pub async fn of(shared: &Shared, device: Principal, hello: &Hello) -> Self {
        let mut speaker = Self::of_device(shared, device, hello.tenant.clone());
        speaker.delivers.reserve(hello.delivers.len());
        if let Some(credential) = &hello.active {
            let judged = speaker.judge(shared, credential, Purpose::Use).await;
            if let Ok(sign_in) = &judged {
                speaker.uses(sign_in);
            }
            speaker.active = Some(told(judged));
        }
        for credential in &hello.delivers {
            let judged = speaker.judge(shared, credential, Purpose::Deliver).await;
            speaker.delivers.push(told(judged));
        }
        speaker
    }

    /// Somebody at a browser: a device by its certificate, with a user when a token comes along, or a user by his token alone.
    ///
    /// # Errors
    /// Why the token is not believed. There is nobody to fall back on: whoever shows one means to be that user.
    pub async fn of_browser(
        shared: &Shared,
        device: Option<Principal>,
        token: Option<String>,
    ) -> Result<Option<Self>, Refusal> {
        let now_ms = shared.environment.latest_ms();
        let (device, sign_in) = match (device, token) {
            (None, None) => return Ok(None),
            (Some(device), None) => return Ok(Some(Self::of_device(shared, device, None))),
            (Some(device), Some(token)) => {
                let judged = shared.users.judge(&Credential::Token(token), Purpose::Use, &device, now_ms).await;
                (device, judged)
            }
            (None, Some(token)) => match shared.users.judge_alone(&token, now_ms).await {
                Ok((principal, sign_in)) => (Principal { user: None, ..principal }, Ok(sign_in)),
                Err(refusal) => return Err(note(shared, Purpose::Use, None, refusal)),
            },
        };
        let mut speaker = Self::of_device(shared, device, None);
        let sign_in = speaker.take(shared, Purpose::Use, sign_in)?;
        speaker.uses(&sign_in);
        speaker.active = Some(sign_in.told());
        Ok(Some(speaker))
    }

    fn of_device(shared: &Shared, device: Principal, log: Option<TenantId>) -> Self {
        Self {
            principal: device.clone(),
            log: log.unwrap_or_else(|| device.tenant.clone()),
            active: None,
            delivers: Vec::new(),
            is_wiped: shared.wipes.of(device.device).is_some(),
            users: Vec::new(),
            sign_ins: SignIns::default(),
            reads_as: device.clone(),
            device,
        }
    }

    async fn judge(&mut self, shared: &Shared, credential: &Credential, purpose: Purpose) -> Result<SignIn, Refusal> {
        let now_ms = shared.environment.latest_ms();
        let judged = shared.users.judge(credential, purpose, &self.device, now_ms).await;
        self.take(shared, purpose, judged)
    }

    /// Takes somebody in who was believed, unless he is denied.
    fn take(&mut self, shared: &Shared, purpose: Purpose, judged: Result<SignIn, Refusal>) -> Result<SignIn, Refusal> {
        let judged = judged.and_then(|sign_in| match shared.deny.is_user_denied(sign_in.user) {
            true => Err(Refusal::Denied),
            false => Ok(sign_in),
        });
        let sign_in = judged.map_err(|refusal| note(shared, purpose, Some(&self.device), refusal))?;
        shared.metrics.sign_ins.get_or_create(&vec![("outcome", "believed".to_owned())]).inc();
        self.stand_on(&sign_in);
        Ok(sign_in)
    }

    fn stand_on(&mut self, sign_in: &SignIn) {
        self.users.push((sign_in.principal(&self.device), sign_in.voucher));
        self.sign_ins.users.push(sign_in.user);
        self.sign_ins.until_ms = self.sign_ins.until_ms.into_iter().chain(sign_in.until_ms).min();
    }

    fn uses(&mut self, sign_in: &SignIn) {
        self.principal = sign_in.principal(&self.device);
        self.reads_as = match sign_in.voucher {
            Voucher::Issuer => self.principal.clone(),
            // A device that could make up whom it pleases would read what was granted to them.
            Voucher::Device => self.device.clone(),
        };
    }

    /// What it stands on besides the certificate.
    pub fn sign_ins(&self) -> &SignIns {
        &self.sign_ins
    }

    /// In whose name a push is made, the device's own when none is named; `None` when that user has not signed in with
    /// this session.
    pub fn author(&self, user: Option<UserId>) -> Option<Author> {
        let Some(user) = user else { return Some(Author { principal: self.device.clone(), voucher: None }) };
        let found = self.users.iter().find(|(principal, _)| principal.user == Some(user));
        found.map(|(principal, voucher)| Author { principal: principal.clone(), voucher: Some(*voucher) })
    }

    /// Somebody on the device of whom it says that he has done something: the user of the session as what he is believed to be,
    /// everybody else as no more than the device itself.
    pub fn on_device(&self, user: Option<UserId>) -> Principal {
        match user == self.principal.user {
            true => self.principal.clone(),
            false => Principal { user, ..self.device.clone() },
        }
    }

    /// What the session may read.
    pub fn reader(&self, shared: &Shared) -> Reader {
        let needs_user = self.principal.user.is_none() && shared.users.requires_user(self.device.role);
        Reader {
            tenant: self.log.clone(),
            subjects: self.reads_as.subjects_in(&self.log),
            parts: if needs_user || self.is_wiped {
                PartSet::NONE
            } else {
                shared.policy.readable(self.principal.role)
            },
        }
    }

    /// What a check of what `author` may do on a document stands on at this moment.
    pub fn rules<'a>(&'a self, shared: &'a Shared, author: &Author, ledger: &Ledger) -> Rules<'a> {
        let rules = Rules { policy: &shared.policy, log: &self.log, now_ms: shared.environment.latest_ms() };
        let is_barred = match author.voucher {
            None => shared.users.requires_user(author.principal.role),
            Some(Voucher::Issuer) => false,
            Some(Voucher::Device) => !ledger.is_free() && !self.device_may_write(rules, ledger),
        };
        if is_barred { Rules { policy: Policy::nothing(), ..rules } } else { rules }
    }

    /// Whom an emergency access is for: the user on every device when an issuer vouches for him, else the device.
    pub fn emergency_subject(&self) -> Subject {
        self.reads_as.user.map_or(Subject::Device(self.reads_as.device), Subject::User)
    }

    /// Whether what the author pushes is kept for a supervisor instead of entering the log: his access to the document has
    /// ended, or the device is to be wiped. Whoever is barred until he signs in keeps his work himself. To a document of
    /// another tenant nobody here can say anything: a supervisor who looked at such work would look into that tenant's case.
    pub fn is_late(&self, shared: &Shared, author: &Author, ledger: &Ledger) -> bool {
        let rules = Rules { policy: &shared.policy, log: &self.log, now_ms: shared.environment.latest_ms() };
        let may_write = ledger.permit(rules, &author.principal).is_some_and(|permit| permit.may_write());
        let is_the_logs = ledger.is_free() || *ledger.tenant() == self.log;
        (self.is_wiped && is_the_logs) || (!may_write && ledger.could_write(&self.log, &author.principal))
    }

    fn device_may_write(&self, rules: Rules<'_>, ledger: &Ledger) -> bool {
        ledger.permit(rules, &self.device).is_some_and(|permit| permit.may_write())
    }
}

/// Somebody is not believed; `device` is where, if it is known.
fn note(shared: &Shared, purpose: Purpose, device: Option<&Principal>, refusal: Refusal) -> Refusal {
    shared.metrics.sign_ins.get_or_create(&vec![("outcome", refusal.to_string())]).inc();
    let device = device.map(|device| tracing::field::display(device.device));
    info!(device, ?purpose, %refusal, "sign-in refused");
    refusal
}

fn told(judged: Result<SignIn, Refusal>) -> SignedIn {
    judged.map_or_else(|refusal| SignedIn::Refused(refusal.told()), |sign_in| sign_in.told())
}
