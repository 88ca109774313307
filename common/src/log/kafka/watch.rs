//! The watch: compares, every now and then, the topics in use with those that the log was made with.
//!
//! A topic that was deleted and made again may go on for a reader just where the first one ended, or take an append as if
//! nothing had happened; the brokers and librdkafka do not tell. The watch finds it within `identity_check_interval` and
//! stops the topic for all of its readers and appenders. It owns nothing and ends with the log.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::shared::Shared;

/// Watches until the log has gone.
pub(super) async fn watch(shared: Weak<Shared>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once, and the topics were just opened.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match shared.upgrade() {
            Some(shared) => shared.compare_all().await,
            None => return,
        }
    }
}
