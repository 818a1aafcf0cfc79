//! What is known of the producers with names: how far each has got, and where in the log its last records
//! are.
//!
//! A [`Claim`] says that records `number..` of a producer were given the sequence numbers `seq_no..`. It is
//! made before they are appended. What counts as stored is what of it lies within the log:
//! [`Producers::clip`] drops the rest, after an append that failed and at every start.

#[cfg(test)]
mod tests;

use crate::connection::link::Link;
use std::collections::{HashMap, VecDeque};
use std::sync::Weak;

/// Runs of records remembered for each producer: as many as it may have unacknowledged.
pub(crate) const CLAIMS_MAX: usize = 64;

/// A run of records: own numbers and sequence numbers both grow by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) number: u64,
    pub(crate) seq_no: u64,
    pub(crate) count: u32,
}

/// One name.
#[derive(Clone, Debug)]
pub(crate) struct Producer {
    pub(crate) name: String,
    /// The last own number before the oldest claim.
    pub(crate) base: u64,
    pub(crate) claims: VecDeque<Claim>,
    /// When it was used last, in milliseconds since 1970.
    pub(crate) used_ms: u64,
    /// The connection that speaks for it.
    pub(crate) owner: Option<Weak<Link>>,
}

impl Producer {
    pub(crate) fn new(name: String, used_ms: u64) -> Producer {
        Producer { name, base: 0, claims: VecDeque::new(), used_ms, owner: None }
    }

    /// Its last own number; 0 if none is known.
    pub(crate) fn last(&self) -> u64 {
        self.claims.back().map_or(self.base, |claim| claim.number + u64::from(claim.count) - 1)
    }

    /// Whether nothing is known of its numbers: the first may be any.
    pub(crate) fn is_new(&self) -> bool {
        self.last() == 0
    }

    /// Where its record `number` is; `None` if that is no longer known.
    pub(crate) fn seq_of(&self, number: u64) -> Option<u64> {
        let claim = self.claims.iter().rev().find(|claim| claim.number <= number)?;
        let offset = number - claim.number;
        (offset < claim.count.into()).then_some(claim.seq_no + offset)
    }

    pub(crate) fn claim(&mut self, new: Claim) {
        if self.is_new() {
            self.base = new.number - 1;
        }
        if let Some(last) = self.claims.back_mut() {
            let follows = |from: u64, to: u64| from + u64::from(last.count) == to;
            if follows(last.number, new.number)
                && follows(last.seq_no, new.seq_no)
                && let Some(count) = last.count.checked_add(new.count)
            {
                last.count = count;
                return;
            }
        }
        self.claims.push_back(new);
        if self.claims.len() > CLAIMS_MAX
            && let Some(oldest) = self.claims.pop_front()
        {
            self.base = oldest.number + u64::from(oldest.count) - 1;
        }
    }

    /// Drops what lies above `tip`.
    fn clip(&mut self, tip: u64) {
        while let Some(last) = self.claims.back_mut() {
            if last.seq_no > tip {
                self.claims.pop_back();
                continue;
            }
            let within = tip - last.seq_no + 1;
            if within < last.count.into() {
                last.count = within as u32;
            }
            return;
        }
    }
}

/// All names.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    by_id: HashMap<u32, Producer>,
    by_name: HashMap<String, u32>,
    next_id: u32,
}

impl Producers {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Producer> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Producer> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Producer)> {
        self.by_id.iter().map(|(id, producer)| (*id, producer))
    }

    /// Adds a producer under a number of its own.
    pub(crate) fn add(&mut self, producer: Producer) -> u32 {
        while self.by_id.contains_key(&self.next_id) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.put(id, producer);
        id
    }

    /// Adds or replaces a producer under a number that it had before.
    pub(crate) fn put(&mut self, id: u32, producer: Producer) {
        if let Some(old) = self.by_name.insert(producer.name.clone(), id) {
            self.by_id.remove(&old);
        }
        if let Some(old) = self.by_id.insert(id, producer)
            && self.by_name.get(&old.name) == Some(&id)
            && self.by_id.get(&id).is_some_and(|new| new.name != old.name)
        {
            self.by_name.remove(&old.name);
        }
    }

    /// Drops every claim above `tip`.
    pub(crate) fn clip(&mut self, tip: u64) {
        self.by_id.values_mut().for_each(|producer| producer.clip(tip));
    }

    /// Forgets whom nobody uses and nobody has used since `since_ms`.
    pub(crate) fn forget_unused(&mut self, since_ms: u64) {
        self.by_id.retain(|_, producer| producer.owner.is_some() || producer.used_ms >= since_ms);
        let by_id = &self.by_id;
        self.by_name.retain(|_, id| by_id.contains_key(id));
    }

    /// Forgets those that were unused for the longest time, until `max` are left; those in use stay.
    pub(crate) fn shrink_to(&mut self, max: usize) {
        let excess = self.len().saturating_sub(max);
        if excess == 0 {
            return;
        }
        let unused = self.by_id.iter().filter(|(_, producer)| producer.owner.is_none());
        let mut unused: Vec<_> = unused.map(|(id, producer)| (producer.used_ms, *id)).collect();
        unused.sort_unstable();
        for (_, id) in unused.into_iter().take(excess) {
            if let Some(producer) = self.by_id.remove(&id) {
                self.by_name.remove(&producer.name);
            }
        }
    }
}
