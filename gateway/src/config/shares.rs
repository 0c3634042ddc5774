//! `[limits]`: what an address, a device and a tenant may use. Reasons for the defaults stand in `feldakte_core::limits`.

use std::num::{NonZeroU32, NonZeroU64};

use feldakte_core::{limits::Shares, rate::Rate};
use serde::Deserialize;

/// As it stands in the file. Nothing can be 0: nobody would be served.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawShares {
    connections_per_address: Option<NonZeroU32>,
    handshakes_per_address_per_minute: Option<NonZeroU64>,
    pushed_changes_per_hour: Option<NonZeroU64>,
    pushed_bytes_per_hour: Option<NonZeroU64>,
    stored_bytes_per_day: Option<NonZeroU64>,
    tenant_stored_bytes_per_day: Option<NonZeroU64>,
    receipts_per_day: Option<NonZeroU64>,
}

impl From<RawShares> for Shares {
    fn from(raw: RawShares) -> Self {
        let RawShares {
            connections_per_address,
            handshakes_per_address_per_minute,
            pushed_changes_per_hour,
            pushed_bytes_per_hour,
            stored_bytes_per_day,
            tenant_stored_bytes_per_day,
            receipts_per_day,
        } = raw;
        let default = Shares::DEFAULT;
        Shares {
            connections_per_address: connections_per_address.map_or(default.connections_per_address, NonZeroU32::get),
            handshakes_per_address: with(default.handshakes_per_address, handshakes_per_address_per_minute),
            pushed_changes: with(default.pushed_changes, pushed_changes_per_hour),
            pushed_bytes: with(default.pushed_bytes, pushed_bytes_per_hour),
            stored_bytes: with(default.stored_bytes, stored_bytes_per_day),
            tenant_stored_bytes: with(default.tenant_stored_bytes, tenant_stored_bytes_per_day),
            receipts: with(default.receipts, receipts_per_day),
        }
    }
}

fn with(default: Rate, amount: Option<NonZeroU64>) -> Rate {
    Rate { amount: amount.map_or(default.amount, NonZeroU64::get), ..default }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_names_say_over_which_time_each_amount_comes_back() {
        let Shares { handshakes_per_address, pushed_changes, pushed_bytes, stored_bytes, tenant_stored_bytes, .. } =
            Shares::DEFAULT;
        assert_eq!(handshakes_per_address.every, Duration::from_secs(60));
        assert_eq!([pushed_changes, pushed_bytes].map(|rate| rate.every), [Duration::from_secs(3_600); 2]);
        assert_eq!([stored_bytes, tenant_stored_bytes].map(|rate| rate.every), [Duration::from_secs(86_400); 2]);
    }

    #[test]
    fn what_is_set_is_taken_and_the_rest_is_as_it_was() {
        let raw: RawShares = toml::from_str("pushed_changes_per_hour = 7").expect("valid");
        let shares = Shares::from(raw);
        assert_eq!(shares.pushed_changes.amount, 7);
        assert_eq!(Shares { pushed_changes: Shares::DEFAULT.pushed_changes, ..shares }, Shares::DEFAULT);
        assert!(toml::from_str::<RawShares>("connections_per_address = 0").is_err());
    }
}
