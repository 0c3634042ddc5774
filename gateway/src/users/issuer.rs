//! An issuer of access tokens (an OIDC provider), and what it may say about whom: the profile of RFC 9068.

use feldakte_core::{
    access::{Principal, Role},
    ids::{DeviceId, TenantId, UnitId, UserId},
    limits,
};

use super::{
    refusal::Refusal,
    source::KeySource,
    token::{ClaimPath, Claims, Token},
};

/// An issuer that is trusted here.
pub(super) struct Issuer {
    pub(super) profile: Profile,
    pub(super) keys: KeySource,
}

/// What its tokens must say, and what that means here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name, as `iss` says it.
    pub issuer: String,
    /// This gateway's name in `aud`.
    pub audience: String,
    /// Values of `typ` that are access tokens.
    pub types: Vec<String>,
    /// Where the user's tenant stands; the device's when `None`.
    pub tenant_claim: Option<ClaimPath>,
    /// Where the user's roles stand.
    pub role_claim: ClaimPath,
    /// What they mean. The first that fits counts.
    pub roles: Vec<RoleRule>,
}

/// What one value of the role claim means in one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRule {
    /// In which tenant.
    pub tenant: TenantId,
    /// The claim's value.
    pub claim: String,
    /// The role here.
    pub role: Role,
    /// Where the user belongs who comes without a device, such as a physician's tele-centre; he cannot when it is `None`.
    pub unit: Option<UnitId>,
}

impl Issuer {
    /// Whom the token is about, as what, and until when (milliseconds since 1970-01-01 UTC), when this issuer has signed it for us and its time has come and is not over.
    pub(super) async fn judge(
        &self,
        token: Token<'_>,
        device: &Principal,
        now_ms: i64,
    ) -> Result<(UserId, Role, i64), Refusal> {
        let (claims, until_ms) = self.verify(token, now_ms).await?;
        let role = self.profile.role_of(&claims, device)?;
        Ok((UserId::of_subject(&self.profile.issuer, claims.text("sub")?), role, until_ms))
    }

    /// The same of a user who comes without a device: who he is here, and until when.
    pub(super) async fn judge_alone(&self, token: Token<'_>, now_ms: i64) -> Result<(Principal, i64), Refusal> {
        let (claims, until_ms) = self.verify(token, now_ms).await?;
        let RoleRule { tenant, unit, role, .. } = self.profile.rule_without_device(&claims)?;
        let user = UserId::of_subject(&self.profile.issuer, claims.text("sub")?);
        let unit = unit.clone().ok_or(Refusal::NoRole)?;
        let principal =
            Principal { tenant: tenant.clone(), unit, device: DeviceId::of_user(user), role: *role, user: Some(user) };
        Ok((principal, until_ms))
    }

    async fn verify(&self, token: Token<'_>, now_ms: i64) -> Result<(Claims, i64), Refusal> {
        token.check_type(&self.profile.types)?;
        let key = self.keys.key(token.key_id()?).await.ok_or(Refusal::UnknownKey)?;
        let claims = token.verify(&key)?;
        let until_ms = self.check(&claims, now_ms)?;
        Ok((claims, until_ms))
    }

    /// Until when it is believed.
    fn check(&self, claims: &Claims, now_ms: i64) -> Result<i64, Refusal> {
        let Profile { issuer, audience, .. } = &self.profile;
        if claims.text("iss")? != issuer {
            return Err(Refusal::Issuer);
        }
        if !claims.words(&ClaimPath("aud".into())).contains(&audience.as_str()) {
            return Err(Refusal::Audience);
        }
        let leeway_ms = limits::TOKEN_LEEWAY.as_millis() as i64;
        let until_ms = claims.moment_ms("exp")?.ok_or(Refusal::Malformed)? + leeway_ms;
        if now_ms >= until_ms {
            return Err(Refusal::Expired);
        }
        for begin in ["nbf", "iat"] {
            if claims.moment_ms(begin)?.is_some_and(|begin_ms| now_ms < begin_ms - leeway_ms) {
                return Err(Refusal::NotYetValid);
            }
        }
        Ok(until_ms)
    }
}

impl Profile {
    fn role_of(&self, claims: &Claims, device: &Principal) -> Result<Role, Refusal> {
        if let Some(claim) = &self.tenant_claim
            && !claims.words(claim).contains(&device.tenant.as_str())
        {
            return Err(Refusal::Tenant);
        }
        let said = claims.words(&self.role_claim);
        let fits = |rule: &&RoleRule| rule.tenant == device.tenant && said.contains(&rule.claim.as_str());
        self.roles.iter().find(fits).map(|rule| rule.role).ok_or(Refusal::NoRole)
    }

    fn rule_without_device(&self, claims: &Claims) -> Result<&RoleRule, Refusal> {
        let said = claims.words(&self.role_claim);
        let tenants = self.tenant_claim.as_ref().map(|claim| claims.words(claim));
        let is_his = |rule: &RoleRule| tenants.as_ref().is_none_or(|tenants| tenants.contains(&rule.tenant.as_str()));
        let fits = |rule: &&RoleRule| rule.unit.is_some() && said.contains(&rule.claim.as_str()) && is_his(rule);
        self.roles.iter().find(fits).ok_or(Refusal::NoRole)
    }
}
