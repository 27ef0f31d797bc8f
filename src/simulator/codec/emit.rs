//! What both encoders can write. A walk over a value or a row calls these in the order of the wire.

use crate::simulator::value::Value;

/// A writer of one wire's text.
pub trait Emit {
    /// Text, reference or enum.
    fn text(&mut self, text: &str);
    /// int64.
    fn int(&mut self, value: i64);
    /// Int32.
    fn int32(&mut self, value: i32);
    /// A float.
    fn float(&mut self, value: f64);
    /// A boolean.
    fn bool(&mut self, value: bool);
    /// A date.
    fn date(&mut self, text: &str);
    /// Opens a set.
    fn open_set(&mut self);
    /// Separates the items of a set; called before each item.
    fn item(&mut self, first: bool);
    /// Closes a set.
    fn close_set(&mut self);
    /// Opens a map or record.
    fn open_map(&mut self);
    /// Starts a member; its value follows.
    fn key(&mut self, first: bool, key: &str);
    /// Ends a member.
    fn end_member(&mut self);
    /// Closes a map or record.
    fn close_map(&mut self);

    /// Writes a whole value.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Str(text) => self.text(text),
            Value::Int(value) => self.int(*value),
            Value::Int32(value) => self.int32(*value),
            Value::Float(value) => self.float(*value),
            Value::Bool(value) => self.bool(*value),
            Value::Date(text) => self.date(text),
            Value::Set(items) => {
                self.open_set();
                for (at, item) in items.iter().enumerate() {
                    self.item(at == 0);
                    self.value(item);
                }
                self.close_set();
            }
            Value::Map(members) => {
                self.open_map();
                for (at, (key, value)) in members.iter().enumerate() {
                    self.member(at == 0, key, value);
                }
                self.close_map();
            }
        }
    }

    /// Writes one member of a map.
    fn member(&mut self, first: bool, key: &str, value: &Value) {
        self.key(first, key);
        self.value(value);
        self.end_member();
    }
}
