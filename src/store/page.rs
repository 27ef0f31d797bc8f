//! Long lists, a page at a time, newest first. A page starts after a row, not at a number, so that new rows shift nothing.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use super::columns::at;
use super::error::Result;

/// The most rows of one page.
const MOST: u32 = 1000;

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    limit: u32,
    after: Option<After>,
}

impl Page {
    /// The newest rows, at least 1 and at most 1000.
    pub fn first(limit: u32) -> Self {
        Self { limit: limit.clamp(1, MOST), after: None }
    }

    /// The rows that follow.
    pub fn after(self, after: After) -> Self {
        Self { after: Some(after), ..self }
    }

    /// One more than wanted, to know whether anything follows.
    pub(super) fn fetch(self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Time and id that rows must be below.
    pub(super) fn below(self) -> (i64, i64) {
        self.after.map_or((i64::MAX, i64::MAX), |after| (after.at, after.id))
    }

    /// Cuts what was fetched to the page, and says where the next begins.
    pub(super) fn cut<T>(self, mut rows: Vec<T>, place: impl Fn(&T) -> (DateTime<Utc>, i64)) -> Listed<T> {
        let limit = self.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| {
            let (time, id) = place(row);
            After { at: at(time), id }
        });
        Listed { rows, next }
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::first(100)
    }
}

/// A place in a list. Its text form can be handed to a person and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    at: i64,
    id: i64,
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at, self.id)
    }
}

impl FromStr for After {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (at, id) = text.split_once('.').ok_or(NoPlace)?;
        Ok(Self { at: at.parse().map_err(|_| NoPlace)?, id: id.parse().map_err(|_| NoPlace)? })
    }
}

/// A text that is no place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a place in a list: use what the page before printed as its end")]
pub struct NoPlace;

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The rows, newest first.
    pub rows: Vec<T>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<After>,
}

/// Every row of a list, page by page, the newest first.
///
/// # Errors
/// As reading a page.
pub async fn all<T, F: Future<Output = Result<Listed<T>>>>(read: impl Fn(Page) -> F) -> Result<Vec<T>> {
    let (mut rows, mut page) = (Vec::new(), Page::first(MOST));
    loop {
        let listed = read(page).await?;
        rows.extend(listed.rows);
        match listed.next {
            Some(after) => page = page.after(after),
            None => return Ok(rows),
        }
    }
}
