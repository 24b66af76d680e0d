//! What the last look at the cluster found, for whoever asks.

use parking_lot::Mutex;

/// Set in the background, read by readiness at no cost to the cluster.
#[derive(Debug)]
pub struct Condition(Mutex<Result<(), String>>);

impl Default for Condition {
    fn default() -> Self {
        Self(Mutex::new(Err("not looked at yet".into())))
    }
}

impl Condition {
    /// What was found last.
    pub fn get(&self) -> Result<(), String> {
        self.0.lock().clone()
    }

    /// Takes the new finding; answers whether it differs from the one before.
    pub fn set(&self, found: Result<(), String>) -> bool {
        let mut held = self.0.lock();
        let changed = *held != found;
        *held = found;
        changed
    }
}
