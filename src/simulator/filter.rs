//! The filter of `get_all_records_where` (xapi: db_filter_lex.mll, db_filter_parse.mly): `field "name__label" = "value"`, `and`, `or`,
//! `not`, parentheses, `true`, `false`. `and` and `or` bind alike and to the left.

use super::database::Row;
use super::error::{ApiError, ApiResult};
use super::model::Class;
use super::value::Value;

/// A parsed filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Every row.
    True,
    /// No row.
    False,
    /// Both sides are the same text.
    Equal(Side, Side),
    /// Both.
    And(Box<Filter>, Box<Filter>),
    /// Either.
    Or(Box<Filter>, Box<Filter>),
    /// The opposite.
    Not(Box<Filter>),
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// A field by its name in the database.
    Field(String),
    /// Text.
    Literal(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(&'static str),
    Text(String),
}

const WORDS: [&str; 9] = ["field", "and", "or", "not", "true", "false", "(", ")", "="];

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// INVALID_VALUE.
    pub fn parse(text: &str) -> ApiResult<Self> {
        let invalid = |reason| ApiError::new("INVALID_VALUE", [text, reason]);
        let tokens = tokens(text).ok_or_else(|| invalid("Failure(\"lexing: empty token\")"))?;
        let mut parser = Parser { tokens: &tokens };
        let filter = parser.expression(0).filter(|_| parser.tokens.is_empty());
        filter.ok_or_else(|| invalid("Stdlib.Parsing.Parse_error"))
    }

    /// Whether a row passes.
    ///
    /// # Errors
    /// INTERNAL_ERROR for a field that the class does not have.
    pub fn matches(&self, class: &Class, reference: &str, row: &Row) -> ApiResult<bool> {
        Ok(match self {
            Filter::True => true,
            Filter::False => false,
            Filter::Equal(left, right) => left.text(class, reference, row)? == right.text(class, reference, row)?,
            Filter::And(left, right) => left.matches(class, reference, row)? && right.matches(class, reference, row)?,
            Filter::Or(left, right) => left.matches(class, reference, row)? || right.matches(class, reference, row)?,
            Filter::Not(filter) => !filter.matches(class, reference, row)?,
        })
    }
}

impl Side {
    fn text(&self, class: &Class, reference: &str, row: &Row) -> ApiResult<String> {
        let name = match self {
            Side::Literal(text) => return Ok(text.clone()),
            Side::Field(name) => name,
        };
        if matches!(&**name, "_ref" | "ref") {
            return Ok(reference.to_owned());
        }
        let column = column(class, name).ok_or_else(|| ApiError::new("INTERNAL_ERROR", ["missing field", name, ""]))?;
        Ok(database_text(row.value(column)))
    }
}

/// Groups of fields; the database joins group and field with two underscores, the wire with one.
const GROUPS: [&str; 9] = ["name", "memory", "VCPUs", "actions", "PV", "HVM", "API_version", "qos", "io"];

fn column(class: &Class, name: &str) -> Option<usize> {
    match name.split_once("__") {
        Some((group, field)) if GROUPS.contains(&group) => class.column(&format!("{group}_{field}")),
        Some(_) => None,
        None if GROUPS.iter().any(|group| is_in_group(class, name, group)) => None,
        None => class.column(name),
    }
}

fn is_in_group(class: &Class, name: &str, group: &str) -> bool {
    // VM_guest_metrics.PV_drivers_version and its kin stand alone.
    let grouped = group != "PV" || class.name == "VM";
    grouped && name.strip_prefix(group).is_some_and(|rest| rest.starts_with('_')) && class.column(name).is_some()
}

/// A value as the database keeps it: booleans as words, sets and maps as s-expressions.
fn database_text(value: &Value) -> String {
    match value {
        Value::Str(text) | Value::Date(text) => text.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Int32(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Set(items) => {
            let items: Vec<_> = items.iter().map(|item| quoted(&database_text(item))).collect();
            format!("({})", items.join(" "))
        }
        Value::Map(members) => {
            let members: Vec<_> =
                members.iter().map(|(key, value)| format!("({} {})", quoted(key), quoted(&database_text(value)))).collect();
            format!("({})", members.join(" "))
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(quote) = rest.chars().next().filter(|c| *c == '"') {
            let (literal, tail) = rest[1..].split_once(quote)?;
            tokens.push(Token::Text(literal.to_owned()));
            rest = tail;
        } else {
            let word = WORDS.into_iter().find(|word| rest.starts_with(word))?;
            tokens.push(Token::Word(word));
            rest = &rest[word.len()..];
        }
        rest = rest.trim_start();
    }
    Some(tokens)
}

/// The deepest nesting of parentheses and `not`.
const MAX_DEPTH: usize = 200;

struct Parser<'a> {
    tokens: &'a [Token],
}

impl Parser<'_> {
    fn take(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.first(), Some(Token::Word(next)) if *next == word);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }

    fn expression(&mut self, depth: usize) -> Option<Filter> {
        let mut left = self.term(depth)?;
        loop {
            if self.take("and") {
                left = Filter::And(Box::new(left), Box::new(self.term(depth)?));
            } else if self.take("or") {
                left = Filter::Or(Box::new(left), Box::new(self.term(depth)?));
            } else {
                return Some(left);
            }
        }
    }

    fn term(&mut self, depth: usize) -> Option<Filter> {
        if depth > MAX_DEPTH {
            return None;
        }
        if self.take("true") {
            Some(Filter::True)
        } else if self.take("false") {
            Some(Filter::False)
        } else if self.take("not") {
            Some(Filter::Not(Box::new(self.term(depth + 1)?)))
        } else if self.take("(") {
            let inner = self.expression(depth + 1)?;
            self.take(")").then_some(inner)
        } else {
            let left = self.side()?;
            let equal = self.take("=");
            equal.then(|| self.side()).flatten().map(|right| Filter::Equal(left, right))
        }
    }

    fn side(&mut self) -> Option<Side> {
        let field = self.take("field");
        let (first, rest) = self.tokens.split_first()?;
        let Token::Text(text) = first else { return None };
        self.tokens = rest;
        Some(if field { Side::Field(text.clone()) } else { Side::Literal(text.clone()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(field: &str, text: &str) -> Box<Filter> {
        Box::new(Filter::Equal(Side::Field(field.to_owned()), Side::Literal(text.to_owned())))
    }

    #[test]
    fn operators_bind_alike_and_to_the_left() {
        let filter = Filter::parse("field \"a\"=\"1\" or field \"b\" = \"2\" and not (true)").unwrap();
        let or = Filter::Or(equal("a", "1"), equal("b", "2"));
        assert_eq!(filter, Filter::And(Box::new(or), Box::new(Filter::Not(Box::new(Filter::True)))));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in ["", "field", "true and", "(true", "field \"a\" != \"1\"", &"(".repeat(10_000)] {
            assert_eq!(Filter::parse(text).unwrap_err().code, "INVALID_VALUE", "{text}");
        }
    }
}
