//! Messages of the stream: their bounds, and the steps around `proto`'s conversions. When to send is decided elsewhere.

use std::sync::Arc;

use model::{DropRecord, Gap, NodeReport, ProbeOutcome};
use proto::v1::agent_message::Kind as Said;
use proto::{convert, v1};

/// The largest message taken from the collector; its largest is a probe with a packet and a pod's addresses.
pub(super) const MOST_BYTES_OF_A_MESSAGE: usize = 1024 * 1024;
/// Records of one batch, well below what the other side takes (512 is what the schema's readers expect at most).
pub(super) const MOST_RECORDS_OF_A_BATCH: usize = 256;
/// Bytes of one batch. gRPC peers take 4 MiB unless told otherwise; half of it leaves room for the last record.
const MOST_BYTES_OF_A_BATCH: usize = 2 * 1024 * 1024;
/// Bytes of one record or answer. A walk over all branches of a Service with thousands of endpoints can pass it.
const MOST_BYTES_OF_AN_ITEM: usize = 3 * 512 * 1024;

/// The next batch out of `records`: as many as fit, in order, and the sequence of the last one taken.
pub(super) fn batch(records: &[Arc<DropRecord>]) -> (v1::Drops, Option<u64>) {
    let mut batch = v1::Drops::default();
    let mut bytes = 0;
    let mut last = None;
    for record in records {
        let sent = record_within_bounds(record);
        bytes += size(&sent);
        if bytes > MOST_BYTES_OF_A_BATCH && !batch.records.is_empty() {
            break;
        }
        batch.records.push(sent);
        last = Some(record.id.sequence);
    }
    (batch, last)
}

/// The answer to probe `id`; one too large to send becomes a gap that says so.
pub(super) fn answer(id: u64, outcome: &ProbeOutcome) -> Said {
    let sent = convert::probe_answer(id, outcome);
    let bytes = size(&sent);
    let why = if bytes > MOST_BYTES_OF_AN_ITEM {
        format!("it takes {bytes} bytes, more than the {MOST_BYTES_OF_AN_ITEM} that one message carries")
    } else if let Err(error) = convert::probe_answer_to_model(sent.clone()) {
        format!("the collector would not take it: {error}")
    } else {
        return Said::ProbeAnswer(sent);
    };
    let gap = Gap::new("the answer of this node", why).with_remedy("ask for one backend's address instead");
    Said::ProbeAnswer(convert::probe_answer(id, &ProbeOutcome::Failed(gap)))
}

/// The agent's state.
pub(super) fn status(report: &NodeReport) -> v1::Status {
    convert::status(&report.sources, report.lost, report.service_proxy)
}

/// A probe as the model knows it, or what is wrong with it.
pub(super) fn probe(sent: v1::Probe) -> Result<model::Probe, convert::ConvertError> {
    convert::probe_to_model(sent)
}

/// Code and message of a status from outside, fit to print.
pub(super) fn status_text(status: &tonic::Status) -> String {
    // Long enough for any sentence, short enough for a log line.
    const MOST_CHARACTERS: usize = 500;
    let message: String = status.message().chars().take(MOST_CHARACTERS).collect();
    format!("{:?}: {}", status.code(), message.escape_debug())
}

/// A record that the other side would not take loses its walk, not its place in the sequence: a stream that ends over
/// one record would end over it for ever.
fn record_within_bounds(record: &DropRecord) -> v1::DropRecord {
    let mut sent = convert::drop_record(record);
    let taken = |sent: &v1::DropRecord| {
        size(sent) <= MOST_BYTES_OF_AN_ITEM && convert::drop_to_model(sent.clone()).is_ok()
    };
    if sent.walk.is_some() && !taken(&sent) {
        sent.walk = None;
    }
    sent
}

fn size(message: &impl prost::Message) -> usize {
    message.encoded_len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{drop_record, walk};

    fn numbered(count: u64, walked: usize) -> Vec<Arc<DropRecord>> {
        (1..=count)
            .map(|sequence| {
                let mut record = drop_record(1);
                record.id.sequence = sequence;
                record.walk = (walked > 0).then(|| Box::new(walk(walked)));
                Arc::new(record)
            })
            .collect()
    }

    #[test]
    fn a_batch_stays_under_its_bytes_and_goes_on_where_it_ended() {
        let records = numbered(60, 1_000);
        let one = size(&convert::drop_record(&records[0]));
        assert!(
            one * 60 > MOST_BYTES_OF_A_BATCH && one < MOST_BYTES_OF_AN_ITEM,
            "{one} bytes each prove nothing"
        );
        let mut taken = 0;
        let mut batches = 0;
        while taken < records.len() {
            let (sent, last) = batch(&records[taken..]);
            assert!(size(&sent) <= MOST_BYTES_OF_A_BATCH);
            assert_eq!(sent.records.last().and_then(|r| r.id.as_ref()).map(|id| id.sequence), last);
            taken += sent.records.len();
            assert_eq!(last, Some(taken as u64));
            batches += 1;
        }
        assert!(batches > 1);
        assert_eq!(batch(&[]), (v1::Drops::default(), None));
    }

    #[test]
    fn a_walk_that_would_not_be_taken_is_left_out_and_an_answer_becomes_a_gap() {
        // Too many bytes, and more steps than the schema's readers take.
        for (steps, word) in [(40_000, "bytes"), (2_000, "steps")] {
            let records = numbered(1, steps);
            let (sent, last) = batch(&records);
            assert_eq!((sent.records.len(), last), (1, Some(1)));
            assert_eq!(sent.records[0].walk, None);
            let outcome = ProbeOutcome::Walk(Box::new(walk(steps)));
            let Said::ProbeAnswer(sent) = answer(7, &outcome) else { panic!("not an answer") };
            assert_eq!(sent.id, 7);
            let Some(v1::probe_answer::Outcome::Failed(gap)) = sent.outcome else {
                panic!("{steps} steps were sent")
            };
            assert!(gap.why.contains(word), "{gap:?}");
        }
    }
}
