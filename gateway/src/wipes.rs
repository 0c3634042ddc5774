//! Devices that are to destroy what they hold. Such a device gets the order and nothing else, for good: that it says it has
//! carried it out is its word alone. One that was found again is enrolled anew, under another id.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use feldakte_core::ids::DeviceId;
use uuid::Uuid;

use crate::store::matters::Wipe;

/// All orders, carried out or not; the store of matters has them too.
#[derive(Debug, Default)]
pub struct Wipes(Mutex<HashMap<DeviceId, Uuid>>);

impl Wipes {
    /// Those of the store.
    pub fn new(orders: impl IntoIterator<Item = Wipe>) -> Self {
        Self(Mutex::new(orders.into_iter().map(|wipe| (wipe.device, wipe.order)).collect()))
    }

    /// The device's order.
    pub fn of(&self, device: DeviceId) -> Option<Uuid> {
        self.lock().get(&device).copied()
    }

    /// An order was given.
    pub fn order(&self, wipe: &Wipe) {
        self.lock().insert(wipe.device, wipe.order);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, Uuid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
