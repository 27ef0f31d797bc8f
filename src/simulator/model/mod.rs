//! The data model as facts: which classes, fields and messages exist, of which type, since and until which release.
//!
//! The facts stand in `facts.tsv`, derived from the published data model and from recorded answers; descriptions stay there.
//! Rows hold every column of the newest release; a release is a view on them, applied when a record leaves the server.

mod parse;
mod release;

use std::collections::HashMap;
use std::sync::OnceLock;

pub use release::{Release, release};

use super::value::{NULL, Value};

/// The type of a field, parameter or result.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// Text.
    String,
    /// int64.
    Int,
    /// A float.
    Float,
    /// A boolean.
    Bool,
    /// A date.
    DateTime,
    /// Nothing.
    Void,
    /// One of named values.
    Enum(String),
    /// A reference to an object of a class.
    Ref(String),
    /// A record of a class.
    Record(String),
    /// A set.
    Set(Box<Type>),
    /// A map.
    Map(Box<Type>, Box<Type>),
    /// A member that may be absent.
    Option(Box<Type>),
}

/// Who writes a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, through set_, add_to_ and remove_from_.
    ReadWrite,
    /// The constructor.
    Constructor,
    /// Only the server.
    ReadOnly,
}

/// A field of a class.
#[derive(Debug)]
pub struct Field {
    /// Its wire name, such as `name_label`.
    pub name: String,
    /// Its type.
    pub kind: Type,
    /// Who writes it.
    pub access: Access,
    /// The first release that sends it.
    pub since: Release,
    /// The release that removed it; the field stays on the wire afterwards (04-records, rules for every class).
    pub removed: Option<Release>,
    /// The constructor's default; none means that a constructor must be given it.
    pub default: Option<Value>,
}

/// A parameter of a message.
#[derive(Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Type,
    /// The first release whose message takes it.
    pub since: Release,
    /// What stands for it when it is left out; none means that it must be given.
    pub default: Option<Value>,
}

/// A message of a class.
#[derive(Debug)]
pub struct Message {
    /// Its name without the class, such as `snapshot`.
    pub name: String,
    /// What it returns.
    pub result: Type,
    /// Its parameters, the session included where it takes one.
    pub params: Vec<Param>,
    /// The first release that has it.
    pub since: Release,
    /// The release that deprecated it.
    pub deprecated: Option<Release>,
    /// The release that removed it: from then on it answers MESSAGE_REMOVED.
    pub removed: Option<Release>,
    /// The least role that may call it; none: anybody.
    pub role: Option<String>,
    /// True for generated messages (getters, setters).
    pub implicit: bool,
    /// True when there is an `Async.` form; such a message makes a task when it is called synchronously, too.
    pub asynchronous: bool,
    /// True for messages that only members of the pool may send to one another.
    pub internal: bool,
    /// Errors it documents.
    pub errors: Vec<String>,
}

/// A class.
#[derive(Debug)]
pub struct Class {
    /// Its wire name, such as `VM` or `host`.
    pub name: String,
    /// The first release that has it.
    pub since: Release,
    /// Its fields in the order of the wire.
    pub fields: Vec<Field>,
    /// Its messages.
    pub messages: Vec<Message>,
    by_field: HashMap<String, usize>,
    by_message: HashMap<String, usize>,
}

impl Message {
    /// True for messages whose first parameter is a session.
    pub fn takes_session(&self) -> bool {
        self.params.first().is_some_and(|param| param.name == "session_id")
    }
}

impl Class {
    /// The column of a field.
    pub fn column(&self, field: &str) -> Option<usize> {
        self.by_field.get(field).copied()
    }

    /// A field by its wire name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.column(name).map(|at| &self.fields[at])
    }

    /// A message by its name without the class.
    pub fn message(&self, name: &str) -> Option<&Message> {
        self.by_message.get(name).map(|at| &self.messages[*at])
    }
}

/// The whole data model.
#[derive(Debug)]
pub struct Model {
    classes: Vec<Class>,
    by_name: HashMap<String, usize>,
    /// Class and message by both spellings, `VM.start` and `VM_start`.
    by_wire_name: HashMap<String, (usize, usize)>,
    enums: HashMap<String, Vec<String>>,
}

impl Model {
    /// The model, read once.
    pub fn get() -> &'static Model {
        static MODEL: OnceLock<Model> = OnceLock::new();
        MODEL.get_or_init(|| parse::facts(include_str!("facts.tsv"), include_str!("params.tsv")))
    }

    /// All classes, in the model's order.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The number of a class, for tables.
    pub fn index(&self, class: &str) -> Option<usize> {
        self.by_name.get(class).copied()
    }

    /// A class by its exact wire name.
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.index(name).map(|at| &self.classes[at])
    }

    /// A message by its wire name, such as `VM.start` or, as the server also takes it, `VM_start`.
    pub fn message(&self, wire_name: &str) -> Option<(&Class, &Message)> {
        let (class, message) = *self.by_wire_name.get(wire_name)?;
        let class = &self.classes[class];
        Some((class, &class.messages[message]))
    }

    /// The values of an enum.
    pub fn values(&self, enumeration: &str) -> &[String] {
        self.enums.get(enumeration).map_or(&[], Vec::as_slice)
    }
}

impl Type {
    /// What a field of this type holds when nobody said anything.
    pub fn zero(&self) -> Value {
        match self {
            Type::Int => Value::Int(0),
            Type::Float => Value::Float(0.0),
            Type::Bool => Value::Bool(false),
            Type::DateTime => Value::Date("19700101T00:00:00Z".into()),
            Type::Ref(_) => Value::str(NULL),
            Type::Set(_) => Value::Set(Vec::new()),
            Type::Map(..) | Type::Record(_) => Value::Map(Vec::new()),
            Type::Enum(name) => Value::str(Model::get().values(name).first().map_or("", String::as_str)),
            Type::String | Type::Void | Type::Option(_) => Value::str(""),
        }
    }
}
