//! Changes that no honest writer writes, with checksums that are valid: each is refused with its reason, and the rest
//! of the push is durable.

use bytes::Bytes;
use feldakte_core::{
    access::Role,
    case,
    change::{
        Change,
        craft::{CHUNK_BUNDLE, CHUNK_COMPRESSED, CHUNK_DOCUMENT, Draft, HEADER_LEN, chunk, reseal},
    },
    ids::{ActorId, ChangeHash, DocumentId, Part},
    limits,
};
use feldakte_proto::{Reason, Refused};
use feldakte_tests::harness::{
    address::Transport,
    author::{Author, name_of},
    crew, device,
    local::Site,
    new_document,
    raw::{RawClient, Seen},
};

use super::bystander::Bystander;

/// What the attacker builds on: its own honest changes, and the victim's.
struct Ground {
    document: DocumentId,
    /// The attacker's actor and its last honest change.
    own: (ActorId, Change),
    victim: (ActorId, Change),
}

impl Ground {
    /// An honest next change of the attacker.
    fn next(&self) -> Draft {
        let (actor, last) = &self.own;
        Draft::new(*actor).at([last.hash], last.seq + 1, last.max_op() + 1).with_puts("x", 1)
    }

    /// A first change of an actor nobody has seen.
    fn fresh(&self, number: u8) -> Draft {
        let genesis = Change::parse(Author::genesis(self.document)).unwrap();
        Draft::new(ActorId([number; 16])).at([genesis.hash], 1, genesis.max_op() + 1).with_puts("x", 1)
    }

    fn attacks(&self) -> Vec<(&'static str, Bytes, Reason, u64)> {
        let (next, fresh) = (self.next(), self.fresh(0x51));
        let expected_op = next.start_op;
        let (victim, victims_last) = &self.victim;
        let honest = next.chunk();
        let mut flipped = honest.to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        let of = |chunk_type| chunk(chunk_type, &next.body());
        let cut = |bytes: &Bytes| reseal(&bytes[..bytes.len() - 1]);
        let victims_next = Draft::new(*victim)
            .at([victims_last.hash], victims_last.seq + 1, victims_last.max_op() + 1)
            .with_puts("x", 1);
        vec![
            ("empty bytes", Bytes::new(), Reason::Malformed, 0),
            ("no chunk at all", Bytes::from_static(b"no chunk at all"), Reason::Malformed, 0),
            ("only the beginning", honest.slice(..HEADER_LEN), Reason::Malformed, 0),
            ("cut short, and sealed again", cut(&honest), Reason::Malformed, 0),
            ("one bit flipped", flipped.into(), Reason::Checksum, 0),
            ("too many bytes", vec![0; limits::CHANGE_LEN_MAX + 1].into(), Reason::TooLarge, 0),
            ("a compressed change", of(CHUNK_COMPRESSED), Reason::Compressed, 0),
            ("a document", of(CHUNK_DOCUMENT), Reason::Compressed, 0),
            ("a bundle", of(CHUNK_BUNDLE), Reason::Compressed, 0),
            ("four million operations", self.next().with_puts("x", 4_000_000).chunk(), Reason::TooManyOperations, 0),
            (
                "counters near 2^32",
                Draft { start_op: u64::from(u32::MAX) - 1, ..self.next() }.chunk(),
                Reason::CounterRange,
                0,
            ),
            ("the victim's next change", victims_next.chunk(), Reason::ForeignActor, 0),
            ("under the genesis actor", Draft { actor: vec![0; 16], ..self.fresh(1) }.chunk(), Reason::ForeignActor, 0),
            ("a gap", Draft { seq: next.seq + 5, ..self.next() }.chunk(), Reason::SequenceGap, next.seq),
            ("an actor that begins late", Draft { seq: 2, ..fresh.clone() }.chunk(), Reason::SequenceGap, 1),
            ("a number twice", Draft { seq: next.seq - 1, ..self.next() }.chunk(), Reason::SequenceReused, next.seq),
            (
                "an unknown dependency",
                Draft { deps: vec![ChangeHash([7; 32])], ..self.next() }.chunk(),
                Reason::UnknownDependency,
                0,
            ),
            (
                "an actor nobody has seen",
                Draft { others: vec![vec![9; 16]], ..self.next() }.chunk(),
                Reason::UnknownDependency,
                0,
            ),
            ("operations too early", Draft { start_op: 1, ..self.next() }.chunk(), Reason::StartOp, expected_op),
            (
                "operations too late",
                Draft { start_op: expected_op + 1_000, ..self.next() }.chunk(),
                Reason::StartOp,
                expected_op,
            ),
            ("a second beginning", fresh.clone().at([], 1, 1).chunk(), Reason::NotGenesis, 0),
            ("another part's beginning", case::genesis(Part::Identity).bytes.clone(), Reason::NotGenesis, 0),
            (
                "aside of its own history",
                Draft { deps: vec![victims_last.hash], start_op: victims_last.max_op() + 1, ..self.next() }.chunk(),
                Reason::Malformed,
                0,
            ),
        ]
    }
}

async fn each_crafted_change_is_refused_with_its_reason_and_the_rest_is_durable(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let bystander = Bystander::start(&site, gateway.address).await;
    let [attacker, victim, reader] = [(); 3].map(|()| site.pki.enrol(&crew("rtw-1")));
    let (mut client, _) = RawClient::session(&attacker, gateway.address, None).await;
    let (mut victims_client, _) = RawClient::session(&victim, gateway.address, None).await;
    let (mut reader, _) = RawClient::session(&reader, gateway.address, None).await;
    let document = new_document();
    let mut honest = Author::new(&attacker.principal, document);
    let mut theirs = Author::new(&victim.principal, document);
    let begun = honest.begin(2);
    // More operations than the attacker has, so that its history can be left behind.
    let victims: Vec<Bytes> = theirs.begin(4);
    assert_eq!(client.push_and_wait(document, begun.clone()).await.refused, []);
    assert_eq!(victims_client.push_and_wait(document, victims.clone()).await.refused, []);
    let last = |changes: &[Bytes]| Change::parse(changes.last().unwrap().clone()).unwrap();
    let ground = Ground { document, own: (honest.actor, last(&begun)), victim: (theirs.actor, last(&victims)) };

    let attacks = ground.attacks();
    // Before, between and after them stands something honest; one stands on something refused.
    let first_of = |number| Author::under(ActorId([number; 16]), document).set("gcs", "3").bytes;
    let good = [first_of(0xa1), first_of(0xa2), honest.set("gcs", "neu").bytes];
    let on_refused = ground.fresh(0xa3).at([name_of(&ground.fresh(0x52).at([], 1, 1).chunk())], 1, 2).chunk();
    let mut push = vec![good[0].clone()];
    push.extend(attacks.iter().map(|(_, bytes, ..)| bytes.clone()));
    push.insert(attacks.len() / 2, good[1].clone());
    push.push(ground.fresh(0x52).at([], 1, 1).chunk());
    push.push(on_refused);
    push.push(good[2].clone());
    let durable = client.push_and_wait(document, push.clone()).await;

    let mut expected: Vec<Refused> = Vec::new();
    for (what, bytes, reason, expects) in &attacks {
        let index = push.iter().position(|pushed| pushed == bytes).unwrap();
        let refused = Refused { index: index as u32, reason: *reason, expected: *expects };
        let found = durable.refused.iter().find(|refused| refused.index as usize == index);
        assert_eq!(found, Some(&refused), "{what}");
        expected.push(refused);
    }
    let (second_root, on_it) = (push.len() - 3, push.len() - 2);
    expected.push(Refused { index: second_root as u32, reason: Reason::NotGenesis, expected: 0 });
    expected.push(Refused { index: on_it as u32, reason: Reason::DependencyRefused, expected: 0 });
    expected.sort_unstable_by_key(|refused| refused.index);
    assert_eq!(durable.refused, expected, "and nothing else");

    let mut seen = Seen::default();
    let named = good.each_ref().map(name_of);
    reader.read_until(&mut seen, |seen| seen.changes().contains(&named[2])).await;
    let (_, entry) = seen.entries.iter().find(|(at, _)| *at == durable.position.0).unwrap();
    assert_eq!(entry.changes, good, "readers get what is honest, in order");
    // The victim goes on as if nothing had been.
    let next = theirs.set("gcs", "weiter").bytes;
    assert_eq!(victims_client.push_and_wait(document, vec![next]).await.refused, []);
    // And everything that was taken can be loaded by whoever comes later.
    let metrics = gateway.metrics();
    let snapshot = reader.fetch(&[document]).await.snapshots.remove(0);
    feldakte_core::crdt::Document::load(&snapshot.chunks, ActorId([1; 16])).unwrap();
    assert_eq!(metrics.changes_quarantined.get(), 0);
    bystander.unharmed().await;
}

async fn who_has_no_grant_writes_nothing_whatever_the_tenant_or_role(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let crew_device = site.pki.enrol(&crew("rtw-1"));
    let (mut client, _) = RawClient::session(&crew_device, gateway.address, None).await;
    let mut author = Author::new(&crew_device.principal, new_document());
    let begun = author.begin(1);
    assert_eq!(client.push_and_wait(author.document, begun.clone()).await.refused, []);
    let strangers = [
        device("dortmund", "rtw-2", Role::AmbulanceCrew),
        device("hagen", "rtw-1", Role::AmbulanceCrew),
        device("dortmund", "tna-1", Role::TelePhysician),
    ];
    for principal in strangers {
        let stranger = site.pki.enrol(&principal);
        let (mut client, welcome) = RawClient::session(&stranger, gateway.address, None).await;
        let last = Change::parse(begun[1].clone()).unwrap();
        let attack = Draft::new(ActorId([5; 16])).at([last.hash], 1, last.max_op() + 1).with_puts("x", 1).chunk();
        let durable = client.push_and_wait(author.document, vec![attack, begun[0].clone()]).await;
        let reasons: Vec<_> = durable.refused.iter().map(|refused| (refused.index, refused.reason)).collect();
        assert_eq!(reasons, [(0, Reason::NotPermitted), (1, Reason::NotPermitted)], "{principal:?}");
        assert_eq!(durable.position, welcome.head);
    }
    // A role that opens no cases opens none.
    let desk = site.pki.enrol(&device("dortmund", "tna-1", Role::TelePhysician));
    let (mut client, _) = RawClient::session(&desk, gateway.address, None).await;
    let document = new_document();
    let durable = client.push_and_wait(document, vec![Author::genesis(document)]).await;
    assert_eq!(durable.refused, [Refused { index: 0, reason: Reason::NotPermitted, expected: 0 }]);
}

/// The first change of an actor of that number.
fn first_of(document: DocumentId, number: usize) -> Bytes {
    let mut actor = [1; 16];
    actor[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    Author::under(ActorId(actor), document).set("gcs", "3").bytes
}

async fn somebody_is_told_once_of_a_document_with_many_actors(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let device = site.pki.enrol(&crew("rtw-1"));
    let (mut client, _) = RawClient::session(&device, gateway.address, None).await;
    let document = new_document();
    client.push_and_wait(document, vec![Author::genesis(document)]).await;
    let fewer: Vec<Bytes> = (1..limits::ACTORS_ALARM).map(|number| first_of(document, number)).collect();
    assert_eq!(client.push_and_wait(document, fewer).await.refused, []);
    assert_eq!(gateway.metrics().documents_crowded.get(), 0);
    // The last of them arrives, once more, and is followed by others.
    for number in [0, 0, limits::ACTORS_ALARM, limits::ACTORS_ALARM + 1] {
        assert_eq!(client.push_and_wait(document, vec![first_of(document, number)]).await.refused, []);
        assert_eq!(gateway.metrics().documents_crowded.get(), 1);
    }
    gateway.stop().await;

    let gateway = site.start().await;
    let (mut client, _) = RawClient::session(&device, gateway.address, None).await;
    client.push_and_wait(document, vec![first_of(document, limits::ACTORS_ALARM + 2)]).await;
    assert_eq!(gateway.metrics().documents_crowded.get(), 0, "an old crowd is not reported again");
}

async fn a_document_takes_no_more_actors_than_allowed(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let attacker = site.pki.enrol(&crew("rtw-1"));
    let (mut client, _) = RawClient::session(&attacker, gateway.address, None).await;
    let document = new_document();
    client.push_and_wait(document, vec![Author::genesis(document)]).await;
    let all: Vec<Bytes> = (0..limits::ACTORS_MAX).map(|number| first_of(document, number)).collect();
    assert_eq!(client.push_and_wait(document, all).await.refused, []);
    let durable = client.push_and_wait(document, vec![first_of(document, limits::ACTORS_MAX)]).await;
    assert_eq!(durable.refused, [Refused { index: 0, reason: Reason::TooManyActors, expected: 0 }]);
}

feldakte_tests::over_both!(
    each_crafted_change_is_refused_with_its_reason_and_the_rest_is_durable,
    who_has_no_grant_writes_nothing_whatever_the_tenant_or_role,
    somebody_is_told_once_of_a_document_with_many_actors,
    a_document_takes_no_more_actors_than_allowed,
);
