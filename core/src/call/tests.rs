//! A region of crews and desks in memory: every message arrives at once, unless a test holds it back.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{switchboard::Effect, *};
use crate::ids::{CallId, CaseId, DeviceId, IntentKey, SessionId};

mod behaviour;
mod link;
mod transfers;

struct Region {
    board: Switchboard,
    now_ms: i64,
    /// By device: its session and its book.
    devices: BTreeMap<DeviceId, (SessionId, Book)>,
    parties: BTreeMap<DeviceId, (Party, bool)>,
    effects: Vec<Effect>,
    /// What was stored so far.
    disk: BTreeMap<String, Kept>,
    numbers: u128,
}

fn centre(tenant: &str, unit: &str) -> Centre {
    Centre { tenant: tenant.parse().unwrap(), unit: unit.parse().unwrap() }
}

fn phone(text: &str) -> Phone {
    Phone::try_from(text.to_owned()).unwrap()
}

fn plan() -> Plan {
    let group = |tenant, unit, number| Group { centre: centre(tenant, unit), phone: Some(phone(number)) };
    let route = Route {
        tenant: "dortmund".parse().unwrap(),
        groups: vec![group("dortmund", "tna", "+49 231 1"), group("hagen", "tna", "+49 2331 2")],
        dispatch: Some(phone("112")),
    };
    Plan { routes: vec![route], ..Plan::empty() }
}

impl Region {
    fn new() -> Self {
        let (devices, parties) = (BTreeMap::new(), BTreeMap::new());
        let (board, effects, disk) = (Switchboard::new(plan()), Vec::new(), BTreeMap::new());
        Self { board, now_ms: 1_000_000, devices, parties, effects, disk, numbers: 0 }
    }

    fn number(&mut self) -> Uuid {
        self.numbers += 1;
        Uuid::from_u128(self.numbers)
    }

    fn device(&mut self, tenant: &str, unit: &str, is_desk: bool) -> DeviceId {
        let device = DeviceId(self.number());
        let party = Party { unit: centre(tenant, unit), device, user: None };
        self.parties.insert(device, (party, is_desk));
        self.devices.insert(device, (SessionId(Uuid::nil()), Book::default()));
        self.join(device);
        device
    }

    fn crew(&mut self) -> DeviceId {
        let unit = format!("rtw-{}", self.numbers);
        self.device("dortmund", &unit, false)
    }

    /// A desk on duty.
    fn desk(&mut self, tenant: &str, capacity: u8) -> DeviceId {
        let device = self.device(tenant, "tna", true);
        let session = self.devices[&device].0;
        self.input(Input::Duty { session, duty: Duty { capacity } });
        device
    }

    fn join(&mut self, device: DeviceId) {
        let session = SessionId(self.number());
        let (who, is_desk) = self.parties[&device].clone();
        let now_ms = self.now_ms;
        let entry = self.devices.get_mut(&device).unwrap();
        entry.0 = session;
        let first = entry.1.begin(now_ms);
        self.input(Input::Joined { session, who, is_crew: !is_desk, is_desk });
        self.say(device, first);
    }

    fn leave(&mut self, device: DeviceId) {
        let (session, book) = self.devices.get_mut(&device).unwrap();
        book.lose();
        let session = *session;
        self.input(Input::Left { session });
    }

    fn say(&mut self, device: DeviceId, said: impl IntoIterator<Item = Say>) {
        let session = self.devices[&device].0;
        for say in said {
            if let Say::Intent(intent) = say {
                let log = "dortmund".parse().unwrap();
                self.input(Input::Intent { session, intent, log, may_write: true });
            }
        }
    }

    fn want(&mut self, device: DeviceId, call: CallId, act: Act) -> Option<Outcome> {
        let intent = Intent { key: IntentKey(self.number()), call, act };
        let key = intent.key;
        let now_ms = self.now_ms;
        let said = self.devices.get_mut(&device).unwrap().1.want(intent, now_ms);
        self.effects.clear();
        self.say(device, said);
        self.effects.iter().find_map(|effect| match effect {
            Effect::Tell { told: Told::Reply(reply), .. } if reply.key == key => Some(reply.outcome),
            _ => None,
        })
    }

    fn call_as(&mut self, device: DeviceId, case: CaseId, category: Category) -> CallId {
        let call = CallId(self.number());
        let act = Act::Call { case, category, phone: Some(phone("0151 1")) };
        let outcome = self.want(device, call, act);
        match outcome {
            Some(Outcome::Merged(into)) => into,
            _ => call,
        }
    }

    fn call(&mut self, device: DeviceId) -> CallId {
        let case = CaseId(self.number());
        self.call_as(device, case, Category::Urgent)
    }

    fn input(&mut self, input: Input) {
        let effects = self.board.apply(self.now_ms, input);
        let Changed { calls, desks } = self.board.take_changed();
        let calls = calls.into_iter().map(|(call, kept)| (format!("call {call}"), kept));
        for (name, kept) in calls.chain(desks.into_iter().map(|(desk, kept)| (format!("desk {desk}"), kept))) {
            match kept {
                Some(kept) => drop(self.disk.insert(name, kept)),
                None => drop(self.disk.remove(&name)),
            }
        }
        for effect in &effects {
            let Effect::Tell { session, told } = effect else { continue };
            let now_ms = self.now_ms;
            let at = self.devices.values_mut().find(|(known, _)| known == session);
            at.into_iter().for_each(|(_, book)| drop(book.take(told.clone(), now_ms)));
        }
        self.effects.extend(effects);
    }

    /// Time passes, as timers are due.
    fn pass(&mut self, ms: i64) {
        let until = self.now_ms + ms;
        while let Some(due) = self.board.next_due().filter(|due| *due <= until) {
            self.now_ms = due.max(self.now_ms);
            self.input(Input::Tick);
        }
        self.now_ms = until;
        self.input(Input::Tick);
    }

    /// Everything that was stored, read again by another process.
    fn restart(&mut self) {
        let json = serde_json::to_string(&self.disk.values().collect::<Vec<_>>()).unwrap();
        let kept: Vec<Kept> = serde_json::from_str(&json).unwrap();
        self.devices.values_mut().for_each(|(session, book)| {
            *session = SessionId(Uuid::nil());
            book.lose();
        });
        self.board = Switchboard::restore(plan(), kept, self.now_ms);
    }

    fn fact(&self, device: DeviceId, call: CallId) -> Option<&Fact> {
        self.devices[&device].1.call(call).and_then(|known| known.fact.as_ref())
    }

    fn phase(&self, device: DeviceId, call: CallId) -> Option<Phase> {
        self.fact(device, call).map(|fact| fact.phase)
    }

    fn is_rung(&self, device: DeviceId, call: CallId) -> bool {
        self.fact(device, call).is_some_and(|fact| matches!(fact.standing, Standing::Rung { .. }))
    }

    fn speak(&mut self, device: DeviceId, call: CallId, leg: u8) {
        self.want(device, call, Act::Media { leg, state: Media::Connected });
    }

    fn opened(&self, device: DeviceId) -> (usize, usize) {
        let is_of = |about: &switchboard::About| about.who.device == device;
        let open = self.effects.iter().filter(|effect| matches!(effect, Effect::Open { desk, .. } if is_of(desk)));
        let shut = self.effects.iter().filter(|effect| matches!(effect, Effect::Shut(about, _) if is_of(about)));
        (open.count(), shut.count())
    }
}
