//! Puts what the watches bring into the one object set.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::objects::{EndpointSlice, NetworkPolicy, Pod, Service};
use model::{Gap, Key, ObjectSet, Timestamp};
use objects::Object;
use tokio::sync::mpsc;

use crate::history::{HasMeta, carry, carry_map};
use crate::shared::Shared;
use crate::status::{Kind, KindStatus, Status};

/// Pause between two changes of the set: a question that holds a snapshot during churn costs at most ten copies a
/// second. The first change after a quiet time is applied at once.
const APART: Duration = Duration::from_millis(100);

/// Updates applied under one lock.
const BATCH: usize = 4_096;

/// Gaps of single objects that a set carries; more are counted.
const OBJECT_GAPS: usize = 50;

/// An object as read.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) key: Key,
    pub(super) object: Option<Object>,
    pub(super) gaps: Vec<Gap>,
}

/// Something that was learnt about one kind.
#[derive(Debug)]
pub(super) enum Update {
    /// All of its objects.
    Replaced { kind: Kind, items: Vec<Item>, at: Timestamp, resync: bool },
    /// One is new or different.
    Applied { kind: Kind, item: Box<Item>, at: Timestamp },
    /// One is gone.
    Deleted { kind: Kind, key: Key, at: Timestamp },
    /// Nothing changed up to now.
    Current { kind: Kind, at: Timestamp },
    /// The watch is on.
    Connected { kind: Kind },
    /// A request failed.
    Failed { kind: Kind, problem: Gap, forbidden: bool },
}

/// Applies updates as they come, until all who send them are gone.
pub(super) async fn apply_all(shared: Arc<Shared>, mut updates: mpsc::Receiver<Update>) {
    let mut applier = Applier::default();
    let mut batch = Vec::new();
    while updates.recv_many(&mut batch, BATCH).await > 0 {
        if batch.iter().any(Update::changes_the_set) {
            shared.update(|set, status| applier.apply(set, status, batch.drain(..)));
            tokio::time::sleep(APART).await;
        } else {
            for update in batch.drain(..) {
                if let Update::Current { kind, at } = update {
                    shared.confirm(&[kind], at);
                }
            }
        }
    }
}

/// What has to be remembered beside the set: which object brought which gap.
#[derive(Debug, Default)]
pub(super) struct Applier {
    gaps: BTreeMap<(Kind, Key), Vec<Gap>>,
}

impl Applier {
    /// Applies updates to a set and its status.
    pub(super) fn apply(
        &mut self,
        set: &mut ObjectSet,
        status: &mut Status,
        updates: impl IntoIterator<Item = Update>,
    ) {
        for update in updates {
            self.apply_one(set, status, update);
        }
        for kind in &mut status.kinds {
            kind.objects = kind.kind.count(set);
        }
        set.current_at = status.current_at();
        set.gaps = self.all_gaps(status);
    }

    fn apply_one(&mut self, set: &mut ObjectSet, status: &mut Status, update: Update) {
        let (kind, at) = match &update {
            Update::Replaced { kind, at, .. }
            | Update::Applied { kind, at, .. }
            | Update::Deleted { kind, at, .. }
            | Update::Current { kind, at } => (*kind, Some(*at)),
            Update::Connected { kind } | Update::Failed { kind, .. } => (*kind, None),
        };
        let Some(known) = status.kinds.iter_mut().find(|known| known.kind == kind) else { return };
        if let Some(at) = at {
            known.current_at = known.current_at.max(at);
        }
        if let Update::Failed { problem, forbidden, .. } = update {
            known.forbidden = forbidden;
            known.problem = Some(problem);
            return;
        }
        known.forbidden = false;
        known.problem = None;
        match update {
            Update::Replaced { items, at, resync, .. } => {
                self.replace(set, known, items, resync.then_some(at));
                kind.cover(&mut set.coverage, true);
            }
            Update::Applied { item, at, .. } => {
                self.remember(kind, &item.key, item.gaps);
                match item.object {
                    Some(object) => put(set, object, at),
                    None => take(set, kind, &item.key),
                }
            }
            Update::Deleted { key, .. } => {
                self.remember(kind, &key, Vec::new());
                take(set, kind, &key);
            }
            Update::Current { .. } | Update::Connected { .. } | Update::Failed { .. } => {}
        }
    }

    /// Takes a list for all there is. On a resync, what equals the state before keeps its time.
    fn replace(
        &mut self,
        set: &mut ObjectSet,
        known: &mut KindStatus,
        items: Vec<Item>,
        resync: Option<Timestamp>,
    ) {
        let kind = known.kind;
        known.synced = true;
        known.resyncs += u64::from(resync.is_some());
        self.gaps.retain(|(of, _), _| *of != kind);
        let mut new = ObjectSet::default();
        for item in items {
            self.remember(kind, &item.key, item.gaps);
            if let Some(object) = item.object {
                objects::insert(&mut new, object);
            }
        }
        match kind {
            Kind::Services => replace_map(&mut set.services, new.services, resync),
            Kind::Pods => replace_map(&mut set.pods, new.pods, resync),
            Kind::EndpointSlices => replace_map(&mut set.slices, new.slices, resync),
            Kind::NetworkPolicies => replace_map(&mut set.policies, new.policies, resync),
            Kind::ClusterPolicies(kind) => {
                if let Some(at) = resync {
                    carry_map(&set.cluster_policies, &mut new.cluster_policies, at);
                }
                set.cluster_policies.retain(|(of, _), _| *of != kind);
                set.cluster_policies.append(&mut new.cluster_policies);
            }
            Kind::Namespaces => replace_map(&mut set.namespaces, new.namespaces, resync),
            Kind::Nodes => replace_map(&mut set.nodes, new.nodes, resync),
        }
    }

    fn remember(&mut self, kind: Kind, key: &Key, gaps: Vec<Gap>) {
        if gaps.is_empty() {
            self.gaps.remove(&(kind, key.clone()));
        } else {
            self.gaps.insert((kind, key.clone()), gaps);
        }
    }

    fn all_gaps(&self, status: &Status) -> Vec<Gap> {
        let kinds = status.kinds.iter().filter_map(|kind| match &kind.problem {
            Some(problem) => Some(problem.clone()),
            None if !kind.synced => Some(Gap::new(kind.kind.resource(), "not listed yet")),
            None => None,
        });
        let mut gaps: Vec<Gap> = kinds.collect();
        gaps.extend(self.gaps.values().flatten().take(OBJECT_GAPS).cloned());
        let more = self.gaps.values().map(Vec::len).sum::<usize>().saturating_sub(OBJECT_GAPS);
        if more > 0 {
            gaps.push(Gap::new("fields of other objects", format!("{more} more could not be understood")));
        }
        gaps
    }
}

impl Update {
    /// Whether applying it changes anything but a time.
    const fn changes_the_set(&self) -> bool {
        !matches!(self, Self::Current { .. })
    }
}

fn replace_map<K: Ord, T: HasMeta>(
    old: &mut BTreeMap<K, T>,
    mut new: BTreeMap<K, T>,
    resync: Option<Timestamp>,
) {
    if let Some(at) = resync {
        carry_map(old, &mut new, at);
    }
    *old = new;
}

/// Adds or replaces an object that differs as of `at`.
fn put(set: &mut ObjectSet, object: Object, at: Timestamp) {
    match object {
        Object::Service(new) => put_map(&mut set.services, Service::key, new, at),
        Object::Pod(new) => put_map(&mut set.pods, Pod::key, new, at),
        Object::EndpointSlice(new) => put_map(&mut set.slices, EndpointSlice::key, new, at),
        Object::NetworkPolicy(new) => put_map(&mut set.policies, NetworkPolicy::key, new, at),
        Object::ClusterPolicy(mut new) => {
            let key = (new.kind, new.meta.key.name.clone());
            carry(set.cluster_policies.get(&key), &mut new, at);
            set.cluster_policies.insert(key, new);
        }
        Object::Namespace(mut new) => {
            carry(set.namespaces.get(&new.meta.key.name), &mut new, at);
            set.namespaces.insert(new.meta.key.name.clone(), new);
        }
        Object::Node(mut new) => {
            carry(set.nodes.get(&new.meta.key.name), &mut new, at);
            set.nodes.insert(new.meta.key.name.clone(), new);
        }
    }
}

fn put_map<T: HasMeta>(map: &mut BTreeMap<Key, T>, key: fn(&T) -> &Key, mut new: T, at: Timestamp) {
    carry(map.get(key(&new)), &mut new, at);
    map.insert(key(&new).clone(), new);
}

fn take(set: &mut ObjectSet, kind: Kind, key: &Key) {
    match kind {
        Kind::Services => drop(set.services.remove(key)),
        Kind::Pods => drop(set.pods.remove(key)),
        Kind::EndpointSlices => drop(set.slices.remove(key)),
        Kind::NetworkPolicies => drop(set.policies.remove(key)),
        Kind::ClusterPolicies(kind) => drop(set.cluster_policies.remove(&(kind, key.name.clone()))),
        Kind::Namespaces => drop(set.namespaces.remove(&key.name)),
        Kind::Nodes => drop(set.nodes.remove(&key.name)),
    }
}
