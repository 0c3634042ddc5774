//! What devices push, store and report, each within its share. Whoever has used it up is read from later: what it sent waits
//! on its way, unanswered, and nothing is lost. Receipts beyond their share are put off, and hold up nothing else.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use feldakte_core::{
    ids::{DeviceId, TenantId},
    limits::{FAIR_PARTS, Shares},
    rate::Taken,
};
use tokio::time::Instant;

/// All devices and tenants that have used something lately.
#[derive(Debug)]
pub struct Quotas {
    shares: Shares,
    since: Instant,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    devices: HashMap<DeviceId, DeviceUse>,
    tenants: HashMap<TenantId, Taken>,
}

#[derive(Debug, Clone, Copy, Default)]
struct DeviceUse {
    changes: Taken,
    bytes: Taken,
    stored: Taken,
    receipts: Taken,
}

/// What a push takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Changes in it.
    pub changes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that the log grows by.
    pub stored: u64,
}

/// A share that has been used up, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// When something is left again.
    pub until: Instant,
    /// Which, for metrics and logs.
    pub share: &'static str,
}

/// Nothing is left of the share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedUp;

impl Quotas {
    /// Nobody has used anything.
    pub fn new(shares: Shares) -> Self {
        Self { shares, since: Instant::now(), used: Mutex::default() }
    }

    /// A device has pushed into a tenant's log. It may go into debt by one push.
    pub fn charge(&self, device: DeviceId, log: &TenantId, cost: Cost) {
        let now = self.since.elapsed();
        let Shares { pushed_changes, pushed_bytes, stored_bytes, tenant_stored_bytes, .. } = self.shares;
        let mut used = self.used();
        let device = used.devices.entry(device).or_default();
        // An empty push costs a look as well.
        device.changes.take(pushed_changes, cost.changes.max(1), now);
        device.bytes.take(pushed_bytes, cost.bytes, now);
        device.stored.take(stored_bytes, cost.stored, now);
        if cost.stored > 0 {
            let tenant = used.tenants.entry(log.clone()).or_default();
            tenant.take(tenant_stored_bytes, cost.stored, now);
        }
    }

    /// A device hands in receipts. It may go into debt by one frame of them; what is put off costs it nothing.
    ///
    /// # Errors
    /// When its share is used up.
    pub fn try_take_receipts(&self, device: DeviceId, count: u64) -> Result<(), UsedUp> {
        let (now, rate) = (self.since.elapsed(), self.shares.receipts);
        let mut used = self.used();
        let receipts = &mut used.devices.entry(device).or_default().receipts;
        receipts.try_take(rate, count.max(1), now).then_some(()).ok_or(UsedUp)
    }

    /// The share of the device that takes longest to come back, when one is used up.
    pub fn rest(&self, device: DeviceId, log: &TenantId) -> Option<Rest> {
        let now = self.since.elapsed();
        let Shares { pushed_changes, pushed_bytes, stored_bytes, tenant_stored_bytes, .. } = self.shares;
        let used = self.used();
        let device = used.devices.get(&device)?;
        let tenant = used.tenants.get(log).map_or(Duration::ZERO, |tenant| {
            let is_heavy = device.stored.exceeds_part(stored_bytes, FAIR_PARTS, now);
            if is_heavy { tenant.wait(tenant_stored_bytes, now) } else { Duration::ZERO }
        });
        let waits = [
            ("pushed_changes", device.changes.wait(pushed_changes, now)),
            ("pushed_bytes", device.bytes.wait(pushed_bytes, now)),
            ("stored_bytes", device.stored.wait(stored_bytes, now)),
            ("tenant_stored_bytes", tenant),
        ];
        let (share, wait) = waits.into_iter().max_by_key(|(_, wait)| *wait)?;
        (!wait.is_zero()).then(|| Rest { until: Instant::now() + wait, share })
    }

    /// Forgets who has used nothing lately.
    pub fn trim(&self) {
        let now = self.since.elapsed();
        let mut used = self.used();
        used.devices.retain(|_, DeviceUse { changes, bytes, stored, receipts }| {
            [changes, bytes, stored, receipts].into_iter().any(|taken| !taken.is_whole(now))
        });
        used.tenants.retain(|_, taken| !taken.is_whole(now));
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use feldakte_core::rate::Rate;
    use uuid::Uuid;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const FEW: Shares = Shares {
        pushed_changes: Rate { amount: 100, every: HOUR },
        pushed_bytes: Rate { amount: 1_000, every: HOUR },
        stored_bytes: Rate { amount: 800, every: HOUR },
        tenant_stored_bytes: Rate { amount: 1_000, every: HOUR },
        receipts: Rate { amount: 100, every: HOUR },
        ..Shares::DEFAULT
    };
    const NOTHING: Cost = Cost { changes: 0, bytes: 0, stored: 0 };

    fn device(number: u128) -> DeviceId {
        DeviceId(Uuid::from_u128(number))
    }

    /// How many devices and tenants.
    fn known(quotas: &Quotas) -> (usize, usize) {
        let used = quotas.used();
        (used.devices.len(), used.tenants.len())
    }

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_used_up_a_share_rests_until_some_of_it_is_back() {
        let log = tenant("dortmund");
        for (cost, share) in [
            (Cost { changes: 101, ..NOTHING }, "pushed_changes"),
            (Cost { bytes: 1_001, ..NOTHING }, "pushed_bytes"),
            (Cost { stored: 801, ..NOTHING }, "stored_bytes"),
        ] {
            let quotas = Quotas::new(FEW);
            quotas.charge(device(1), &log, cost);
            let rest = quotas.rest(device(1), &log).unwrap();
            assert_eq!(rest.share, share);
            assert_eq!(quotas.rest(device(2), &log), None, "nobody else waits for it");
            quotas.trim();
            tokio::time::advance(rest.until - Instant::now()).await;
            assert_eq!(quotas.rest(device(1), &log), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn receipts_without_end_are_put_off_and_hold_up_nothing_else() {
        let (quotas, log) = (Quotas::new(FEW), tenant("dortmund"));
        assert_eq!(quotas.try_take_receipts(device(1), 99), Ok(()));
        assert_eq!(quotas.try_take_receipts(device(1), 0), Ok(()), "an empty frame counts too");
        assert_eq!(quotas.try_take_receipts(device(1), 1), Err(UsedUp));
        assert_eq!(quotas.rest(device(1), &log), None, "pushes go on");
        assert_eq!(quotas.try_take_receipts(device(2), 1), Ok(()));
        quotas.trim();
        assert_eq!(known(&quotas).0, 2);
        // What was put off was not taken.
        tokio::time::advance(HOUR / 100).await;
        assert_eq!(quotas.try_take_receipts(device(1), 1), Ok(()));
        tokio::time::advance(2 * HOUR).await;
        quotas.trim();
        assert_eq!(known(&quotas).0, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_floods_its_tenants_log_slows_itself_and_no_crew() {
        let (quotas, log) = (Quotas::new(FEW), tenant("dortmund"));
        let [heavy, heavier, crew] = [1, 2, 3].map(device);
        quotas.charge(crew, &log, Cost { stored: 90, ..NOTHING });
        for flooder in [heavy, heavier] {
            quotas.charge(flooder, &log, Cost { stored: 700, ..NOTHING });
            assert_eq!(quotas.rest(flooder, &log).is_some(), flooder == heavier, "its own share is not used up");
        }
        assert_eq!(quotas.rest(heavy, &log).map(|rest| rest.share), Some("tenant_stored_bytes"));
        assert_eq!(quotas.rest(heavy, &tenant("hamm")), None);
        assert_eq!(quotas.rest(crew, &log), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tablet_that_was_away_for_thirty_days_delivers_without_a_pause() {
        let (quotas, log) = (Quotas::new(Shares::DEFAULT), tenant("dortmund"));
        for _ in 0..5_000 {
            quotas.charge(device(1), &log, Cost { changes: 1, bytes: 18_000, stored: 18_100 });
            assert_eq!(quotas.rest(device(1), &log), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_used_nothing_lately_is_forgotten() {
        let (quotas, log) = (Quotas::new(FEW), tenant("dortmund"));
        quotas.charge(device(1), &log, Cost { changes: 1, bytes: 1, stored: 1 });
        quotas.trim();
        assert_eq!(known(&quotas), (1, 1));
        tokio::time::advance(HOUR).await;
        quotas.trim();
        assert_eq!(known(&quotas), (0, 0));
    }
}
