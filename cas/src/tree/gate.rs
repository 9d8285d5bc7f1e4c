//! Work on threads that nobody can stop, and a directory that is to be left alone from one moment on.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// Lets in who has a [`Pass`], until it is dropped: then nobody is inside any more. Waits for who is.
#[derive(Debug, Default)]
pub(super) struct Gate(Pass);

/// For short stays.
#[derive(Clone, Debug, Default)]
pub(super) struct Pass {
    is_closed: Arc<RwLock<bool>>,
}

impl Gate {
    pub(super) fn pass(&self) -> Pass {
        self.0.clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        *self.0.is_closed.write().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

impl Pass {
    /// Inside for as long as this is held. `None`: it is closed.
    pub(super) fn enter(&self) -> Option<RwLockReadGuard<'_, bool>> {
        let is_closed = self.is_closed.read().unwrap_or_else(PoisonError::into_inner);
        (!*is_closed).then_some(is_closed)
    }
}
