//! Plain values as parameters.

use crate::xenapi::wire::Param;

impl From<&str> for Param {
    fn from(text: &str) -> Self {
        Param::Str(text.to_owned())
    }
}

impl From<String> for Param {
    fn from(text: String) -> Self {
        Param::Str(text)
    }
}

impl From<bool> for Param {
    fn from(value: bool) -> Self {
        Param::Bool(value)
    }
}

impl From<i64> for Param {
    fn from(value: i64) -> Self {
        Param::Int(value)
    }
}

impl From<f64> for Param {
    fn from(value: f64) -> Self {
        Param::Float(value)
    }
}

impl<P: Into<Param>> FromIterator<P> for Param {
    fn from_iter<I: IntoIterator<Item = P>>(items: I) -> Self {
        Param::Set(items.into_iter().map(Into::into).collect())
    }
}

impl<K: Into<String>, V: Into<Param>> FromIterator<(K, V)> for Param {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> Self {
        Param::Map(items.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}
