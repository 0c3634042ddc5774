//! Every limit of the product in one file, each with its reason.
//!
//! Sizes are bytes, counts are items. A limit that a peer can reach has a typed refusal or a close code.

use std::time::Duration;

use crate::rate::Rate;

/// One frame on the session stream. A batch of changes fits many times; a peer that announces more is closed.
pub const FRAME_LEN_MAX: usize = 1 << 20;

/// The first frame of a session, before the peer has said who it is: version list, cursor, and who uses the device. An
/// access token of a city's identity provider with many groups has some kilobytes.
pub const HELLO_LEN_MAX: usize = 24 << 10;

/// An access token.
pub const TOKEN_LEN_MAX: usize = 8 << 10;

/// How far the clocks of a token's issuer and a gateway may be apart.
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(60);

/// An issuer's set of keys. Providers that add certificates to each of a dozen keys have some tens of kilobytes.
pub const JWKS_LEN_MAX: usize = 256 << 10;

/// Keys in it: those in use, those to come and those gone, of several algorithms.
pub const JWKS_KEYS_MAX: usize = 64;

/// Fetching it: a provider that is slower is down.
pub const JWKS_WITHIN: Duration = Duration::from_secs(5);

/// When it is fetched again while all is well. Issuers announce a key some hours before they sign with it.
pub const JWKS_REFRESH_EVERY: Duration = Duration::from_secs(600);

/// When it is fetched again after a failure, or for a token with an unknown key: tokens with made-up key ids must not
/// become requests.
pub const JWKS_ASK_AGAIN: Duration = Duration::from_secs(60);

/// What the gateway gives a device so that it may deliver a user's work later.
pub const TICKET_LEN_MAX: usize = 256;

/// Users whose work a device delivers in one session besides that of the one who uses it: the shifts of some days, each
/// with a ticket of at most [`TICKET_LEN_MAX`].
pub const DELIVERS_MAX: usize = 32;

/// What somebody writes to the supervisor about an emergency access.
pub const BREAK_GLASS_TEXT_MAX: usize = 2 << 10;

/// How long an emergency access lasts (DOMAIN: 60 minutes), in milliseconds.
pub const BREAK_GLASS_MS: i64 = 60 * 60 * 1000;

/// Emergency accesses of one device within an hour: more than any shift has emergencies, few enough to review.
pub const BREAK_GLASS_PER_HOUR: usize = 12;

/// Emergency accesses without network that the gateway has not been told of: more than anybody has before he meets a network
/// again, and few enough to tell them all in one frame.
pub const OPENED_UNTOLD_MAX: usize = 4 * BREAK_GLASS_PER_HOUR;

/// Sign-ins on a device, and attempts, that the gateway has not been told of: a month of shifts without a network. Whoever
/// makes more leaves so many traces.
pub const LOGINS_UNTOLD_MAX: usize = 4 * RECEIPTS_MAX;

/// Grants that one device gives or ends within an hour.
pub const SHARES_PER_HOUR: usize = 600;

/// Late work that a supervisor is shown at once, about: a report with its narrative fits many times. What is beyond it is
/// counted.
pub const EVIDENCE_SHOWN: usize = 256 << 10;

/// Code points of one text in it: what nobody can read on a screen is cut, and said so.
pub const EVIDENCE_TEXT_SHOWN: usize = 4096;

/// Things that one change does, and fields of one of them.
pub const EVIDENCE_DEEDS_SHOWN: usize = 200;

/// Receipts of one kind in one frame; a device sends the next ones when these are answered.
pub const RECEIPTS_MAX: usize = 512;

/// A certificate chain, roots or a signing request in PEM form on the session.
pub const PEM_LEN_MAX: usize = 64 << 10;

/// One frame on a snapshot stream: a bundle of small documents, or one large one.
pub const BUNDLE_LEN_MAX: usize = 20 << 20;

/// A bundle of snapshots after decompression. Documents are added to a bundle until it reaches
/// [`BUNDLE_TARGET`]; a single larger document travels alone. Case size with history is 50–200 KB (DOMAIN).
pub const BUNDLE_RAW_MAX: usize = 64 << 20;

/// Where a bundle is cut: large enough that documents share a dictionary, small enough to be progress.
pub const BUNDLE_TARGET: usize = 256 << 10;

/// One automerge change. A splice of a long text is the largest honest one; photos are blobs, not changes.
pub const CHANGE_LEN_MAX: usize = 256 << 10;

/// Operations in one change. An honest form save has tens; a 113-byte change can claim four million.
pub const CHANGE_OPS_MAX: u32 = 20_000;

/// Bytes that run-length encoding inside one change may stand for when it is unrolled (keys of a run).
pub const CHANGE_UNROLLED_MAX: u64 = 4 << 20;

/// Dependencies of one change: concurrent heads of one document.
pub const CHANGE_DEPS_MAX: usize = 256;

/// Bytes of all changes of one document. A case with its history is 50–200 KB (DOMAIN); a document at this limit still
/// fits into one frame of a snapshot stream, whatever is in it.
pub const DOCUMENT_LEN_MAX: usize = 16 << 20;

/// Message text in a change; we write none.
pub const CHANGE_MESSAGE_MAX: usize = 256;

/// One block of vitals. A minute of six channels is about 150 bytes; a block at this limit is still a small part
/// of a change, and holds a quarter of an hour of channels that all move every second.
pub const VITALS_BLOCK_LEN_MAX: usize = 8 << 10;

/// Channels of one block of vitals. A patient monitor shows about ten numbers, one in intensive care twenty.
pub const VITALS_CHANNELS_MAX: usize = 32;

/// Samples of one channel in one block of vitals: an hour at 1 Hz. With [`VITALS_CHANNELS_MAX`] it bounds what a few
/// hostile bytes can unpack to, about 1 MB.
pub const VITALS_SAMPLES_MAX: usize = 3600;

/// A code or a unit of a channel of vitals. LOINC codes have up to 8 characters, IEEE 11073 names about 30.
pub const VITALS_NAME_LEN_MAX: usize = 48;

/// Decimal digits after the point of a vitals sample; lactate, pH and temperature need one to three.
pub const VITALS_SCALE_MAX: u8 = 4;

/// Operation counters stay below this: near 2^32 every later edit of the document would panic.
pub const OP_COUNTER_MAX: u64 = 1 << 31;

/// Actors in one document from which somebody should look why: one per device, user and store epoch is normal.
pub const ACTORS_ALARM: usize = 64;

/// Actors in one document; one more is refused.
pub const ACTORS_MAX: usize = 512;

/// Changes in one push frame.
pub const PUSH_CHANGES_MAX: usize = 512;

/// Quarantine marks in one entry of the log: at about 40 bytes each an entry stays a small part of a frame, however many
/// changes stand on the one that nobody can apply.
pub const ENTRY_MARKS_MAX: usize = 512;

/// Pushes on a session's own lane that wait for their commit; the gateway reads no further until one returns.
pub const PUSHES_IN_FLIGHT: usize = 64;

/// Entries in one commit of the log: bounds the time until the first of them is answered.
pub const BATCH: usize = 1024;

/// Admitted pushes that wait for the sequencer, over all sessions; beyond it sessions stop reading.
pub const SEQUENCER_QUEUE: usize = 2 * BATCH;

/// Bytes of admitted pushes that wait for their commit, over all sessions; beyond it sessions stop reading. Each byte
/// stands in memory about three times until then: as it came, as it will be stored, and on its way to the disk.
pub const SEQUENCER_BYTES: usize = 8 << 20;

/// Bytes of one session's pushes that wait for their commit: a device has its fair share of [`SEQUENCER_BYTES`].
pub const PUSH_BYTES_IN_FLIGHT: usize = 2 << 20;

/// Cases in use on a device at once: what a screen shows, and a few that were on it lately.
pub const IN_USE_MAX: usize = 8;

/// Streams of other lanes that a session may have open beside its own.
pub const LANES_MAX: usize = 2;

/// One frame on the urgent lane: an order and what its document lacks so far. What is larger goes with the session.
pub const URGENT_FRAME_LEN_MAX: usize = 64 << 10;

/// Live entries a session may lag behind before it is dropped from the tail and reads the store again.
pub const READER_OUTBOX: usize = 256;

/// Bytes of live entries a session may lag behind; whichever of the two is reached first.
pub const READER_OUTBOX_BYTES: usize = 1 << 20;

/// A session whose peer takes no byte for this long is closed and resumes from its cursor.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(20);

/// A session whose grant on something has ended is closed when bytes that were under way have not left by then: a
/// permit that lapses closes what it opened within 1 s.
pub const LAPSE_WITHIN: Duration = Duration::from_millis(900);

/// From accepted connection to complete `Hello`; a silent socket is closed after it.
pub const HELLO_WITHIN: Duration = Duration::from_secs(5);

/// Handshakes under way, over all peers; the next one is refused and its device comes back. 1,000 devices that return
/// within 10 s over links that need 2 s for it are 200 at a time. Half open, each costs about 60 KiB, for at most
/// [`HELLO_WITHIN`] and the 3 s in which QUIC answers what is still on its way.
pub const HANDSHAKES_MAX: usize = 512;

/// The same of those that say that they are of a mission, and of those that do not: a quarter is left to either, so that
/// neither keeps out the other. What a first packet says is proved by nothing.
pub const HANDSHAKES_PER_CLASS_MAX: usize = HANDSHAKES_MAX / 4 * 3;

/// Handshakes over QUIC that are being computed at the same time, for each processor; the others are held as they came
/// ([`INCOMING_BYTES_ALL`]). Enough to keep it busy while some of them wait for their peers.
pub const COMPUTING_PER_PROCESSOR: usize = 16;

/// How long a handshake is taken to need a processor: an older one waits for its network and leaves its turn to the next.
pub const COMPUTING_WITHIN: Duration = Duration::from_millis(100);

/// How long a first packet is held at most: after 5 s its device has given up.
pub const HELD_WITHIN: Duration = Duration::from_secs(3);

/// What the kernel may hold of packets that nobody has taken in yet: those of some hundred handshakes. What the system allows
/// (`net.core.rmem_max`) may be less.
pub const UDP_RECEIVE_BUFFER: usize = 4 << 20;

/// Handshakes under way beyond which a peer first has to show that it hears us (QUIC Retry). Below it honest devices
/// are spared the round trip; the spare three quarters belong to those who have shown it, so that forged addresses
/// keep nobody out.
pub const HANDSHAKES_UNPROVEN_MAX: usize = HANDSHAKES_MAX / 4;

/// First packets that wait to be looked at; more are dropped, and their devices send them again after a second.
pub const INCOMING_MAX: usize = HANDSHAKES_MAX;

/// What a peer may send behind its first packet before that is looked at: the rest of a `ClientHello`, two packets in
/// all with a post-quantum key share. There is no early data.
pub const INCOMING_BYTES: u64 = 16 << 10;

/// The same over all peers.
pub const INCOMING_BYTES_ALL: u64 = 4 << 20;

/// Sessions of devices that are on no mission which begin at the same time: from `Hello` until the device is caught up. Enough
/// to keep four cores and a disk busy; more would only make each of them slower, and those on a mission with them.
pub const BEGINNING_AT_ONCE: usize = 32;

/// The same of devices on a mission, beside the others: a region has some hundred vehicles and fewer missions.
pub const MISSIONS_BEGINNING_AT_ONCE: usize = 256;

/// Sessions of one device: in its own tenant's log and in those of a few neighbours.
pub const SESSIONS_PER_DEVICE: usize = 4;

/// Devices of each kind that wait for it. Each has a connection, its `Hello` (at most [`HELLO_LEN_MAX`]) and about 200 bytes
/// here: what it will cost as a session, a little earlier.
pub const BEGINNING_WAITING_MAX: usize = 2_048;

/// How long a device waits for it at most. It has to be told before it gives up by itself, 5 s after its first packet.
pub const BEGINNING_WAIT_MAX: Duration = Duration::from_millis(2_500);

/// How long a session that begins is counted at most: one behind a slow link costs the gateway nothing while it waits, and
/// must not hold up others.
pub const BEGINNING_WITHIN: Duration = Duration::from_secs(1);

/// The least that a device which found no room is told to stay away: its next handshake costs more than the beginning of a
/// session.
pub const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// The most, and the most that a device believes: a region has come back within it, and nobody can silence a device for
/// longer.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Changes of one document after a cursor that are still sent one by one; beyond it a snapshot is smaller
/// (a raw change is about 140 bytes, in a snapshot 3–20).
pub const TAIL_CHANGES_MAX: usize = 64;

/// Documents in one `Fetch`.
pub const FETCH_DOCUMENTS_MAX: usize = 1024;

/// Bytes of log entries read from the store in one go while catching up.
pub const CATCH_UP_BYTES: usize = 256 << 10;

/// Bytes of document ledgers (admission state) the gateway keeps in memory; the rest is read again.
pub const LEDGER_CACHE_BYTES: usize = 192 << 20;

/// Changes behind the snapshot after which the projector writes a new one at once.
pub const SNAPSHOT_EVERY: usize = 256;

/// Quiet time of a document after which the projector writes its snapshot.
pub const SNAPSHOT_QUIET: Duration = Duration::from_secs(2);

/// Documents that are projected at the same time: one that takes long must not hold up the others, and each takes a
/// thread and several times its size in memory.
pub const PROJECTIONS_AT_ONCE: usize = 2;

/// Nesting depth of a document's values; deeper ones overflow stacks of readers.
pub const DEPTH_MAX: usize = 32;

/// How often an idle device says over QUIC that it is there; the gateway never begins. Just below the 30 s after which
/// translators of addresses forget UDP (RFC 9000, 10.1.2: every 30 s keeps most of them; RFC 4787 asks for 2 min in vain).
/// At about 120 bytes each, answer and headers included, an idle device sends and receives 15 KB an hour for it.
pub const KEEP_ALIVE: Duration = Duration::from_secs(28);

/// QUIC idle time-out: two keep-alives and a retransmission.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The same over TCP: half of the 4 to 5 minutes after which the least patient mobile networks forget a connection. At about
/// 300 bytes each, answer and confirmations included, an idle device sends and receives 9 KB an hour for it.
pub const TCP_KEEP_ALIVE: Duration = Duration::from_secs(120);

/// After so long without a word from a device a gateway asks over TCP whether it is there: two keep-alives and a
/// retransmission.
pub const TCP_SILENCE_MAX: Duration = Duration::from_secs(250);

/// Time a draining gateway gives each step before it goes on: sessions, snapshots, commits, the last checkpoint.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// Handshakes under way of one remote address that has shown that it hears us: half of [`HANDSHAKES_MAX`], so that no
/// address keeps out the others. A station's 100 tablets that all redial at once are 100.
pub const HANDSHAKES_PER_ADDRESS_MAX: u32 = HANDSHAKES_MAX as u32 / 2;

/// Remote addresses of which is known what they used; about 100 bytes each. Only those get in that have shown that they
/// hear us, and those that have used nothing lately leave first.
pub const ADDRESSES_MAX: usize = 16 << 10;

/// How many may use up how much; an operator may set other figures for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Connections of one remote address (IPv4) or network (IPv6 /64). A whole city's fleet may stand behind one
    /// carrier's translator or private access point: 1,000 devices, of which some hold an old connection beside the new.
    pub connections_per_address: u32,
    /// Handshakes of one remote address. The whole fleet comes back at once, then a handshake costs about 1 ms of CPU:
    /// an address that goes on for ever takes a twentieth of a core.
    pub handshakes_per_address: Rate,
    /// Changes that one device pushes. A tablet that was offline for 30 days delivers 5,000 at once; ten times as many
    /// cost the gateway half a second of CPU.
    pub pushed_changes: Rate,
    /// Bytes of changes that one device pushes. 30 days of a busy crew are about 90 MB, histories and all (15 cases a
    /// day of 200 KB).
    pub pushed_bytes: Rate,
    /// Bytes that one device adds to the log. The same 30 days fit twice; a device that does nothing else fills 8 GB a
    /// month, which an operator notices first.
    pub stored_bytes: Rate,
    /// Bytes that all devices of a tenant add to the log. 200 vehicles add 0.6 GB on a normal day. Beyond it only those
    /// devices wait that have used more than one in [`FAIR_PARTS`] of their own share: no device can use up what the
    /// crews of its tenant need.
    pub tenant_stored_bytes: Rate,
    /// Receipts that one device hands in: who has used it and read what, what it has destroyed. Each is a row of about 200 bytes in
    /// the audit log. 30 days without network of a busy crew come to some 2,000; whoever does nothing else writes 4 MB a
    /// day.
    pub receipts: Rate,
}

/// Receipts that an emergency access without network counts as: a supervisor has to look at each, and a hundred a day are
/// more than a fleet has.
pub const RECEIPTS_AN_EMERGENCY: u64 = 200;

impl Shares {
    /// What a gateway of its own accord grants.
    pub const DEFAULT: Self = Self {
        connections_per_address: 2_048,
        handshakes_per_address: Rate { amount: 3_000, every: Duration::from_secs(60) },
        pushed_changes: Rate { amount: 50_000, every: HOUR },
        pushed_bytes: Rate { amount: 128 << 20, every: HOUR },
        stored_bytes: Rate { amount: 256 << 20, every: DAY },
        tenant_stored_bytes: Rate { amount: 16 << 30, every: DAY },
        receipts: Rate { amount: 20_000, every: DAY },
    };
}

impl Default for Shares {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// See [`Shares::tenant_stored_bytes`]: 32 MiB a day, ten times what a crew writes.
pub const FAIR_PARTS: u32 = 8;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Connections to the browsers' port that have not said who they are: they have [`HELLO_WITHIN`] each time to go on.
pub const WEB_STRANGERS_MAX: usize = 128;

/// One message of a browser or to it: the largest signal twice escaped, and room.
pub const WEB_MESSAGE_LEN_MAX: usize = 128 << 10;

/// What a browser may say: a call with all its candidates at once, and on average what two calls under way say in pulses and media.
/// Beyond it the gateway reads on later.
pub const WEB_MESSAGES: Rate = Rate { amount: 200, every: Duration::from_secs(10) };

/// The same in bytes: session descriptions of several calls at once.
pub const WEB_BYTES: Rate = Rate { amount: 1 << 20, every: Duration::from_secs(30) };

/// What waits for a browser. One that falls further behind is closed, comes back and is told how things stand.
pub const WEB_OUTBOX: usize = 256;

/// How often a browser is asked whether it is there, while nothing else is said. During calls pulses notice sooner.
pub const WEB_PING_EVERY: Duration = Duration::from_secs(4);

/// Without a sign of life for so long it is not: two questions that were not answered.
pub const WEB_SILENCE_MAX: Duration = Duration::from_secs(10);

/// Connections to the enrolment port at once; the next one is closed unanswered and its device comes back. Each holds a
/// TLS buffer and a request, under 100 KiB.
pub const ENROLMENT_CONNECTIONS_MAX: usize = 128;

/// Those of one remote address (IPv4) or network (IPv6 /64), from the first packet on: a quarter, so that no host keeps out
/// the others. An office that sets up a fleet has as many people at most.
pub const ENROLMENT_CONNECTIONS_PER_ADDRESS_MAX: u32 = ENROLMENT_CONNECTIONS_MAX as u32 / 4;

/// From accepted TCP connection to complete TLS handshake: nobody holds a place by saying nothing.
pub const ENROLMENT_HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// From handshake to complete answer: a kilobyte over the worst link takes seconds.
pub const ENROLMENT_REQUEST_WITHIN: Duration = Duration::from_secs(20);

/// Body of an enrolment request. A certificate, a signing request and a proof are under 4 KiB.
pub const ENROLMENT_BODY_MAX: usize = 16 << 10;

/// Head of an enrolment request.
pub const ENROLMENT_HEAD_MAX: usize = 8 << 10;

/// Codes that one remote address may present in vain within [`ENROLMENT_GUESSES_EVERY`]. An office that sets up a fleet has
/// one address and mistypes now and then; a code has 95 random bits.
pub const ENROLMENT_GUESSES_PER_ADDRESS: u32 = 20;

/// The same over all addresses. Whoever has many addresses can hold up enrolment with it, never guess a code.
pub const ENROLMENT_GUESSES_MAX: u32 = 2_000;

/// After this time codes may be presented in vain again.
pub const ENROLMENT_GUESSES_EVERY: Duration = Duration::from_secs(10 * 60);

/// Remote addresses of which guesses are counted; beyond it only the sum over all counts.
pub const ENROLMENT_ADDRESSES_MAX: usize = 4_096;

/// How long a code that is not taken stays unanswered: as long for one that exists as for one that does not.
pub const ENROLMENT_REFUSED_AFTER: Duration = Duration::from_millis(300);

/// How long the key that has used a code may fetch its certificate again: an answer that was lost on the way must not shut
/// the device out.
pub const ENROLMENT_AGAIN_WITHIN: Duration = Duration::from_secs(10 * 60);

/// Certificates that one device gets within an hour: one is enough for weeks, lost answers and restarts included; each
/// costs a signature and a row.
pub const CERTIFICATES_PER_HOUR: i64 = 60;

/// How long a revocation list that the gateway signs is good: whoever fetches it daily misses nothing for long.
pub const CRL_VALIDITY: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// Submissions of audit records that wait for their commit; whoever submits beyond it waits.
pub const AUDIT_QUEUE: usize = 1024;

/// Submissions written in one commit of the audit log: bounds the time until the first of them is answered.
pub const AUDIT_BATCH: usize = 256;

/// Noted acts that wait to be put together, about 400 bytes each: one per session, document and kind of act within a
/// second. Beyond it they are put together per session, with the positions they concern.
pub const AUDIT_NOTES: usize = 64 << 10;

/// How long acts of a session are put together before they are written. A crash loses at most what was noted in it.
pub const AUDIT_NOTE_WITHIN: Duration = Duration::from_secs(1);

/// The same for connections of strangers: anybody may knock, as often as he likes, and must not fill the disk.
pub const AUDIT_KNOCKS_WITHIN: Duration = Duration::from_secs(60);

/// Rows of a chain under one checkpoint. A signature costs as much as ten rows.
pub const AUDIT_CHECKPOINT_ROWS: u64 = 1024;

/// Age of a row at which its chain gets a checkpoint, however few there are.
pub const AUDIT_CHECKPOINT_WITHIN: Duration = Duration::from_secs(600);

/// Documents of which a session remembers that their reading is recorded: a crew has a dozen, a first session of a desk
/// may fetch a whole district. Beyond it they are recorded again.
pub const AUDIT_READS_REMEMBERED: usize = 4096;

/// How long a physician who has left a call still sees its case, in milliseconds: time to write down what was done.
pub const CALL_WINDOW_MS: i64 = 15 * 60 * 1000;

/// How long a grant that begins with a call would last if nothing ended it, in milliseconds: longer than any call.
pub const CALL_GRANT_MS: i64 = 13 * 60 * 60 * 1000;
/// A datagram of live vitals: what fits into the smallest packet of QUIC, 1,200 bytes, beside its headers.
pub const LIVE_PACKET_LEN_MAX: usize = 1_150;

/// Pieces in it: curves, the same stretch before, and numbers.
pub const LIVE_PIECES_MAX: usize = 4;

/// Curves in a piece: twelve leads, pulse, breath, and two pressures.
pub const LIVE_TRACES_MAX: usize = 16;

/// Samples of each: half a second at 500 Hz.
pub const LIVE_SAMPLES_MAX: usize = 250;

/// How much time one piece of curves covers at most, in milliseconds: so long the oldest sample waits for the newest before
/// it is sent.
pub const LIVE_PIECE_SPAN_MS: u32 = 100;

/// Pieces of curves that wait for an earlier one: more than that is no disorder but a loss.
pub const LIVE_EARLY_MAX: usize = 4;

/// How long they do, in milliseconds: jitter of a bad link. A piece comes again with its successor, after
/// [`LIVE_PIECE_SPAN_MS`]: whoever is missing behind both is gone.
pub const LIVE_GAP_WAIT_MS: u64 = 40;

/// Pieces of curves that wait for an app which is slow: about three seconds.
pub const LIVE_SHOWN_MAX: usize = 32;

/// Calls whose live vitals one gateway relays. A region has some twenty at once; each costs about 300 bytes here.
pub const LIVE_CALLS_MAX: usize = 1_024;

/// Who watches the vitals of one call: a physician, whoever takes over from him, and a few more.
pub const LIVE_WATCHERS_MAX: usize = 8;

/// Datagrams of one call that wait for one watcher, and with the device that sends them: a second and a half of twelve leads. What
/// is older is of no use to anybody.
pub const LIVE_WAITING_PER_CALL: usize = 16;

/// The same over all calls that he watches.
pub const LIVE_WAITING_MAX: usize = 64;

/// What one device may send of live vitals, 100 bytes for each datagram included: twelve leads at 500 Hz, each twice, are some
/// 200 kbit/s at their wildest.
pub const LIVE_RATE: Rate = Rate { amount: 64 << 10, every: Duration::from_secs(1) };

/// A telephone number, in bytes: what ITU-T E.164 allows, with room for how people write it.
pub const PHONE_LEN_MAX: usize = 32;

/// A message from one side of a call to the other, in bytes: a session description of audio, video and data is 2 to 8 KB.
pub const SIGNAL_LEN_MAX: usize = 16 << 10;

/// Messages from one side of a call to the other that wait to be sent to it; what comes beyond is dropped, and media is agreed on
/// anew when that fails.
pub const SIGNALS_WAITING: usize = 64;

/// Intents of one device: 32 at once, four come back in a second.
pub const INTENTS: Rate = Rate { amount: 32, every: Duration::from_secs(8) };

/// Messages of one device to the other side of a call: the candidates of a machine with several addresses, twice, at once; 16 come
/// back in a second.
pub const SIGNALS: Rate = Rate { amount: 64, every: Duration::from_secs(4) };

/// Calls that one device may have under way. A crew is on one mission; a vehicle may hand over two.
pub const CALLS_PER_DEVICE: usize = 4;

/// Calls of one device that are kept after their end, until it has noted that: a shift has a handful.
pub const CALLS_KEPT_PER_DEVICE: usize = 64;

/// Calls under way in a gateway: a country's peak is below a hundred (DOMAIN, "Numbers").
pub const CALLS_MAX: usize = 2_048;

/// Missions that one physician may take on at once.
pub const DUTY_CAPACITY_MAX: u8 = 8;

/// Intents of a call whose outcome is remembered, for those that are said again.
pub const INTENTS_REMEMBERED: usize = 32;

/// Legs that a call may have had: each transfer adds one.
pub const CALL_LEGS_MAX: usize = 16;
