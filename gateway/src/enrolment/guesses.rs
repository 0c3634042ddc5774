//! Who has presented codes in vain: so many per address and so many in all, then nobody looks at more for a while.
//!
//! A place is taken before the code is looked at and given back when it was good: asking many times at once gains nothing.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use feldakte_core::limits;

/// All addresses that have presented codes in vain lately.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    all: Window,
    addresses: HashMap<IpAddr, Window>,
}

/// Counts from a first guess on, for [`limits::ENROLMENT_GUESSES_EVERY`].
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    began: Duration,
    count: u32,
}

/// A guess that counts unless it was good.
#[derive(Debug)]
pub(super) struct Guess {
    guesses: Arc<Guesses>,
    address: IpAddr,
}

impl Guesses {
    /// One more code from that address. `now` is since any fixed moment.
    ///
    /// # Errors
    /// How long to wait when there were too many.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, now: Duration) -> Result<Guess, Duration> {
        let address = network_of(address);
        let mut table = self.table();
        table.all.wait(limits::ENROLMENT_GUESSES_MAX, now)?;
        if !table.addresses.contains_key(&address) && table.addresses.len() >= limits::ENROLMENT_ADDRESSES_MAX {
            table.addresses.retain(|_, window| !window.is_over(now));
        }
        if table.addresses.len() < limits::ENROLMENT_ADDRESSES_MAX || table.addresses.contains_key(&address) {
            let window = table.addresses.entry(address).or_default();
            window.wait(limits::ENROLMENT_GUESSES_PER_ADDRESS, now)?;
            window.count(now);
        }
        table.all.count(now);
        Ok(Guess { guesses: self.clone(), address })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guess {
    /// It was no guess.
    pub(super) fn was_good(self) {
        let mut table = self.guesses.table();
        table.all.give_back();
        if let Some(window) = table.addresses.get_mut(&self.address) {
            window.give_back();
        }
    }
}

impl Window {
    fn is_over(&self, now: Duration) -> bool {
        self.count == 0 || now >= self.began + limits::ENROLMENT_GUESSES_EVERY
    }

    fn wait(&self, max: u32, now: Duration) -> Result<(), Duration> {
        match self.is_over(now) || self.count < max {
            true => Ok(()),
            false => Err(self.began + limits::ENROLMENT_GUESSES_EVERY - now),
        }
    }

    fn count(&mut self, now: Duration) {
        if self.is_over(now) {
            *self = Self { began: now, count: 0 };
        }
        self.count += 1;
    }

    fn give_back(&mut self) {
        self.count = self.count.saturating_sub(1);
    }
}

/// One host has as many IPv6 addresses as it likes: its network of 64 bits counts.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exhaust(guesses: &Arc<Guesses>, address: &str) {
        let address = address.parse().expect("an address");
        while guesses.take(address, Duration::ZERO).is_ok() {}
    }

    #[test]
    fn guessed_codes_are_refused_after_a_while_whatever_the_host_calls_itself() {
        let guesses = Arc::<Guesses>::default();
        exhaust(&guesses, "2001:db8::1");
        let [same, other]: [IpAddr; 2] = ["2001:db8::2", "2001:db8:0:1::1"].map(|text| text.parse().expect("address"));
        assert_eq!(guesses.take(same, Duration::ZERO).err(), Some(limits::ENROLMENT_GUESSES_EVERY));
        assert!(guesses.take(other, Duration::ZERO).is_ok());
        assert!(guesses.take(same, limits::ENROLMENT_GUESSES_EVERY).is_ok());
        exhaust(&guesses, "192.0.2.1");
        assert!(guesses.take("::ffff:192.0.2.1".parse().expect("an address"), Duration::ZERO).is_err());
    }

    #[test]
    fn good_codes_do_not_count() {
        let guesses = Arc::<Guesses>::default();
        let address = "192.0.2.1".parse().expect("an address");
        for _ in 0..10 * limits::ENROLMENT_GUESSES_PER_ADDRESS {
            guesses.take(address, Duration::ZERO).expect("room").was_good();
        }
    }

    #[test]
    fn guesses_from_everywhere_are_bounded_and_so_is_what_is_known_of_them() {
        let guesses = Arc::<Guesses>::default();
        let mut taken = 0;
        for address in 0..2 * limits::ENROLMENT_GUESSES_MAX {
            taken += u32::from(guesses.take(IpAddr::from(address.to_be_bytes()), Duration::ZERO).is_ok());
        }
        assert_eq!(taken, limits::ENROLMENT_GUESSES_MAX);
        assert!(guesses.table().addresses.len() <= limits::ENROLMENT_ADDRESSES_MAX);
    }
}
