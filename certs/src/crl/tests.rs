use rcgen::{CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, SerialNumber};

use super::*;
use crate::{
    authority::CrlTerms,
    identity::serial_of,
    request::DeviceKey,
    testing::{DAY, World, crew, today},
};

fn terms(number: u64) -> CrlTerms {
    CrlTerms { number, validity: DAY, now: today() }
}

fn list(world: &World, number: u64, serials: &[&str]) -> String {
    let serials: Vec<String> = serials.iter().map(|serial| (*serial).to_owned()).collect();
    world.authority.issue_crl(&serials, terms(number)).unwrap().pem
}

fn read(world: &World, pem: &str) -> Result<Revocations, CrlError> {
    Revocations::from_pem(pem.as_bytes(), &[world.authority.certificate().clone()])
}

#[test]
fn a_revoked_certificate_is_told_from_others() {
    let (world, other) = (World::new(), World::named("another root"));
    let [lost, kept] = [world.device().certificate.der, world.device().certificate.der];
    let revocations = read(&world, &list(&world, 1, &[&serial_of(&lost).unwrap()])).unwrap();
    assert_eq!(revocations.standing(&lost), Standing::Revoked);
    assert_eq!(revocations.standing(&kept), Standing::Good);
    assert_eq!(revocations.standing(&other.device().certificate.der), Standing::Unknown);
    assert_eq!(revocations.standing(&CertificateDer::from(&b"x"[..])), Standing::Unknown);
    assert_eq!(revocations.len(), 1);
}

#[test]
fn a_list_is_stale_after_its_next_update() {
    let world = World::new();
    let revocations = read(&world, &list(&world, 1, &[])).unwrap();
    assert_eq!(revocations.next_update(), today() + DAY);
    assert!(!revocations.is_stale(today() + DAY));
    assert!(revocations.is_stale(today() + DAY + Duration::from_secs(1)));
}

#[test]
fn a_list_that_was_put_back_is_recognised() {
    let world = World::new();
    let [old, same, new] = [255, 255, 256].map(|number| read(&world, &list(&world, number, &[])).unwrap());
    assert!(old.is_older_than(&new));
    assert!(!new.is_older_than(&old) && !same.is_older_than(&old));
}

#[test]
fn a_forged_list_is_refused() {
    // The same name, another key.
    let (world, forger) = (World::new(), World::new());
    let refused = read(&world, &list(&forger, 1, &[]));
    assert_eq!(refused, Err(CrlError::List { number: 1, why: "is not signed by a device authority" }));
    let good = list(&world, 1, &["0a"]);
    assert!(read(&world, &good).is_ok());
    assert_eq!(read(&world, &good[..good.len() / 2]), Err(CrlError::Damaged));
    let no_list = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    assert!(matches!(read(&world, no_list), Err(CrlError::List { number: 1, .. })));
    let behind_a_good_one = good + no_list;
    assert!(matches!(read(&world, &behind_a_good_one), Err(CrlError::List { number: 2, .. })));
}

#[test]
fn a_list_of_a_part_of_the_certificates_is_refused() {
    let world = World::new();
    let point = CrlDistributionPoint { uris: vec!["http://example.org/crl".into()] };
    let partial = world.sign_crl(|params: &mut CertificateRevocationListParams| {
        params.crl_number = SerialNumber::from(1);
        params.issuing_distribution_point =
            Some(CrlIssuingDistributionPoint { distribution_point: point, scope: None });
    });
    assert!(matches!(read(&world, &partial), Err(CrlError::List { number: 1, .. })));
}

#[test]
fn an_authority_without_a_list_is_named_before_its_devices_are_shut_out() {
    let (world, other) = (World::new(), World::named("another root"));
    let authorities = [world.authority.certificate().clone(), other.authority.certificate().clone()];
    let both = list(&world, 1, &[]) + &list(&other, 1, &[]);
    assert!(Revocations::from_pem(both.as_bytes(), &authorities).is_ok());
    let one = Revocations::from_pem(list(&world, 1, &[]).as_bytes(), &authorities);
    assert_eq!(one, Err(CrlError::Uncovered { number: 2 }));
    assert_eq!(Revocations::from_pem(b"", &authorities), Err(CrlError::NoList));
}

#[test]
fn authorities_of_one_name_need_a_list_each() {
    let (old, new) = (World::new(), World::new());
    let authorities = [old.authority.certificate().clone(), new.authority.certificate().clone()];
    let lost = old.device().certificate.der;
    let of_old = list(&old, 1, &[&serial_of(&lost).unwrap()]);
    let one = Revocations::from_pem(of_old.as_bytes(), &authorities);
    assert_eq!(one, Err(CrlError::Uncovered { number: 2 }));
    let both = Revocations::from_pem((of_old + &list(&new, 1, &[])).as_bytes(), &authorities).unwrap();
    assert_eq!(both.standing(&lost), Standing::Revoked);
    assert_eq!(both.standing(&new.device().certificate.der), Standing::Good);
}

#[test]
fn what_a_revoked_intermediate_issued_falls_with_it_even_when_it_is_not_shown() {
    let world = World::new();
    let intermediate = world.intermediate("regional authority");
    let authorities = [world.authority.certificate().clone(), intermediate.certificate().clone()];
    let key = DeviceKey::generate().unwrap();
    let leaf = intermediate.sign_device(&key.csr_pem().unwrap(), &crew(), DAY, today()).unwrap().der;
    let serial = serial_of(intermediate.certificate()).unwrap();
    for (revoked, standing) in [(vec![], Standing::Good), (vec![serial], Standing::Revoked)] {
        let of_root = world.authority.issue_crl(&revoked, terms(1)).unwrap().pem;
        let of_intermediate = intermediate.issue_crl(&[], terms(1)).unwrap().pem;
        let lists = Revocations::from_pem((of_root.clone() + &of_intermediate).as_bytes(), &authorities).unwrap();
        assert_eq!(lists.standing(&leaf), standing);
        assert_eq!(lists.standing(&world.device().certificate.der), Standing::Good);
        // Of an intermediate that no list speaks for, nothing is known.
        let of_root = Revocations::from_pem(of_root.as_bytes(), &authorities[..1]).unwrap();
        assert_eq!(of_root.standing(&leaf), Standing::Unknown);
    }
}
