//! Messages that the model generates for every class: reading rows, and writing single fields.

use super::codec::Answer;
use super::codec::answer::Record;
use super::error::{ApiError, ApiResult};
use super::filter::Filter;
use super::model::{Class, Field, Type};
use super::operations::Args;
use super::value::{Ref, Value};
use super::world::World;

/// What a generated message does.
#[derive(Debug, Clone, Copy)]
pub enum Generic {
    /// `get_all`.
    All,
    /// `get_all_where`.
    AllWhere,
    /// `get_all_records`.
    Records,
    /// `get_all_records_where`.
    Where,
    /// `get_record`.
    Record,
    /// `get_by_uuid`.
    ByUuid,
    /// `get_by_name_label`.
    ByName,
    /// `get_FIELD`.
    Get(&'static Field),
    /// `set_FIELD`.
    Set(&'static Field),
    /// `add_to_FIELD` of a map.
    PutKey(&'static Field),
    /// `remove_from_FIELD` of a map.
    TakeKey(&'static Field),
    /// `add_FIELD` of a set.
    AddItem(&'static Field),
    /// `remove_FIELD` of a set.
    RemoveItem(&'static Field),
}

impl Generic {
    /// The generated message of this name.
    pub fn find(class: &'static Class, message: &str) -> Option<Self> {
        let field = |prefix: &str| message.strip_prefix(prefix).and_then(|name| class.field(name));
        Some(match message {
            "get_all" => Generic::All,
            "get_all_where" => Generic::AllWhere,
            "get_all_records" => Generic::Records,
            "get_all_records_where" => Generic::Where,
            "get_record" => Generic::Record,
            "get_by_uuid" => Generic::ByUuid,
            "get_by_name_label" => Generic::ByName,
            _ => {
                if let Some(field) = field("get_") {
                    Generic::Get(field)
                } else if let Some(field) = field("set_") {
                    Generic::Set(field)
                } else if let Some(field) = field("add_to_") {
                    Generic::PutKey(field)
                } else if let Some(field) = field("remove_from_") {
                    Generic::TakeKey(field)
                } else if let Some(field) = field("add_") {
                    Generic::AddItem(field)
                } else {
                    Generic::RemoveItem(field("remove_")?)
                }
            }
        })
    }

    /// Carries the message out.
    ///
    /// # Errors
    /// HANDLE_INVALID, UUID_INVALID, MAP_DUPLICATE_KEY, INTERNAL_ERROR.
    pub fn run(self, world: &mut World, class: &'static Class, args: &Args) -> ApiResult<Answer> {
        match self {
            Generic::All => Ok(Value::Set(all(world, class).map(Value::Str).collect()).into()),
            Generic::AllWhere => match records_where(world, class, &args.text(0)?)? {
                Answer::Records(found) => Ok(Value::texts(found.into_iter().map(|(reference, _)| reference)).into()),
                other => Ok(other),
            },
            Generic::Records => Ok(Answer::Records(records(world, class).collect())),
            Generic::Where => records_where(world, class, &args.text(0)?),
            Generic::Record => {
                let record = record(world, class, &args.reference(0)?)?;
                Ok(Answer::Record(record))
            }
            Generic::ByUuid => by_uuid(world, class, &args.text(0)?),
            Generic::ByName => by_name(world, class, &args.text(0)?),
            Generic::Get(field) => get(world, class, field, &args.reference(0)?),
            _ => self.write(world, class, args).map(|()| Value::void().into()),
        }
    }

    fn write(self, world: &mut World, class: &'static Class, args: &Args) -> ApiResult<()> {
        let (reference, value) = (args.reference(0)?, &args.0[1]);
        let database = &mut world.database;
        match self {
            Generic::Set(field) => {
                check_characters(value)?;
                database.set(&class.name, &reference, &field.name, value.clone())
            }
            Generic::PutKey(field) => {
                check_characters(value)?;
                check_characters(&args.0[2])?;
                let key = args.text(1)?;
                if database.row(&class.name, &reference)?.value(column(class, field)).member(&key).is_some() {
                    let params = [&*class.name, &*field.name, &*reference, &*key];
                    return Err(ApiError::new("MAP_DUPLICATE_KEY", params));
                }
                database.put(&class.name, &reference, &field.name, &key, args.0[2].clone())
            }
            Generic::TakeKey(field) => database.take(&class.name, &reference, &field.name, &args.text(1)?),
            Generic::AddItem(field) => {
                check_characters(value)?;
                database.update(&class.name, &reference, &field.name, |set| add_item(set, value))
            }
            Generic::RemoveItem(field) => database.update(&class.name, &reference, &field.name, |set| {
                if let Value::Set(items) = set {
                    items.retain(|item| item != value);
                }
            }),
            _ => Ok(()),
        }
    }
}

/// The server lists the newest first.
fn add_item(set: &mut Value, item: &Value) {
    if let Value::Set(items) = set
        && !items.contains(item)
    {
        items.insert(0, item.clone());
    }
}

fn column(class: &Class, field: &Field) -> usize {
    class.column(&field.name).unwrap_or_default()
}

/// The references of a class in the order of the wire: from the last to the first.
fn all<'a>(world: &'a World, class: &'static Class) -> impl Iterator<Item = Ref> + use<'a> {
    world.database.rows(&class.name).rev().map(|(reference, _)| reference.clone())
}

fn records<'a>(world: &'a World, class: &'static Class) -> impl Iterator<Item = (Ref, Record)> + use<'a> {
    let release = world.release;
    let rows = world.database.rows(&class.name).rev();
    rows.map(move |(reference, row)| (reference.clone(), Record { class, release, row: row.clone() }))
}

fn records_where(world: &World, class: &'static Class, expression: &str) -> ApiResult<Answer> {
    let filter = Filter::parse(expression)?;
    let mut found = Vec::new();
    for (reference, record) in records(world, class) {
        if filter.matches(class, &reference, &record.row)? {
            found.push((reference, record));
        }
    }
    Ok(Answer::Records(found))
}

/// The record of one object.
///
/// # Errors
/// HANDLE_INVALID.
pub fn record(world: &World, class: &'static Class, reference: &str) -> ApiResult<Record> {
    let row = world.database.row(&class.name, reference)?.clone();
    Ok(Record { class, release: world.release, row })
}

fn by_uuid(world: &World, class: &'static Class, uuid: &str) -> ApiResult<Answer> {
    match world.database.by_uuid(&class.name, uuid) {
        Some(reference) => Ok(Value::Str(reference.clone()).into()),
        None => Err(ApiError::new("UUID_INVALID", [&*class.name, uuid])),
    }
}

fn by_name(world: &World, class: &'static Class, name: &str) -> ApiResult<Answer> {
    let Some(column) = class.column("name_label") else { return Err(ApiError::internal("Not_found")) };
    let rows = world.database.rows(&class.name).rev();
    let found = rows.filter(|(_, row)| row.value(column).as_text().is_some_and(|label| &**label == name));
    Ok(Value::Set(found.map(|(reference, _)| Value::Str(reference.clone())).collect()).into())
}

fn get(world: &World, class: &'static Class, field: &'static Field, reference: &str) -> ApiResult<Answer> {
    let row = world.database.row(&class.name, reference)?;
    Ok(row.value(column(class, field)).clone().into())
}

/// The database takes no control characters.
fn check_characters(value: &Value) -> ApiResult<()> {
    let bad = match value {
        Value::Str(text) => !is_storable(text),
        Value::Set(items) => return items.iter().try_for_each(check_characters),
        Value::Map(members) => {
            for (key, value) in members {
                check_characters(&Value::Str(key.clone()))?;
                check_characters(value)?;
            }
            false
        }
        _ => false,
    };
    if bad { Err(ApiError::internal("Db_exn.Invalid_value")) } else { Ok(()) }
}

fn is_storable(text: &str) -> bool {
    text.chars().all(|c| matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}')))
}

/// What a constructor makes of its record: the fields that are given, checked against their types.
///
/// # Errors
/// INTERNAL_ERROR for a member that has no default and is missing, or is of the wrong type.
pub fn constructor_fields<'a>(class: &'static Class, record: &'a Value) -> ApiResult<Vec<(&'static str, &'a Value)>> {
    let mut fields = Vec::new();
    for field in class.fields.iter().filter(|field| field.access != super::model::Access::ReadOnly) {
        match record.member(&field.name) {
            Some(value) => fields.push((&*field.name, value)),
            None if field.default.is_some() || matches!(field.kind, Type::Set(_)) => {}
            None => {
                let text = format!("Server_helpers.Dispatcher_FieldNotFound(\"{}\")", field.name);
                return Err(ApiError::internal(text));
            }
        }
    }
    Ok(fields)
}
