//! A value of a request, as untyped as the wire left it.

use std::fmt;

/// One parameter of a call. `Display` is the form in which the real server quotes it in its complaints (rpc: src/lib/rpc.ml).
#[derive(Debug, Clone, PartialEq)]
pub enum Rpc {
    /// JSON null, XML nil.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number without a fraction.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    String(String),
    /// A date; only XML-RPC marks dates.
    Date(String),
    /// Bytes; only XML-RPC has them.
    Base64(String),
    /// An array.
    List(Vec<Rpc>),
    /// An object or struct, in the order of the wire.
    Dict(Vec<(String, Rpc)>),
}

impl Rpc {
    /// What it is, in the real server's words.
    pub fn text(&self) -> Option<&str> {
        match self {
            Rpc::String(text) | Rpc::Date(text) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rpc::Null => f.write_str("N"),
            Rpc::Bool(value) => write!(f, "B({value})"),
            Rpc::Int(value) => write!(f, "I({value})"),
            Rpc::Float(value) => write!(f, "F({})", super::number::general(*value, 6)),
            Rpc::String(text) => write!(f, "S({text})"),
            Rpc::Date(text) => write!(f, "D({text})"),
            Rpc::Base64(text) => write!(f, "B64({text})"),
            Rpc::List(items) => {
                f.write_str("[")?;
                list(f, items, |f, item| write!(f, "{item}"))?;
                f.write_str("]")
            }
            Rpc::Dict(members) => {
                f.write_str("{")?;
                list(f, members, |f, (key, value)| write!(f, "{key}:{value}"))?;
                f.write_str("}")
            }
        }
    }
}

fn list<T>(f: &mut fmt::Formatter<'_>, items: &[T], show: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            f.write_str(";")?;
        }
        show(f, item)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_quoted_as_the_server_quotes_it() {
        let session = Rpc::String("OpaqueRef:x".to_owned());
        assert_eq!(Rpc::Dict(vec![("session_id".to_owned(), session)]).to_string(), "{session_id:S(OpaqueRef:x)}");
        assert_eq!(Rpc::List(vec![Rpc::Int(5), Rpc::Null, Rpc::Bool(true)]).to_string(), "[I(5);N;B(true)]");
    }
}
