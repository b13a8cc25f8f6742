//! Records on their way in and out of Kafka.

use std::{ffi::CStr, ptr, sync::Arc};

use bytes::Bytes;
use rdkafka::{
    Message,
    bindings::{rd_kafka_header_get_all, rd_kafka_message_headers},
    message::{BorrowedMessage, Header, OwnedHeaders},
    types::RDKafkaRespErr,
};

use super::Config;
use crate::{NewRecord, Partition, RawHeaders, Record, Topic};

/// A record ready to be sent. Everything that can be done before the transaction begins is done.
pub(super) struct Outgoing {
    pub(super) topic: String,
    pub(super) key: String,
    pub(super) headers: OwnedHeaders,
    pub(super) value: Bytes,
}

/// Makes records ready.
pub(super) fn outgoing(config: &Config, records: &[NewRecord]) -> Vec<Outgoing> {
    records
        .iter()
        .map(|record| {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for (key, value) in &record.headers {
                headers = headers.insert(Header { key, value: Some(value) });
            }
            Outgoing {
                topic: config.name(&record.topic),
                key: record.key.clone(),
                headers,
                value: record.value.clone(),
            }
        })
        .collect()
}

/// A record as deckle knows it. Text that is not UTF-8 (any producer may write to a topic) is read as far as it is.
pub(super) fn incoming(message: &BorrowedMessage<'_>, topic: &Topic) -> Record {
    let offset = message.offset();
    Record {
        partition: Partition { topic: Arc::clone(topic), number: message.partition() },
        offset,
        appended_at_us: appended_at_us(message.timestamp().to_millis().unwrap_or(0), offset),
        key: message.key().map(|key| String::from_utf8_lossy(key).into_owned()).unwrap_or_default(),
        headers: headers(message),
        value: message.payload().map(Bytes::copy_from_slice).unwrap_or_default(),
    }
}

/// The broker counts milliseconds; the offset tells records of the same one apart.
pub(super) fn appended_at_us(millis: i64, offset: i64) -> i64 {
    millis * 1_000 + offset.rem_euclid(1_000)
}

/// The headers. Not through `Message::headers`, which panics over a name that is not UTF-8: one such record of a
/// stranger would stop every worker, for ever.
fn headers(message: &BorrowedMessage<'_>) -> RawHeaders {
    let mut headers = RawHeaders::new();
    let mut list = ptr::null_mut();
    // SAFETY: the message is borrowed for the whole call and owns its headers; every pointer that librdkafka gives is
    // into them, and is copied at once.
    unsafe {
        if rd_kafka_message_headers(message.ptr(), &raw mut list) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return headers;
        }
        for index in 0.. {
            let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
            let found = rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut length);
            if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                break;
            }
            let bytes: &[u8] =
                if value.is_null() { &[] } else { std::slice::from_raw_parts(value.cast::<u8>(), length) };
            headers.insert(
                CStr::from_ptr(name).to_string_lossy().into_owned(),
                String::from_utf8_lossy(bytes).into_owned(),
            );
        }
    }
    headers
}
