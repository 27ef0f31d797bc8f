//! Rows and chance for the generator.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::Recipe;
use crate::simulator::database::Database;
use crate::simulator::model::{Model, Release};
use crate::simulator::sexpr;
use crate::simulator::value::{Ref, Text, Value};
use crate::simulator::world::World;

/// Keeps the generator's chance apart from that of the running pool.
const SALT: u64 = 0x6d61_6b65_7220;

/// Makes rows.
pub(super) struct Maker<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) now: DateTime<Utc>,
    database: Database,
    random: ChaCha8Rng,
    generation: u64,
    defaults: HashMap<&'static str, Vec<Value>>,
    /// Texts that many rows share.
    texts: HashSet<Text>,
    /// Bytes used and allotted per SR.
    pub(super) used: HashMap<Ref, (i64, i64)>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(recipe: &'a Recipe, now: DateTime<Utc>) -> Self {
        Self {
            recipe,
            now,
            database: Database::new(),
            random: ChaCha8Rng::seed_from_u64(recipe.seed ^ SALT),
            generation: 1,
            defaults: HashMap::new(),
            texts: HashSet::new(),
            used: HashMap::new(),
        }
    }

    /// The world with everything that was made.
    pub(super) fn finish(mut self, master: &Ref) -> World {
        self.database.finish_restoring(self.generation);
        let mut world = World::new(self.recipe.release, self.recipe.seed);
        world.database = self.database;
        world.master = master.clone();
        world
    }

    /// True when the recipe's release is at least this one.
    pub(super) fn since(&self, name: &str) -> bool {
        self.recipe.release >= crate::simulator::model::release(name)
    }

    pub(super) fn release(&self) -> Release {
        self.recipe.release
    }

    /// A fresh uuid.
    pub(super) fn uuid(&mut self) -> Text {
        let mut bytes = [0; 16];
        self.random.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string().into()
    }

    /// A fresh reference.
    pub(super) fn reference(&mut self) -> Ref {
        format!("OpaqueRef:{}", self.uuid()).into()
    }

    /// A row with a fresh reference and uuid.
    pub(super) fn row(&mut self, class: &'static str, fields: Vec<(&'static str, Value)>) -> Ref {
        let reference = self.reference();
        self.row_as(class, reference, fields)
    }

    /// A row with a reference that is known already; a uuid among the fields wins over a fresh one.
    pub(super) fn row_as(&mut self, class: &'static str, reference: Ref, fields: Vec<(&'static str, Value)>) -> Ref {
        let facts = Model::get().class(class).unwrap_or_else(|| panic!("there is no class {class}"));
        let uuid = self.uuid();
        let column = |field: &str| facts.column(field).unwrap_or_else(|| panic!("{class} has no field {field}"));
        let defaults = self.defaults.entry(class).or_insert_with(|| {
            facts.fields.iter().map(|field| field.default.clone().unwrap_or_else(|| field.kind.zero())).collect()
        });
        let mut values = defaults.clone();
        values[column("uuid")] = Value::Str(uuid);
        for (field, value) in fields {
            values[column(field)] = share(&mut self.texts, value);
        }
        self.generation += 1;
        self.database.restore(class, reference.clone(), self.generation, self.generation, values);
        reference
    }

    /// Changes a field of a row that was made; not one that mirrors references.
    pub(super) fn rewrite(&mut self, class: &str, reference: &str, field: &str, value: Value) {
        self.database.rewrite(class, reference, field, value);
    }

    /// A text field of a row that was made.
    pub(super) fn text(&self, class: &str, reference: &str, field: &str) -> Text {
        self.database.text(class, reference, field)
    }

    /// All values of a VM's row, for a copy of it.
    pub(super) fn vm_values(&self, vm: &str) -> Vec<(&'static str, Value)> {
        let facts = Model::get().class("VM");
        let (Some(facts), Ok(row)) = (facts, self.database.row("VM", vm)) else { return Vec::new() };
        facts.fields.iter().enumerate().map(|(at, field)| (field.name.as_str(), row.value(at).clone())).collect()
    }

    /// What a snapshot keeps of a VM's row.
    pub(super) fn metadata(&self, vm: &str) -> Text {
        sexpr::metadata(&self.database, vm, self.recipe.release)
    }

    /// Notes that a volume occupies `used` and shows `allotted` bytes.
    pub(super) fn occupy(&mut self, sr: &Ref, used: i64, allotted: i64) {
        let (all_used, all_allotted) = self.used.entry(sr.clone()).or_default();
        *all_used += used;
        *all_allotted += allotted;
    }

    /// A number from 0 up to and without `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.random.next_u64() % n.max(1) as u64) as usize
    }

    /// One of several.
    pub(super) fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    /// True so many times in a hundred.
    pub(super) fn percent(&mut self, n: usize) -> bool {
        self.below(100) < n
    }

    /// A moment before now.
    pub(super) fn ago(&self, minutes: i64) -> Value {
        date(self.now - TimeDelta::minutes(minutes))
    }
}

/// A date as the server writes it.
pub(super) fn date(at: DateTime<Utc>) -> Value {
    Value::Date(at.format("%Y%m%dT%H:%M:%SZ").to_string().into())
}

/// The longest text that is shared; longer ones and references seldom repeat.
const SHARED_UP_TO: usize = 32;

/// Lets equal texts of many rows share their memory.
fn share(texts: &mut HashSet<Text>, value: Value) -> Value {
    match value {
        Value::Str(text) => Value::Str(share_text(texts, text)),
        Value::Date(text) => Value::Date(share_text(texts, text)),
        Value::Set(items) => Value::Set(items.into_iter().map(|item| share(texts, item)).collect()),
        Value::Map(members) => {
            Value::Map(members.into_iter().map(|(key, value)| (share_text(texts, key), share(texts, value))).collect())
        }
        value => value,
    }
}

fn share_text(texts: &mut HashSet<Text>, text: Text) -> Text {
    if text.len() > SHARED_UP_TO {
        return text;
    }
    if let Some(known) = texts.get(&text) {
        return known.clone();
    }
    texts.insert(text.clone());
    text
}
