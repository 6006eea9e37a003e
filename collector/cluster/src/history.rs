//! Since when each object is as it is: unchanged objects keep their time, changed and new ones take the new one.
//!
//! It compares what was understood of the objects, so a change of a field that no diagnosis uses (a heartbeat, a
//! formatting change of a file) does not make evidence about the object old.

use std::collections::BTreeMap;

use model::objects::{
    ClusterPolicy, EndpointSlice, Meta, Namespace, NetworkPolicy, Node, OtherPolicy, Pod, Service,
};
use model::{ObjectSet, Timestamp};

/// An object with metadata.
pub(crate) trait HasMeta: PartialEq {
    fn meta_mut(&mut self) -> &mut Meta;
    fn meta(&self) -> &Meta;
}

macro_rules! has_meta {
    ($($object:ty),*) => {$(
        impl HasMeta for $object {
            fn meta_mut(&mut self) -> &mut Meta {
                &mut self.meta
            }
            fn meta(&self) -> &Meta {
                &self.meta
            }
        }
    )*};
}

has_meta!(Service, Pod, EndpointSlice, NetworkPolicy, ClusterPolicy, OtherPolicy, Namespace, Node);

/// Stamps a new reading: what equals the old reading keeps its time, the rest is taken to have changed at `seen_at`.
pub(crate) fn carry_over(old: &ObjectSet, new: &mut ObjectSet, seen_at: Timestamp) {
    carry_map(&old.services, &mut new.services, seen_at);
    carry_map(&old.pods, &mut new.pods, seen_at);
    carry_map(&old.slices, &mut new.slices, seen_at);
    carry_map(&old.policies, &mut new.policies, seen_at);
    carry_map(&old.cluster_policies, &mut new.cluster_policies, seen_at);
    carry_map(&old.other_policies, &mut new.other_policies, seen_at);
    carry_map(&old.namespaces, &mut new.namespaces, seen_at);
    carry_map(&old.nodes, &mut new.nodes, seen_at);
}

/// The same for one kind.
pub(crate) fn carry_map<K: Ord, T: HasMeta>(
    old: &BTreeMap<K, T>,
    new: &mut BTreeMap<K, T>,
    seen_at: Timestamp,
) {
    for (key, object) in new {
        carry(old.get(key), object, seen_at);
    }
}

/// The same for one object.
pub(crate) fn carry<T: HasMeta>(old: Option<&T>, new: &mut T, seen_at: Timestamp) {
    let Some(old) = old else {
        new.meta_mut().changed_at = seen_at;
        return;
    };
    new.meta_mut().changed_at = old.meta().changed_at;
    // A file that was renamed did not change its objects.
    let source = std::mem::replace(&mut new.meta_mut().source, old.meta().source.clone());
    if new != old {
        new.meta_mut().changed_at = seen_at;
    }
    new.meta_mut().source = source;
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Key;

    fn service(name: &str, selector: &str, changed_at: u64) -> Service {
        let mut service = Service::default();
        service.meta.key = Key::new("shop", name);
        service.meta.changed_at = Timestamp(changed_at);
        service.meta.source = "a.yaml".into();
        service.selector.insert("app".into(), selector.into());
        service
    }

    fn set(services: impl IntoIterator<Item = Service>) -> ObjectSet {
        let services = services.into_iter().map(|service| (service.meta.key.clone(), service)).collect();
        ObjectSet { services, ..ObjectSet::default() }
    }

    fn changed_at(set: &ObjectSet, name: &str) -> u64 {
        set.services[&Key::new("shop", name)].meta.changed_at.0
    }

    #[test]
    fn only_what_differs_gets_the_new_time() {
        let old = set([service("same", "x", 10), service("edited", "x", 20)]);
        let mut new = set([service("same", "x", 99), service("edited", "y", 99), service("added", "x", 99)]);
        carry_over(&old, &mut new, Timestamp(50));
        assert_eq!(changed_at(&new, "same"), 10);
        assert_eq!(changed_at(&new, "edited"), 50);
        assert_eq!(changed_at(&new, "added"), 50);
    }

    #[test]
    fn a_renamed_file_keeps_the_time_and_shows_the_new_name() {
        let old = set([service("same", "x", 10)]);
        let mut moved = service("same", "x", 99);
        moved.meta.source = "b.yaml".into();
        let mut new = set([moved]);
        carry_over(&old, &mut new, Timestamp(50));
        let object = &new.services[&Key::new("shop", "same")];
        assert_eq!((object.meta.changed_at.0, object.meta.source.as_str()), (10, "b.yaml"));
    }
}
