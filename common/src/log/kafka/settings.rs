//! What a topic must be like to be a log: the settings that it is made with, and the rules that an existing one is held
//! to.
//!
//! In come a topic's settings as the brokers tell them; out goes the first rule that they break, with what to do about
//! it. Asking the brokers is left to `brokers`.

use super::super::LogError;
use super::topic::FRAMING_BYTES_MAX;

/// What the brokers tell of a topic.
#[derive(Clone, Debug)]
pub(super) struct TopicShape {
    /// How many brokers there are.
    pub(super) brokers: usize,
    /// How many partitions the topic has.
    pub(super) partitions: usize,
    /// How many replicas the partition with the fewest has.
    pub(super) replicas: usize,
    /// Its settings, by name, as far as the brokers show them.
    pub(super) settings: Vec<(String, String)>,
}

impl TopicShape {
    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// Returns the settings to make a topic with: what [`check`] asks for.
pub(super) fn settings_of_new(replicas: usize, record_bytes_max: u64) -> Vec<(&'static str, String)> {
    vec![
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("retention.bytes", "-1".to_owned()),
        ("unclean.leader.election.enable", "false".to_owned()),
        ("min.insync.replicas", replicas.clamp(1, 2).to_string()),
        ("max.message.bytes", (record_bytes_max + FRAMING_BYTES_MAX).to_string()),
        // Else brokers refuse the records of a node whose clock is an hour ahead; nothing reads the time.
        ("message.timestamp.type", "LogAppendTime".to_owned()),
    ]
}

/// Checks that a topic of a log with `shards` shards keeps every record until the log is truncated, and loses none with
/// one broker. Returns the largest record that it takes, which is `record_bytes_max` or less.
///
/// # Errors
///
/// [`LogError::TopicSetting`], for the first rule broken.
pub(super) fn check(
    topic: &str,
    shape: &TopicShape,
    shards: u16,
    batch_bytes_max: u64,
    record_bytes_max: u64,
) -> Result<u64, LogError> {
    let broken = |setting, found: &str, rule: String, remedy: String| {
        let (topic, found) = (topic.to_owned(), found.to_owned());
        Err(LogError::TopicSetting { topic, setting, found, rule, remedy })
    };
    let set = |value: &str| format!("set it to {value} with kafka-configs");
    if shape.partitions != usize::from(shards) {
        let rule = format!("the log has {shards} shards, one for each partition");
        let remedy = "give the collection its shard count back, or another prefix to this log".to_owned();
        return broken("partitions", &shape.partitions.to_string(), rule, remedy);
    }
    let equal = [
        ("cleanup.policy", "delete", "a log that is compacted loses records"),
        ("retention.ms", "-1", "a log keeps its records until it is truncated"),
        ("retention.bytes", "-1", "a log keeps its records until it is truncated"),
        ("unclean.leader.election.enable", "false", "a leader that lags loses acknowledged records"),
    ];
    for (setting, value, rule) in equal {
        let found = shape.setting(setting).unwrap_or("nothing that this user may see");
        if found != value {
            return broken(setting, found, rule.to_owned(), set(value));
        }
    }
    let in_sync = shape.setting("min.insync.replicas").unwrap_or_default();
    if shape.brokers >= 2 && shape.replicas < 2 {
        let rule = format!("with {} brokers a record must survive the loss of one", shape.brokers);
        let remedy = "add replicas with kafka-reassign-partitions".to_owned();
        return broken("replication factor", &shape.replicas.to_string(), rule, remedy);
    }
    if shape.brokers >= 2 && in_sync.parse::<u64>().unwrap_or(0) < 2 {
        let rule = format!("with {} brokers an acknowledged record must be on two of them", shape.brokers);
        return broken("min.insync.replicas", in_sync, rule, set("2"));
    }
    let largest = shape.setting("max.message.bytes").unwrap_or_default();
    let bytes = largest.parse::<u64>().unwrap_or(0);
    if bytes < batch_bytes_max + FRAMING_BYTES_MAX {
        let least = batch_bytes_max + FRAMING_BYTES_MAX;
        let rule = format!("it must take a batch of batch_bytes_max, {batch_bytes_max} bytes");
        return broken("max.message.bytes", largest, rule, set(&format!("{least} or more")));
    }
    Ok(record_bytes_max.min(bytes - FRAMING_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::{FRAMING_BYTES_MAX, LogError, TopicShape, check, settings_of_new};

    fn shape(brokers: usize, partitions: usize, replicas: usize) -> TopicShape {
        let settings = settings_of_new(replicas, 80 << 20);
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        TopicShape { brokers, partitions, replicas, settings }
    }

    fn set(mut shape: TopicShape, name: &str, value: &str) -> TopicShape {
        shape.settings.iter_mut().find(|(other, _)| other == name).unwrap().1 = value.to_owned();
        shape
    }

    #[test]
    fn a_topic_made_by_the_log_passes() {
        for brokers in [1, 2, 3, 9] {
            assert_eq!(check("t", &shape(brokers, 4, brokers.min(3)), 4, 1_000_000, 80 << 20).unwrap(), 80 << 20);
        }
    }

    #[test]
    fn every_broken_rule_is_named_with_its_remedy() {
        let refuse = |shape: TopicShape, name: &str, remedy: &str| {
            let error = check("basalt.c7", &shape, 4, 1_000_000, 80 << 20).unwrap_err();
            assert!(matches!(&error, LogError::TopicSetting { setting, .. } if *setting == name), "{error}");
            for word in ["basalt.c7", name, remedy] {
                assert!(error.to_string().contains(word), "{error} lacks {word}");
            }
        };
        refuse(shape(1, 5, 1), "partitions", "shard count");
        refuse(set(shape(1, 4, 1), "cleanup.policy", "compact,delete"), "cleanup.policy", "set it to delete");
        refuse(set(shape(1, 4, 1), "retention.ms", "604800000"), "retention.ms", "set it to -1");
        refuse(set(shape(1, 4, 1), "retention.bytes", "1000"), "retention.bytes", "set it to -1");
        let unclean = "unclean.leader.election.enable";
        refuse(set(shape(1, 4, 1), unclean, "true"), unclean, "set it to false");
        refuse(shape(3, 4, 1), "replication factor", "kafka-reassign-partitions");
        refuse(set(shape(3, 4, 3), "min.insync.replicas", "1"), "min.insync.replicas", "set it to 2");
        refuse(set(shape(1, 4, 1), "max.message.bytes", "500000"), "max.message.bytes", "or more");
        refuse(TopicShape { settings: Vec::new(), ..shape(1, 4, 1) }, "cleanup.policy", "set it to delete");
    }

    #[test]
    fn one_broker_alone_needs_no_second() {
        assert!(check("t", &set(shape(1, 1, 1), "min.insync.replicas", "1"), 1, 1_000_000, 80 << 20).is_ok());
    }

    #[test]
    fn a_topic_may_take_less_than_the_log() {
        let bytes = (2_000_000 + FRAMING_BYTES_MAX).to_string();
        let smaller = set(shape(1, 1, 1), "max.message.bytes", &bytes);
        assert_eq!(check("t", &smaller, 1, 1_000_000, 80 << 20).unwrap(), 2_000_000);
    }
}
