//! Connections that policies have no say in, and pods that have none.

use crate::connection::View;
use crate::detail::{Doubt, Note};
use crate::matching::Question;

/// A pod that has ended, or has a state but no address yet, takes no part in any connection.
pub(crate) fn gone(question: &Question<'_, '_>) -> Option<Doubt> {
    [question.subject, question.peer].into_iter().filter_map(|end| end.pod()).find_map(|pod| {
        if pod.finished() {
            return Some(Doubt::Finished(pod.meta.key.clone()));
        }
        // A manifest without a state is judged by its labels.
        let waiting = !pod.phase.is_empty() && pod.addresses.is_empty();
        waiting.then(|| Doubt::NoAddress(pod.meta.key.to_string()))
    })
}

/// A pod that connects to its own address stays within its network namespace, where no policy is enforced.
pub(crate) fn itself(question: &Question<'_, '_>) -> Option<Note> {
    let same = match (question.subject, question.peer) {
        (View::Pod(subject), View::Pod(peer)) => subject.meta.key == peer.meta.key,
        _ => false,
    };
    same.then_some(Note::Itself)
}

/// What no NetworkPolicy can deny: a pod and its own node in either direction. Cluster-wide policies know no such
/// exemption.
pub(crate) fn own_node(question: &Question<'_, '_>) -> Option<Note> {
    let node = question.peer.is_node()?;
    (question.subject.runs_on() == Some(node)).then(|| Note::OwnNode { node: node.to_owned() })
}
