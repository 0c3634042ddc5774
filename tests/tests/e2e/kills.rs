//! kill -9 at random moments, of the gateway and of a tablet: nothing that was told is lost.
//!
//! A fair sample by default; `FELDAKTE_KILLS=200` for the whole proof.

use std::{
    collections::BTreeMap,
    env,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use feldakte_core::{access::Role, ids::DocumentId, limits};
use feldakte_proto::ServerMessage;
use feldakte_tests::harness::{
    address::{Address, Transport},
    author::Author,
    crew, device,
    local::Site,
    new_document,
    pki::Enrolled,
    raw::RawClient,
    tablet::Tablet,
    until, within,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::watch;

mod tablet;

/// How many times somebody dies.
fn kills() -> usize {
    env::var("FELDAKTE_KILLS").map_or(20, |text| text.parse().expect("FELDAKTE_KILLS is a number"))
}

/// The moments differ from run to run; a failure names its seed and FELDAKTE_KILL_SEED repeats them.
fn moments() -> StdRng {
    let seed = env::var("FELDAKTE_KILL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("FELDAKTE_KILL_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Changes by document, in the order in which they were told.
type Told = BTreeMap<DocumentId, Vec<Bytes>>;

/// A device that pushes as fast as it is answered, and remembers what it was told.
struct Writer {
    device: Enrolled,
    author: Author,
    /// Made and not told durable, oldest first.
    unsent: Vec<Bytes>,
    /// Told durable since the last kill.
    recent: Told,
    /// Told durable before.
    told: Told,
}

const WRITERS: usize = 4;
/// Pushes in flight, so that a kill finds batches of several in every stage.
const WINDOW: usize = 8;
const CHANGES_PER_DOCUMENT: usize = 60;

async fn a_killed_gateway_loses_nothing_that_was_told_durable(over: Transport) {
    let site = Arc::new(Site::over(over));
    let mut rng = moments();
    let mut writers: Vec<Writer> = (0..WRITERS).map(|_| Writer::new(site.pki.enrol(&crew("rtw-1")))).collect();
    // Another tenant's log, so that the writers' log stands still while it is examined.
    let tablet_device = || site.pki.enrol(&device("hagen", "rtw-1", Role::AmbulanceCrew));
    let tablets = [(); 3].map(|()| tablet_device());
    let mut gateway = site.spawn().await;
    let [a, b] =
        [Tablet::online(&tablets[0], gateway.address).await, Tablet::online(&tablets[1], gateway.address).await];
    let case = a.create("läuft durch").await;
    for kill in 0..kills() {
        let answered = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = watch::channel(false);
        let address = gateway.address;
        let running: Vec<_> = writers
            .drain(..)
            .map(|writer| tokio::spawn(writer.run(address, answered.clone(), stopped.clone())))
            .collect();
        a.set(case, "a", &kill.to_string()).await;
        b.until("b has the case", async |client| client.read(case).await.is_ok()).await;
        b.set(case, "b", &kill.to_string()).await;
        let enough = rng.random_range(1..200);
        until("the load is on", || answered.load(Ordering::Relaxed) >= enough).await;
        // The moment itself: anywhere between two commits, not always right after an answer.
        tokio::time::sleep(Duration::from_micros(rng.random_range(0..15_000))).await;
        gateway.kill().await;
        stop.send_replace(true);
        for writer in running {
            writers.push(within("the writer notices", writer).await.unwrap());
        }
        gateway = site.spawn().await;
        for writer in &mut writers {
            let recent = std::mem::take(&mut writer.recent);
            writer.prove_all_is_there(gateway.address, &recent).await;
            recent.into_iter().for_each(|(document, changes)| writer.told.entry(document).or_default().extend(changes));
        }
    }
    for writer in &writers {
        writer.prove_all_is_there(gateway.address, &writer.told).await;
    }
    let told: usize = writers.iter().flat_map(|writer| writer.told.values()).map(Vec::len).sum();
    println!("{told} changes told durable over {} kills of the gateway, 0 missing", kills());
    assert!(told > kills() * WRITERS, "the load was no load");
    a.wait_all_safe().await;
    b.wait_all_safe().await;
    b.wait_equal(&a, case).await;
    let late = Tablet::online(&tablets[2], gateway.address).await;
    late.wait_equal(&a, case).await;
    assert_eq!(a.told_saved(), a.told_durable());
    assert_eq!(b.told_saved(), b.told_durable());
}

impl Writer {
    fn new(device: Enrolled) -> Self {
        let author = Author::new(&device.principal, new_document());
        let unsent = vec![Author::genesis(author.document)];
        Self { device, author, unsent, recent: Told::new(), told: Told::new() }
    }

    /// Pushes until the gateway is gone.
    async fn run(mut self, gateway: Address, answered: Arc<AtomicUsize>, mut stop: watch::Receiver<bool>) -> Self {
        let dialled = tokio::select! {
            biased;
            dialled = RawClient::try_session(self.device.dial(), gateway, None) => dialled,
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let Some((mut client, _)) = dialled else { return self };
        // What was not answered is unknown, and pushed again.
        let mut in_flight: BTreeMap<u64, Vec<Bytes>> = BTreeMap::new();
        if !self.unsent.is_empty() {
            let again = std::mem::take(&mut self.unsent);
            in_flight.insert(client.push(self.author.document, again.clone()).await, again);
        }
        loop {
            while in_flight.len() < WINDOW && self.author.made < CHANGES_PER_DOCUMENT {
                let change = vec![self.author.set("gcs", &self.author.made.to_string()).bytes];
                in_flight.insert(client.push(self.author.document, change.clone()).await, change);
            }
            let next = tokio::select! {
                biased;
                next = client.next() => next,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match next {
                Ok(ServerMessage::Durable(durable)) => {
                    assert_eq!(durable.refused, []);
                    let changes = in_flight.remove(&durable.push).expect("a push of this session");
                    self.recent.entry(self.author.document).or_default().extend(changes);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(_) => break,
            }
            if in_flight.is_empty() && self.author.made >= CHANGES_PER_DOCUMENT {
                self.author = Author::new(&self.device.principal, new_document());
                let genesis = vec![Author::genesis(self.author.document)];
                in_flight.insert(client.push(self.author.document, genesis.clone()).await, genesis);
            }
        }
        self.unsent = in_flight.into_values().flatten().collect();
        self
    }

    /// Pushes what it was told durable once more: a gateway that has it all neither refuses nor writes.
    async fn prove_all_is_there(&self, gateway: Address, told: &Told) {
        let (mut client, welcome) = RawClient::session(&self.device, gateway, None).await;
        for (document, changes) in told {
            for changes in changes.chunks(limits::PUSH_CHANGES_MAX) {
                let durable = client.push_and_wait(*document, changes.to_vec()).await;
                assert_eq!(durable.refused, []);
                assert_eq!(durable.position, welcome.head, "nothing of it was new");
            }
        }
        let (_, after) = RawClient::session(&self.device, gateway, None).await;
        assert_eq!(after.head, welcome.head, "the log has not moved");
    }
}

feldakte_tests::over_both!(a_killed_gateway_loses_nothing_that_was_told_durable,);
