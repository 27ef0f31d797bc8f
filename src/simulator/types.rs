//! From what stood on the wire to what the model says it is. Complaints are the real server's, which quotes the wire.

use super::codec::Rpc;
use super::error::{ApiError, ApiResult};
use super::model::{Model, Type};
use super::value::{Text, Value};

/// Reads a parameter as a value of its type.
///
/// # Errors
/// INTERNAL_ERROR with the real server's complaint.
pub fn typed(rpc: &Rpc, kind: &Type) -> ApiResult {
    match kind {
        Type::String | Type::Ref(_) => string(rpc).map(Value::str),
        Type::Int => int(rpc).map(Value::Int),
        Type::Float => float(rpc).map(Value::Float),
        Type::Bool => bool(rpc).map(Value::Bool),
        Type::DateTime => date(rpc),
        Type::Enum(name) => enumeration(rpc, name),
        Type::Set(item) => set(rpc, item),
        Type::Map(key, value) => map(rpc, key, value),
        Type::Record(_) => record(rpc),
        Type::Option(inner) => typed(rpc, inner),
        Type::Void => Ok(Value::void()),
    }
}

/// Any value, for members of records whose type nobody asked for.
pub fn untyped(rpc: &Rpc) -> Value {
    match rpc {
        Rpc::Null => Value::str(""),
        Rpc::Bool(value) => Value::Bool(*value),
        Rpc::Int(value) => Value::Int(*value),
        Rpc::Float(value) => Value::Float(*value),
        Rpc::String(text) | Rpc::Base64(text) => Value::str(&**text),
        Rpc::Date(text) => Value::Date(text.as_str().into()),
        Rpc::List(items) => Value::Set(items.iter().map(untyped).collect()),
        Rpc::Dict(members) => Value::Map(members.iter().map(|(key, value)| (Text::from(&**key), untyped(value))).collect()),
    }
}

fn failure(text: impl AsRef<str>) -> ApiError {
    ApiError::internal(format!("Failure({:?})", Ocaml(text.as_ref())))
}

fn expected(what: &str, rpc: &Rpc) -> ApiError {
    failure(format!("Expected {what}, got '{rpc}'"))
}

/// Text that `{:?}` prints as OCaml does.
struct Ocaml<'a>(&'a str);

impl std::fmt::Debug for Ocaml<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"")?;
        for byte in self.0.bytes() {
            match byte {
                b'"' => f.write_str("\\\"")?,
                b'\\' => f.write_str("\\\\")?,
                b'\n' => f.write_str("\\n")?,
                b'\t' => f.write_str("\\t")?,
                b'\r' => f.write_str("\\r")?,
                0x08 => f.write_str("\\b")?,
                0x20..=0x7e => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "\\{byte:03}")?,
            }
        }
        f.write_str("\"")
    }
}

fn string(rpc: &Rpc) -> ApiResult<&str> {
    match rpc {
        Rpc::String(text) => Ok(text),
        _ => Err(expected("string", rpc)),
    }
}

fn int(rpc: &Rpc) -> ApiResult<i64> {
    match rpc {
        Rpc::Int(value) => Ok(*value),
        Rpc::String(text) => text.parse().map_err(|_| failure("Int64.of_string")),
        _ => Err(expected("int64", rpc)),
    }
}

fn float(rpc: &Rpc) -> ApiResult<f64> {
    match rpc {
        Rpc::Float(value) => Ok(*value),
        Rpc::Int(value) => Ok(*value as f64),
        Rpc::String(text) => text.parse().map_err(|_| failure("float_of_string")),
        _ => Err(expected("float", rpc)),
    }
}

fn bool(rpc: &Rpc) -> ApiResult<bool> {
    match rpc {
        Rpc::Bool(value) => Ok(*value),
        _ => Err(expected("bool", rpc)),
    }
}

fn date(rpc: &Rpc) -> ApiResult {
    let text = rpc.text().ok_or_else(|| expected("datetime", rpc))?;
    let formats = ["%Y%m%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%.fZ", "%Y%m%dT%H:%M:%S"];
    let read = formats.iter().find_map(|format| chrono::NaiveDateTime::parse_from_str(text, format).ok());
    match read {
        Some(naive) => Ok(Value::date(naive.and_utc())),
        None => Err(ApiError::internal(format!("Invalid_argument({:?})", Ocaml(&format!("Clock__Date.of_iso8601: {text}"))))),
    }
}

fn enumeration(rpc: &Rpc, name: &str) -> ApiResult {
    let text = string(rpc)?;
    let values = Model::get().values(name);
    // Values are compared without case (rpcs of enums are lowered), and stored as the model spells them.
    match values.iter().find(|value| value.eq_ignore_ascii_case(text)) {
        Some(value) => Ok(Value::str(&**value)),
        None if values.is_empty() => Ok(Value::str(text)),
        None => Err(failure("Unknown tag/contents")),
    }
}

fn set(rpc: &Rpc, item: &Type) -> ApiResult {
    match rpc {
        Rpc::List(items) => items.iter().map(|rpc| typed(rpc, item)).collect::<ApiResult<_>>().map(Value::Set),
        _ => Err(failure(format!("Expecting Rpc.Enum, but found '{rpc}'"))),
    }
}

fn map(rpc: &Rpc, key: &Type, value: &Type) -> ApiResult {
    let Rpc::Dict(members) = rpc else { return Err(failure(format!("Expecting Rpc.Dict, but found '{rpc}'"))) };
    let member = |(name, rpc): &(String, Rpc)| {
        typed(&Rpc::String(name.clone()), key)?;
        Ok((Text::from(&**name), typed(rpc, value)?))
    };
    members.iter().map(member).collect::<ApiResult<_>>().map(Value::Map)
}

fn record(rpc: &Rpc) -> ApiResult {
    match rpc {
        Rpc::Dict(_) => Ok(untyped(rpc)),
        _ => Err(failure("bad __structure")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(rpc: Rpc, kind: &Type) -> String {
        typed(&rpc, kind).unwrap_err().params.remove(0)
    }

    #[test]
    fn numbers_may_be_text() {
        assert_eq!(typed(&Rpc::String("-5".to_owned()), &Type::Int), Ok(Value::Int(-5)));
        assert_eq!(complaint(Rpc::String("abc".to_owned()), &Type::Int), "Failure(\"Int64.of_string\")");
        assert_eq!(typed(&Rpc::Int(1), &Type::Float), Ok(Value::Float(1.0)));
    }

    #[test]
    fn wrong_types_are_quoted() {
        assert_eq!(complaint(Rpc::Int(5), &Type::String), "Failure(\"Expected string, got 'I(5)'\")");
        assert_eq!(
            complaint(Rpc::String("a".to_owned()), &Type::Set(Box::new(Type::String))),
            "Failure(\"Expecting Rpc.Enum, but found 'S(a)'\")"
        );
        let kind = Type::Enum("on_crash_behaviour".to_owned());
        assert_eq!(complaint(Rpc::String("explode".to_owned()), &kind), "Failure(\"Unknown tag/contents\")");
    }
}
