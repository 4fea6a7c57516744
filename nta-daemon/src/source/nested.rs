//! Which flows lie within which, where tunnels are opened: from what the packet path has noted to identities.

use std::collections::HashMap;

use nta_common::tunnel::{Inner, Outer};

use nta_core::domain::{FlowId, FlowKey, Origin};

/// The flows around a flow, by its directions.
pub(super) type Parents = HashMap<FlowKey, [Option<FlowId>; 2], foldhash::fast::RandomState>;

/// Adds a direction of a flow. `known` says under which identity a flow is tracked; one that is not yet gets its own with the
/// reading that is under way.
pub(super) fn add(
    parents: &mut Parents,
    (inner, outer): (&Inner, &Outer),
    known: impl Fn(&FlowKey) -> Option<FlowId>,
    origin: &Origin,
) {
    let around = FlowKey::from(outer);
    let id = known(&around).unwrap_or_else(|| origin.flow_id(&around, outer.first_ns));
    parents.entry(FlowKey::from(inner)).or_default()[inner.direction()] = Some(id);
}
