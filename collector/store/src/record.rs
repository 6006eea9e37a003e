//! How records and their keys are written.

use model::{DropRecord, RecordId, Timestamp};

/// The format of values. It must change whenever a type inside [`DropRecord`] changes: postcard keeps no field names.
/// A test with written bytes notices.
pub(crate) const FORMAT: u8 = 1;

/// Length of a record's key.
pub(crate) const KEY_LEN: usize = 16;

/// Sorts by time, then by arrival.
pub(crate) fn time_key(at: Timestamp, arrival: u64) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    let (time, order) = key.split_at_mut(8);
    time.copy_from_slice(&at.0.to_be_bytes());
    order.copy_from_slice(&arrival.to_be_bytes());
    key
}

/// The time a key was made from.
pub(crate) fn time_of(key: &[u8]) -> Timestamp {
    let mut bytes = [0; 8];
    for (byte, read) in bytes.iter_mut().zip(key) {
        *byte = *read;
    }
    Timestamp(u64::from_be_bytes(bytes))
}

/// Unambiguous, for texts cannot hold the length of what follows.
pub(crate) fn id_key(id: &RecordId) -> Vec<u8> {
    let mut key = Vec::with_capacity(id.node.len() + id.boot.len() + 16);
    key.extend_from_slice(&(id.node.len() as u64).to_be_bytes());
    key.extend_from_slice(id.node.as_bytes());
    key.extend_from_slice(id.boot.as_bytes());
    key.extend_from_slice(&id.sequence.to_be_bytes());
    key
}

/// Format, length of the id's key, that key (so that a record can be removed without being understood), the record.
#[allow(clippy::expect_used, reason = "postcard fails to write only to a full buffer, and a vector grows")]
pub(crate) fn encode(id: &[u8], record: &DropRecord) -> Vec<u8> {
    let mut value = vec![FORMAT];
    value.extend_from_slice(&(id.len() as u64).to_be_bytes());
    value.extend_from_slice(id);
    postcard::to_extend(record, value).expect("writing to a vector does not fail")
}

/// A record, or what is wrong with its bytes.
pub(crate) fn decode(value: &[u8]) -> Result<DropRecord, String> {
    let (_, record) = split(value)?;
    postcard::from_bytes(record).map_err(|error| format!("a record cannot be read: {error}"))
}

/// The id's key inside a value.
pub(crate) fn id_of(value: &[u8]) -> Result<&[u8], String> {
    split(value).map(|(id, _)| id)
}

fn split(value: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let short = || "a record is cut short".to_owned();
    let (format, rest) = value.split_first().ok_or_else(short)?;
    if *format != FORMAT {
        return Err(format!("a record has format {format}, not {FORMAT}"));
    }
    let (len, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let len = usize::try_from(u64::from_be_bytes(*len)).map_err(|_| short())?;
    rest.split_at_checked(len).ok_or_else(short)
}
