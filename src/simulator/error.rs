//! What the simulated server says no with.

/// A XenAPI error: a code and its parameters, as they stand on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The code, for example `HANDLE_INVALID`.
    pub code: String,
    /// The parameters in order.
    pub params: Vec<String>,
}

/// The result of an operation.
pub type ApiResult<T = super::value::Value> = Result<T, ApiError>;

impl ApiError {
    /// An error with parameters.
    pub fn new<P: Into<String>>(code: impl Into<String>, params: impl IntoIterator<Item = P>) -> Self {
        Self { code: code.into(), params: params.into_iter().map(Into::into).collect() }
    }

    /// An error without parameters.
    pub fn bare(code: impl Into<String>) -> Self {
        Self { code: code.into(), params: Vec::new() }
    }

    /// No object of `class` has this reference.
    pub fn handle_invalid(class: &str, reference: &str) -> Self {
        Self::new("HANDLE_INVALID", [class, reference])
    }

    /// What the server answers to anything it did not foresee.
    pub fn internal(text: impl Into<String>) -> Self {
        Self::new("INTERNAL_ERROR", [text.into()])
    }
}
