//! Tickets: what a device gets for a user who has signed in, so that it can deliver his work when his token has ended.
//!
//! A ticket opens nothing, and is worth nothing on another device. Its layout is wire format: version, tenant (length, then
//! text), device, user, role, voucher, issued, expires, HMAC-SHA256 over all before.

use aws_lc_rs::hmac;
use bytes::{BufMut, Bytes};
use feldakte_core::{
    access::{Principal, Role},
    ids::{DeviceId, TenantId, UserId},
};

use super::{Voucher, refusal::Refusal};

/// Gives and checks tickets.
pub(super) struct Tickets {
    /// The first signs; all of them are believed.
    keys: Vec<hmac::Key>,
    lifetime_ms: i64,
}

/// Who gets a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) user: UserId,
    pub(super) role: Role,
    pub(super) voucher: Voucher,
}

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) tenant: TenantId,
    pub(super) device: DeviceId,
    pub(super) user: UserId,
    pub(super) role: Role,
    pub(super) voucher: Voucher,
    pub(super) issued_ms: i64,
    pub(super) expires_ms: i64,
}

impl Tickets {
    /// `keys` must not be empty.
    pub(super) fn new(keys: &[[u8; KEY_LEN]], lifetime_ms: i64) -> Self {
        let keys = keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect();
        Self { keys, lifetime_ms }
    }

    /// For one who has signed in on `device`.
    pub(super) fn give(&self, device: &Principal, bearer: Bearer, now_ms: i64) -> Bytes {
        let (tenant, device) = (device.tenant.clone(), device.device);
        let Bearer { user, role, voucher } = bearer;
        let expires_ms = now_ms.saturating_add(self.lifetime_ms);
        let mut bytes = Ticket { tenant, device, user, role, voucher, issued_ms: now_ms, expires_ms }.encode();
        let tag = hmac::sign(&self.keys[0], &bytes);
        bytes.extend_from_slice(tag.as_ref());
        bytes.into()
    }

    /// The ticket, when it is ours, was given to this device, and its time is not over.
    pub(super) fn check(&self, bytes: &[u8], device: &Principal, now_ms: i64) -> Result<Ticket, Refusal> {
        let (ticket, tag) = bytes.split_at_checked(bytes.len().saturating_sub(TAG_LEN)).ok_or(Refusal::TicketForged)?;
        // In constant time: aws-lc-rs compares tags so.
        if !self.keys.iter().any(|key| hmac::verify(key, ticket, tag).is_ok()) {
            return Err(Refusal::TicketForged);
        }
        let ticket = Ticket::decode(ticket).ok_or(Refusal::Malformed)?;
        if ticket.device != device.device || ticket.tenant != device.tenant {
            return Err(Refusal::TicketOfAnotherDevice);
        }
        if now_ms >= ticket.expires_ms {
            return Err(Refusal::Expired);
        }
        Ok(ticket)
    }
}

impl Ticket {
    fn encode(&self) -> Vec<u8> {
        let Self { tenant, device, user, role, voucher, issued_ms, expires_ms } = self;
        let tenant = tenant.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(160);
        bytes.put_u8(VERSION);
        bytes.put_u8(u8::try_from(tenant.len()).expect("a slug has at most 63 bytes"));
        bytes.put_slice(tenant);
        bytes.put_slice(device.as_bytes());
        bytes.put_slice(user.as_bytes());
        bytes.put_u8(*role as u8);
        bytes.put_u8(*voucher as u8);
        bytes.put_i64(*issued_ms);
        bytes.put_i64(*expires_ms);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[VERSION, len], bytes) = bytes.split_first_chunk()? else { return None };
        let (tenant, bytes) = bytes.split_at_checked(len.into())?;
        let (device, bytes) = bytes.split_first_chunk::<16>()?;
        let (user, bytes) = bytes.split_first_chunk::<16>()?;
        let (&[role, voucher], bytes) = bytes.split_first_chunk()?;
        let (issued, bytes) = bytes.split_first_chunk()?;
        let expires = <&[u8; 8]>::try_from(bytes).ok()?;
        Some(Self {
            tenant: std::str::from_utf8(tenant).ok()?.parse().ok()?,
            device: DeviceId::from_slice(device).ok()?,
            user: UserId::from_slice(user).ok()?,
            role: Role::from_number(role.into())?,
            voucher: Voucher::from_number(voucher)?,
            issued_ms: i64::from_be_bytes(*issued),
            expires_ms: i64::from_be_bytes(*expires),
        })
    }
}

/// Of a key.
pub(super) const KEY_LEN: usize = 32;
const TAG_LEN: usize = 32;
const VERSION: u8 = 1;

#[cfg(test)]
mod tests;
