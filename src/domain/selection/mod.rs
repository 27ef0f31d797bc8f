//! Which VMs a policy covers, decided anew for each slot, so that a new VM is covered by itself.
//!
//! A selection lists clauses; a VM is in when one of the includes fits and none of the excludes does. A clause fits when all its
//! conditions do, a condition when one of its values does. Templates, snapshots and control domains are never in, and the skip tag
//! on a VM always wins. Every VM gets a reason, in or out; a value that fits nothing is reported with what may have been meant.

mod disk;
mod pattern;
mod unmatched;
mod vm;

use std::fmt;

pub use disk::{DiskClause, DiskField, DiskView, excluded};
pub use pattern::{Pattern, PatternError};
pub use unmatched::Unmatched;
pub use vm::{Field, PowerState, Role, VmView};

/// The tag that keeps a VM out of every policy; a reason may follow an equals sign.
pub const SKIP_TAG: &str = "xensnap:skip";
/// Xen Orchestra's tag for the same, honoured on request.
pub const NO_BAK_TAG: &str = "xo:no-bak";

/// One field with the values that fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What is looked at.
    pub field: Field,
    /// One of these must fit.
    pub patterns: Vec<Pattern>,
}

impl Condition {
    /// Reads the values of a field. The error carries the index of the value.
    pub fn parse(field: Field, values: &[&str]) -> Result<Self, (usize, PatternError)> {
        let read = |(index, text): (usize, &&str)| field.pattern(text).map_err(|error| (index, error));
        Ok(Self { field, patterns: values.iter().enumerate().map(read).collect::<Result<_, _>>()? })
    }

    /// Whether the VM fits one of the values.
    pub fn fits(&self, vm: &VmView<'_>) -> bool {
        self.patterns.iter().any(|pattern| self.field.fits(pattern, vm))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&told(self.field.word(), &self.patterns))
    }
}

/// `tag = "a"`, or `tag = "a" or "b"`.
fn told(field: &str, patterns: &[Pattern]) -> String {
    let values: Vec<String> = patterns.iter().map(Pattern::to_string).collect();
    format!("{field} = {}", values.join(" or "))
}

/// Conditions that must all be fulfilled. Without conditions it fits every VM.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clause(pub Vec<Condition>);

impl Clause {
    /// Whether the VM fulfils all conditions.
    pub fn fits(&self, vm: &VmView<'_>) -> bool {
        self.0.iter().all(|condition| condition.fits(vm))
    }

    /// The first condition that the VM does not fulfil.
    pub fn unfulfilled(&self, vm: &VmView<'_>) -> Option<&Condition> {
        self.0.iter().find(|condition| !condition.fits(vm))
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("every VM");
        }
        let conditions: Vec<String> = self.0.iter().map(Condition::to_string).collect();
        f.write_str(&conditions.join(" and "))
    }
}

/// What a policy covers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// A VM that fits one of these is in...
    pub include: Vec<Clause>,
    /// ...unless it fits one of these.
    pub exclude: Vec<Clause>,
    /// Whether Xen Orchestra's tag is honoured too.
    pub honour_no_bak: bool,
}

/// Whether a VM is covered, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement<'a> {
    /// Covered, because of this clause.
    In(&'a Clause),
    /// Not covered.
    Out(Out<'a>),
}

/// Why a VM is not covered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out<'a> {
    /// Not a plain VM.
    Role(Role),
    /// No include fits.
    NotIncluded,
    /// This exclude fits.
    Excluded(&'a Clause),
    /// It carries this tag.
    SkipTag(String),
}

impl Selection {
    /// A selection of every VM.
    pub fn everything() -> Self {
        Self { include: vec![Clause::default()], ..Self::default() }
    }

    /// Whether the VM is covered.
    pub fn judge(&self, vm: &VmView<'_>) -> Judgement<'_> {
        if vm.role != Role::Vm {
            return Judgement::Out(Out::Role(vm.role));
        }
        let Some(clause) = self.include.iter().find(|clause| clause.fits(vm)) else { return Judgement::Out(Out::NotIncluded) };
        if let Some(clause) = self.exclude.iter().find(|clause| clause.fits(vm)) {
            return Judgement::Out(Out::Excluded(clause));
        }
        match vm.tags.iter().find(|tag| self.is_skip_tag(tag)) {
            Some(tag) => Judgement::Out(Out::SkipTag((*tag).to_owned())),
            None => Judgement::In(clause),
        }
    }

    fn is_skip_tag(&self, tag: &str) -> bool {
        let is = |skip: &str| tag.strip_prefix(skip).is_some_and(|rest| rest.is_empty() || rest.starts_with('='));
        is(SKIP_TAG) || self.honour_no_bak && is(NO_BAK_TAG)
    }

    /// The covered VMs, in the order they came in.
    pub fn choose<'a, 'v>(&self, vms: &'a [VmView<'v>]) -> Vec<&'a VmView<'v>> {
        vms.iter().filter(|vm| matches!(self.judge(vm), Judgement::In(_))).collect()
    }

    /// Why no include fits the VM, one line for each clause.
    pub fn why_not_included(&self, vm: &VmView<'_>) -> Vec<String> {
        let unfulfilled = self.include.iter().filter_map(|clause| clause.unfulfilled(vm).map(|condition| (clause, condition)));
        unfulfilled.map(|(clause, condition)| format!("{clause}: not {condition}")).collect()
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&listed(&self.include))?;
        if !self.exclude.is_empty() {
            write!(f, ", but not {}", listed(&self.exclude))?;
        }
        if self.honour_no_bak { write!(f, ", and nothing tagged \"{NO_BAK_TAG}\"") } else { Ok(()) }
    }
}

fn listed(clauses: &[Clause]) -> String {
    clauses.iter().map(Clause::to_string).collect::<Vec<_>>().join("; or ")
}

impl fmt::Display for Judgement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Judgement::In(clause) => write!(f, "selected by {clause}"),
            Judgement::Out(Out::Role(Role::Template)) => f.write_str("a template is never selected"),
            Judgement::Out(Out::Role(Role::Snapshot)) => f.write_str("a snapshot is never selected"),
            Judgement::Out(Out::Role(_)) => f.write_str("a control domain is never selected"),
            Judgement::Out(Out::NotIncluded) => f.write_str("no include fits"),
            Judgement::Out(Out::Excluded(clause)) => write!(f, "excluded by {clause}"),
            Judgement::Out(Out::SkipTag(tag)) => write!(f, "skipped because of its tag \"{tag}\""),
        }
    }
}

#[cfg(test)]
mod tests;
