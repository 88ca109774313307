//! What a client is told when something did not work.
//!
//! Out: [`Failure`]: one of few kinds, each of which tells the caller what to do, with a message that says where and what.
//! Roles have errors of their own, with all causes; they become failures where a request is answered.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the caller can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Change the request.
    InvalidRequest,
    /// Say who you are.
    Unauthorized,
    /// Ask for the right to do this.
    Forbidden,
    /// Name something that is there.
    NotFound,
    /// Ask for less, or allow more time.
    Timeout,
    /// Look at what is there already.
    Conflict,
    /// Send less at once.
    TooLarge,
    /// Come back later.
    TooManyRequests,
    /// Report it.
    Internal,
    /// Send it again.
    Unavailable,
    /// Ask for less, or allow more memory.
    Resources,
}

impl FailureKind {
    /// The status of an HTTP answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Timeout => 408,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
            Self::Resources => 507,
        }
    }
}

/// A request that was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What the caller can do.
    pub kind: FailureKind,
    /// What happened, and where.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// The line of the SQL text, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u64>,
    /// The character in that line, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<u64>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, line: None, column: None }
    }

    /// A request that has to be changed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(FailureKind::InvalidRequest, message)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}
