use feldakte_core::limits;
use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000_000;
const LIFETIME: i64 = 1000;

fn device(tenant: &str) -> Principal {
    Principal {
        tenant: tenant.parse().unwrap(),
        unit: "rtw-1".parse().unwrap(),
        device: DeviceId::from_slice(&[3; 16]).unwrap(),
        role: Role::AmbulanceCrew,
        user: None,
    }
}

fn bearer() -> Bearer {
    Bearer { user: UserId::from_slice(&[4; 16]).unwrap(), role: Role::EmergencyPhysician, voucher: Voucher::Issuer }
}

fn tickets(keys: &[u8]) -> Tickets {
    Tickets::new(&keys.iter().map(|key| [*key; KEY_LEN]).collect::<Vec<_>>(), LIFETIME)
}

#[test]
fn a_forged_ticket_is_refused_whichever_bit_was_changed() {
    let (tickets, device) = (tickets(&[1]), device("dortmund"));
    let good = tickets.give(&device, bearer(), NOW).to_vec();
    assert!(tickets.check(&good, &device, NOW).is_ok());
    for bit in 0..8 * good.len() {
        let mut forged = good.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(tickets.check(&forged, &device, NOW), Err(Refusal::TicketForged), "bit {bit}");
    }
    for len in 0..good.len() {
        assert_eq!(tickets.check(&good[..len], &device, NOW), Err(Refusal::TicketForged), "{len} bytes");
    }
    let unsigned = [good.as_slice(), &[0; 32]].concat();
    assert_eq!(tickets.check(&unsigned, &device, NOW), Err(Refusal::TicketForged));
}

#[test]
fn a_ticket_ends_to_the_millisecond() {
    let (tickets, device) = (tickets(&[1]), device("dortmund"));
    let ticket = tickets.give(&device, bearer(), NOW);
    assert!(tickets.check(&ticket, &device, NOW + LIFETIME - 1).is_ok());
    assert_eq!(tickets.check(&ticket, &device, NOW + LIFETIME), Err(Refusal::Expired));
}

#[test]
fn a_rotated_key_is_believed_until_it_is_taken_away() {
    let device = device("dortmund");
    let old = tickets(&[1]).give(&device, bearer(), NOW);
    let rotated = tickets(&[2, 1]);
    assert!(rotated.check(&old, &device, NOW).is_ok());
    assert!(tickets(&[2]).check(&rotated.give(&device, bearer(), NOW), &device, NOW).is_ok(), "the first signs");
    assert_eq!(tickets(&[2]).check(&old, &device, NOW), Err(Refusal::TicketForged));
}

#[test]
fn the_longest_ticket_fits_its_limit() {
    let ticket = tickets(&[1]).give(&device(&"x".repeat(63)), bearer(), NOW);
    assert!(ticket.len() <= limits::TICKET_LEN_MAX, "{}", ticket.len());
}

// Golden: devices keep them for months.
#[test]
fn the_layout_of_version_1_is_for_ever() {
    let ticket = tickets(&[1]).give(&device("do"), bearer(), NOW);
    let expected =
        [&[1, 2][..], b"do", &[3; 16], &[4; 16], &[3, 1], &NOW.to_be_bytes(), &(NOW + LIFETIME).to_be_bytes()];
    assert_eq!(ticket[..ticket.len() - TAG_LEN], expected.concat());
}

proptest! {
    #[test]
    fn tickets_round_trip_and_nothing_else_is_one(role in 0..Role::ALL.len(), issued_ms: i64, expires_ms: i64, junk: Vec<u8>) {
        let Bearer { user, voucher, .. } = bearer();
        let Principal { tenant, device, .. } = device("dortmund");
        let ticket = Ticket { tenant, device, user, role: Role::ALL[role], voucher, issued_ms, expires_ms };
        prop_assert_eq!(Ticket::decode(&ticket.encode()), Some(ticket.clone()));
        let longer = [ticket.encode(), vec![0]].concat();
        prop_assert_eq!(Ticket::decode(&longer), None);
        prop_assert_eq!(Ticket::decode(&junk), None);
    }
}
