//! What the messages do. Generated messages (getters, setters) are answered from the model; everything with a meaning of its own
//! stands here, one file per class or topic.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::context::Context;
use super::error::{ApiError, ApiResult};
use super::value::{Ref, Text, Value};

/// An operation in progress.
pub type Running = Pin<Box<dyn Future<Output = ApiResult> + Send>>;

/// What a message does.
pub type Handler = fn(Arc<Context>, Args) -> Running;

/// The parameters of a call, without the session, already checked against the model's types where it says so.
#[derive(Debug, Clone)]
pub struct Args(pub Vec<Value>);

impl Args {
    /// The text, reference, enum or date at a position.
    ///
    /// # Errors
    /// INTERNAL_ERROR, as the server answers a wrong type.
    pub fn text(&self, at: usize) -> ApiResult<Text> {
        self.0.get(at).and_then(Value::as_text).cloned().ok_or_else(|| ApiError::internal("Failure(\"Expected string\")"))
    }

    /// The reference at a position.
    ///
    /// # Errors
    /// INTERNAL_ERROR, as the server answers a wrong type.
    pub fn reference(&self, at: usize) -> ApiResult<Ref> {
        self.text(at)
    }

    /// The boolean at a position.
    ///
    /// # Errors
    /// INTERNAL_ERROR, as the server answers a wrong type.
    pub fn bool(&self, at: usize) -> ApiResult<bool> {
        match self.0.get(at) {
            Some(Value::Bool(value)) => Ok(*value),
            _ => Err(ApiError::internal("Failure(\"Expected bool\")")),
        }
    }

    /// The integer at a position.
    ///
    /// # Errors
    /// INTERNAL_ERROR, as the server answers a wrong type.
    pub fn int(&self, at: usize) -> ApiResult<i64> {
        match self.0.get(at) {
            Some(Value::Int(value)) => Ok(*value),
            _ => Err(ApiError::internal("Failure(\"Expected int64\")")),
        }
    }
}

/// What a message does, by its full name such as `VM.snapshot`; none when it has no meaning of its own.
pub fn find(_method: &str) -> Option<Handler> {
    None
}
