//! Changing the set of interfaces while packets are counted. The programs for the new set are loaded beside the ones that are
//! attached, over the same maps; then each takes the place of the one before, in the kernel and at once. An interface that stays
//! loses no packet, and flows go on.

use crate::SourceError;
use crate::attach::{AttachedKernel, load_for, named, refuse_strays, takes_tc};
use crate::attached::AttachOptions;
use crate::claim::Claim;
use crate::device::Device;
use crate::hook::DIRECTIONS;
use crate::jiffies::monotonic_ns;
use crate::link::{Held, Link};
use crate::load::{Kernel, KernelOptions};
use crate::netlink;
use crate::topology::Topology;
use nta_common::LedgerSlot;
use nta_core::domain::Attachment;

/// What a change of the set brought about.
#[derive(Debug, Default)]
pub struct Change {
    /// Places in the ledger that another interface has from now on.
    pub assigned: Vec<Assigned>,
    /// Whether translated connections are joined from now on, which they were not before.
    pub joins_translated: bool,
    /// Interfaces that cannot be attached, a reason each; the others are.
    pub refused: Vec<SourceError>,
    /// An interface that stays had to change its hook: from when to when, by the kernel's clock, it was not counted.
    pub uncounted_ns: Option<(u64, u64)>,
}

/// A place in the ledger that has another interface, or one of another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The place.
    pub slot: usize,
    /// The interface's name.
    pub name: String,
    /// What the place held of those before.
    pub held: LedgerSlot,
}

impl AttachedKernel {
    /// Watches these interfaces from now on.
    ///
    /// # Errors
    /// When the programs cannot be loaded for them: those of before stay attached.
    pub fn change(
        &mut self,
        devices: &[Device],
        attach: &AttachOptions,
        options: KernelOptions,
    ) -> Result<Change, SourceError> {
        let mut change = Change::default();
        let mut devices = devices.to_vec();
        let mut claims = Vec::with_capacity(devices.len());
        devices.retain(|device| match self.claim(device) {
            Ok(claim) => {
                claims.extend(claim);
                true
            }
            Err(error) => {
                change.refused.push(error);
                false
            }
        });
        let slots = self.slots.with(&devices.iter().map(|device| device.index).collect::<Vec<_>>());
        let topology = Topology::of(&devices);
        // What is under way keeps its mark.
        let mark = match topology.mark(&devices) {
            0 => 0,
            new if self.mark == 0 => new,
            _ => self.mark,
        };
        let tunnel_ends = slots.bits(&topology.tunnel_ends);
        let bare = slots.bits(&netlink::without_link_header(&devices));
        let options = KernelOptions { interfaces: named(&slots, &devices), mark, tunnel_ends, bare, ..options };
        let mut kernel = Kernel::load_beside(&options, &self.kernel)?;
        change.joins_translated = kernel.joins_nat() && !self.kernel.joins_nat();
        let remains = |held: &&Held| devices.iter().any(|device| device.index == held.index);
        self.held.iter().filter(remains).try_for_each(|held| held.load(&mut kernel))?;
        let to_tc = takes_tc(attach.mode, &topology);
        let stays = |held: &&Held| !(to_tc && held.hook.is_xdp());
        let hooks = |index: u32| self.held.iter().filter(|held| held.index == index).filter(stays).count();
        let new: Vec<&Device> = devices.iter().filter(|device| hooks(device.index) < DIRECTIONS.len()).collect();
        load_for(&mut kernel, &new, attach.mode, &topology);
        if let Some(pins) = &mut self.pins {
            let is_new = change.joins_translated;
            let nat =
                ["NAT4", "NAT6"].into_iter().filter(|_| is_new).filter_map(|name| Some((name, kernel.map(name)?)));
            pins.go_on_with(&slots, &nat.collect::<Vec<_>>())?;
        }

        // From here on the new programs are in charge.
        self.claims.retain(|claim| devices.iter().any(|device| claim.is_on(&device.name)));
        self.claims.extend(claims);
        std::mem::swap(&mut self.kernel, &mut kernel);
        let before = &mut kernel;
        let mut left = Vec::new();
        for held in std::mem::take(&mut self.held) {
            let stays = devices.iter().any(|device| device.index == held.index);
            if !stays || (to_tc && held.hook.is_xdp()) {
                left.push(held);
                continue;
            }
            let (index, hook) = (held.index, held.hook.name());
            match held.move_to(&mut self.kernel, before, self.pins.as_ref()) {
                Ok(held) => self.held.push(held),
                Err(error) if Device::name_of(index).is_none() => {
                    tracing::debug!(index, hook, %error, "went while the set was changed");
                }
                Err(error) => tracing::warn!(index, hook, %error, "attached anew: its program cannot be replaced"),
            }
        }
        for (slot, index) in slots.indices().iter().enumerate() {
            let name = devices.iter().find(|device| device.index == *index).map(|device| device.name.as_str());
            if let Some(name) = name.filter(|name| self.is_renamed(slot, *index, name)) {
                let held = self.kernel.counted(slot)?;
                change.assigned.push(Assigned { slot, name: name.to_owned(), held });
            }
        }
        if change.joins_translated {
            self.kernel.learn_translated();
        }
        (self.topology, self.mark, self.slots) = (topology, mark, slots);

        // Interfaces of which a hook is missing: new ones, and those whose hook had to be given up.
        let since_ns = (!self.attachments.is_empty()).then_some(self.since_ns);
        let began_ns = monotonic_ns();
        let is_gone = |index: &u32| devices.iter().all(|device| device.index != *index);
        let mut gone: Vec<u32> = left.iter().map(|held| held.index).filter(is_gone).collect();
        gone.dedup();
        for held in left {
            self.let_go(held, before);
        }
        let attached = std::mem::take(&mut self.attachments);
        let known = |device: &Device| attached.iter().find(|attachment| attachment.index == device.index);
        let has = |device: &Device| self.held.iter().filter(|held| held.index == device.index).count();
        let (whole, parts): (Vec<&Device>, Vec<&Device>) =
            devices.iter().partition(|device| known(device).is_some() && has(device) == DIRECTIONS.len());
        for device in whole {
            let known = known(device).map(|known| Attachment { interface: device.name.clone(), ..known.clone() });
            self.attachments.extend(known);
        }
        parts.iter().for_each(|device| self.leave(device.index));
        let mut is_cut = false;
        for (device, outcome) in parts.iter().zip(self.attach_devices(&parts, attach)) {
            // It may have gone since it was found: then nothing of it was missed, and the next look does not find it.
            let is_there = Device::name_of(device.index).is_some();
            is_cut |= known(device).is_some() && is_there;
            match outcome {
                Ok(attachment) => self.attachments.push(attachment),
                Err(error) => {
                    self.leave(device.index);
                    change.refused.extend(is_there.then_some(error));
                }
            }
        }
        // As the devices are.
        self.attachments.sort_by_key(|attachment| attachment.index);
        self.since_ns = since_ns.unwrap_or(self.since_ns);
        change.uncounted_ns = is_cut.then(|| (began_ns, monotonic_ns()));
        if let Some(pins) = &self.pins {
            pins.clean(&devices);
        }
        self.wait_for_the_end_of(&gone);
        Ok(change)
    }

    /// A link that is closed ends in the kernel's own time: where an interface is attached to again, its program must not count beside
    /// the new one, and who was told that nothing is counted any more must not see a packet.
    fn wait_for_the_end_of(&self, indices: &[u32]) {
        let devices = indices.iter().filter_map(|index| Device::find(&Device::name_of(*index)?).ok());
        for device in devices {
            if let Err(error) = refuse_strays(std::slice::from_ref(&device), self.pins.as_ref()) {
                tracing::warn!(interface = device.name, %error, "detached and still counted");
            }
        }
    }

    /// The claim on an interface, if this process has it not.
    fn claim(&self, device: &Device) -> Result<Option<Claim>, SourceError> {
        if self.claims.iter().any(|claim| claim.is_on(&device.name)) {
            return Ok(None);
        }
        let claim = Claim::on(&device.name)?;
        if self.slots.place(device.index).is_none() {
            refuse_strays(std::slice::from_ref(device), self.pins.as_ref())?;
        }
        Ok(Some(claim))
    }

    /// Whether a place in the ledger has another interface than before, or one of another name.
    fn is_renamed(&self, slot: usize, index: u32, name: &str) -> bool {
        let known = self.attachments.iter().find(|attachment| attachment.index == index);
        self.slots.place(index) != Some(slot) || known.is_none_or(|known| known.interface != name)
    }

    /// Detaches at all hooks of an interface.
    fn leave(&mut self, index: u32) {
        let (held, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.held).into_iter().partition(|held| held.index == index);
        self.held = rest;
        for held in held {
            let _gone = held.detach(&mut self.kernel);
        }
    }

    /// Detaches at a hook, where a program of `before` is still.
    fn let_go(&self, held: Held, before: &mut Kernel) {
        if let (Link::Pinned, Some(pins)) = (&held.link, &self.pins) {
            pins.unlink(held.index, held.direction);
        }
        // Of a link that is gone with its interface there is nothing to detach.
        if let Err(error) = held.detach(before) {
            tracing::debug!(%error, "nothing to detach");
        }
    }
}
