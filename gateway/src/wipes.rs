//! Devices that are to destroy what they hold. Such a device gets the order and nothing else.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use feldakte_core::ids::DeviceId;
use uuid::Uuid;

use crate::store::matters::Wipe;

/// Orders that were not carried out yet; the store of matters has them too.
#[derive(Debug, Default)]
pub struct Wipes(Mutex<HashMap<DeviceId, Uuid>>);

impl Wipes {
    /// Those of the store.
    pub fn new(pending: impl IntoIterator<Item = Wipe>) -> Self {
        Self(Mutex::new(pending.into_iter().map(|wipe| (wipe.device, wipe.order)).collect()))
    }

    /// The device's order.
    pub fn of(&self, device: DeviceId) -> Option<Uuid> {
        self.lock().get(&device).copied()
    }

    /// An order was given.
    pub fn order(&self, wipe: &Wipe) {
        self.lock().insert(wipe.device, wipe.order);
    }

    /// It was carried out, unless there is a newer one.
    pub fn done(&self, device: DeviceId, order: Uuid) {
        let mut orders = self.lock();
        if orders.get(&device) == Some(&order) {
            orders.remove(&device);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, Uuid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
