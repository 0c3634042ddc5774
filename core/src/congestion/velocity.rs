//! How fast the window moves: twice as fast with each round trip in which it has kept its direction, as in Copa.

/// Direction and speed of a window.
#[derive(Debug, Clone, Copy)]
pub struct Velocity {
    factor: f64,
    grows: bool,
    /// Round trips in the same direction.
    rounds: u32,
    window: f64,
}

impl Velocity {
    /// As slow as can be, from this window on.
    pub fn new(window: f64) -> Self {
        Self { factor: 1.0, grows: true, rounds: 0, window }
    }

    /// The speed of a step; turning back is slow at once.
    pub fn step(&mut self, grows: bool) -> f64 {
        if grows != self.grows {
            *self = Self { grows, ..Self::new(self.window) };
        }
        self.factor
    }

    /// A round trip has ended with this window. Whoever has run into something is careful, and stays slow.
    pub fn end_round(&mut self, window: f64, is_careful: bool) {
        let grew = window > self.window;
        self.window = window;
        if grew != self.grows {
            *self = Self { grows: grew, ..Self::new(window) };
            return;
        }
        self.rounds += 1;
        if self.rounds >= ROUNDS_SLOW && !is_careful {
            self.factor = (self.factor * 2.0).min(FACTOR_MAX);
        }
    }
}

/// The paper's: one swing alone must not speed up.
const ROUNDS_SLOW: u32 = 3;
/// Faster than any link in the field changes.
const FACTOR_MAX: f64 = 64.0;
