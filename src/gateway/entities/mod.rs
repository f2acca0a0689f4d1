//! What the control-plane APIs do with entities: defaults, checks, generated fields, references, uniqueness, cascades,
//! all derived from the table of kinds. What fits no word of it is a hook ([`hooks`]).
//!
//! Everything runs within one job of the store. What does not live here: addresses and bodies of requests and the
//! shape of answers (`admin`, `konnect`), and how rows are kept (`store`).

mod fault;
mod generate;
mod hooks;
mod read;
mod records;
mod remove;
mod row;
mod write;

pub(in crate::gateway) use fault::{Fault, pretty};
pub(in crate::gateway) use read::{Page, Which};
pub(in crate::gateway) use records::Records;
pub(in crate::gateway) use write::Mark;

use crate::gateway::store::PlaneId;
use crate::schema::{Kind, Schemas};
use std::sync::Arc;

/// The entities of one plane as one flavor knows them.
#[derive(Clone, Debug)]
pub(in crate::gateway) struct Entities {
    /// What the flavor knows.
    pub schemas: Arc<Schemas>,
    /// The workspace or control plane.
    pub plane: PlaneId,
    /// Passwords come hashed already and are kept as they are.
    pub hashed: bool,
    /// Where keys hold that are unique across the planes of one API.
    pub shared: PlaneId,
}

impl Entities {
    /// The plane of a kind's rows: those of kinds that belong to no workspace are shared.
    pub fn plane_of(&self, kind: &Kind) -> PlaneId {
        if kind.workspaceable { self.plane } else { self.shared }
    }

    /// A kind that the schemas refer to; an unknown one is a fault of the table of kinds.
    pub fn kind(&self, name: &str) -> Result<&Arc<Kind>, Fault> {
        self.schemas.kind(name).ok_or_else(|| Fault::Internal(format!("no kind named {name}")))
    }
}
