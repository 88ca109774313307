//! Topic ids: what tells a topic from another one of the same name, made after the first was deleted.
//!
//! In come names; out come the ids that the brokers gave them. librdkafka knows DescribeTopics and rdkafka links it, but
//! does not wrap it, so this module calls it itself; it owns all unsafe code of the log. When to ask is left to `watch`
//! and to those who open topics.

use std::ffi::{CString, c_char};
use std::ptr::NonNull;
use std::slice;
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

/// What librdkafka made for us, given back when dropped.
struct Owned<T> {
    pointer: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// Takes charge of `pointer`, which must be null or ours to give to `destroy`, once.
    fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> KafkaResult<Owned<T>> {
        let missing = || KafkaError::AdminOpCreation("librdkafka returned nothing".to_owned());
        Ok(Owned { pointer: NonNull::new(pointer).ok_or_else(missing)?, destroy })
    }

    fn pointer(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `new` was promised that the pointer may be destroyed, and only this does it.
        unsafe { (self.destroy)(self.pointer.as_ptr()) }
    }
}

/// Returns the ids of topics, in the order of `topics`; none for one that does not exist. Blocks for up to `timeout`.
///
/// An id of 0 comes from brokers that have no ids (before Apache Kafka 2.8).
///
/// # Errors
///
/// Whatever keeps the brokers from answering, or from answering for one of the topics.
pub fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[String],
    timeout: Duration,
) -> KafkaResult<Vec<Option<u128>>> {
    let names = topics.iter().map(|topic| CString::new(topic.as_str())).collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client outlives the call. Every object is freed once, by its `Owned`, in reverse order of its making:
    // the answer before the queue that it came from. `names` and the strings behind it live until librdkafka has copied
    // them, which it does in `of_topic_names`; an answer that comes too late is freed with its queue.
    unsafe {
        let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = native::rd_kafka_AdminOptions_new(client.native_ptr(), operation);
        let options = Owned::new(options, native::rd_kafka_AdminOptions_destroy)?;
        let mut refusal = [0 as c_char; 256];
        let code = native::rd_kafka_AdminOptions_set_request_timeout(
            options.pointer(),
            milliseconds,
            refusal.as_mut_ptr(),
            refusal.len(),
        );
        check(code)?;
        let collection = native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let collection = Owned::new(collection, native::rd_kafka_TopicCollection_destroy)?;
        let queue = native::rd_kafka_queue_new(client.native_ptr());
        let queue = Owned::new(queue, native::rd_kafka_queue_destroy)?;
        native::rd_kafka_DescribeTopics(client.native_ptr(), collection.pointer(), options.pointer(), queue.pointer());
        // librdkafka keeps the timeout itself and always answers; the second more is for its answer to get here.
        let answer = native::rd_kafka_queue_poll(queue.pointer(), milliseconds.saturating_add(1000));
        let timed_out = KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut);
        let answer = NonNull::new(answer).ok_or(timed_out)?;
        let answer = Owned::new(answer.as_ptr(), native::rd_kafka_event_destroy)?;
        check(native::rd_kafka_event_error(answer.pointer()))?;
        ids_in(&answer, topics.len())
    }
}

/// Reads the ids from the answer to a DescribeTopics of `expected` topics.
///
/// # Safety
///
/// `answer` must be an event of librdkafka.
unsafe fn ids_in(answer: &Owned<native::rd_kafka_event_t>, expected: usize) -> KafkaResult<Vec<Option<u128>>> {
    let mut ids = Vec::with_capacity(expected);
    // SAFETY: what is read belongs to the answer, which outlives this; librdkafka returns null for an event of another
    // kind, and descriptions in the order of the names asked for.
    unsafe {
        let result = native::rd_kafka_event_DescribeTopics_result(answer.pointer());
        let mut count = 0;
        let descriptions = match result.is_null() {
            true => std::ptr::null_mut(),
            false => native::rd_kafka_DescribeTopics_result_topics(result, &raw mut count),
        };
        if descriptions.is_null() || count != expected {
            return Err(KafkaError::AdminOp(RDKafkaErrorCode::BadMessage));
        }
        for description in slice::from_raw_parts(descriptions, count) {
            if description.is_null() {
                return Err(KafkaError::AdminOp(RDKafkaErrorCode::BadMessage));
            }
            let failure = native::rd_kafka_TopicDescription_error(*description);
            let failure = match failure.is_null() {
                true => native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
                false => native::rd_kafka_error_code(failure),
            };
            match RDKafkaErrorCode::from(failure) {
                RDKafkaErrorCode::NoError => {
                    let id = native::rd_kafka_TopicDescription_topic_id(*description);
                    let high = native::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned();
                    let low = native::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned();
                    ids.push(Some(u128::from(high) << 64 | u128::from(low)));
                }
                RDKafkaErrorCode::UnknownTopicOrPartition => ids.push(None),
                code => return Err(KafkaError::AdminOp(code)),
            }
        }
    }
    Ok(ids)
}

fn check(code: native::rd_kafka_resp_err_t) -> KafkaResult<()> {
    match RDKafkaErrorCode::from(code) {
        RDKafkaErrorCode::NoError => Ok(()),
        code => Err(KafkaError::AdminOp(code)),
    }
}
