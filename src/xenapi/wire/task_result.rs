//! What a finished task returned. The rule: a task's `result` is an XML-RPC value on both wires, so it is decoded here and nowhere
//! else (MEASURED: `<value>OpaqueRef:…</value>`, for an import `<value><array><data>…`).

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};

use super::{DecodeError, Limits, xml};

/// Decodes the `result` field of a task. Nothing at all (a void call, or an HTTP handler) decodes like an empty string.
///
/// # Errors
/// When the text is neither empty nor one XML-RPC value of the type asked for.
pub fn task_result<T: DeserializeOwned>(result: &str) -> Result<T, DecodeError> {
    let result = result.trim();
    if result.starts_with('<') {
        let limits = Limits { bytes: result.len() as u64, ..Limits::default() };
        return xml::decode_value(result.as_bytes(), limits, std::marker::PhantomData::<T>);
    }
    // XenServer 6.5 wrote two quotes for void.
    let text = if result == "\"\"" { "" } else { result };
    let plain: StrDeserializer<'_, DecodeError> = text.into_deserializer();
    T::deserialize(plain)
}
