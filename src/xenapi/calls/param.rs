//! Plain values as parameters.

use crate::xenapi::wire::Param;

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
