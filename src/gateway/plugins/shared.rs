//! What plugins keep longer than one snapshot.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One value of each type for the whole proxy: counters, caches, queues. It outlives every snapshot.
/// A plugin keeps an `Arc` to its own type and divides it by plugin id or whatever it counts by.
#[derive(Debug, Default)]
pub struct Shared(Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Shared {
    /// The one value of this type, made when it is first asked for.
    pub fn get<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = values
            .entry(TypeId::of::<T>())
            .or_insert_with(|| Arc::new(T::default()) as Arc<dyn Any + Send + Sync>);
        // The key is the value's own type; a new value is only the compiler's way out.
        Arc::clone(value).downcast().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn every_caller_gets_the_same_value() {
        let shared = Shared::default();
        shared.get::<AtomicU32>().fetch_add(2, Ordering::Relaxed);
        assert_eq!(shared.get::<AtomicU32>().load(Ordering::Relaxed), 2);
    }
}
