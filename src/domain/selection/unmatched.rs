//! Selectors that fit nothing: most often a slip of the pen, and then a VM is without snapshots that somebody counts on.

use std::collections::BTreeSet;
use std::fmt;

use super::super::nearest::nearest_few;
use super::pattern::Pattern;
use super::vm::{Field, Role, VmView};
use super::{Clause, Selection};

/// A part of a selection that fits no VM.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmatched {
    /// A value.
    Value {
        /// Where it stands.
        field: Field,
        /// As it was written.
        value: String,
        /// Values that exist and may have been meant, nearest first.
        nearest: Vec<String>,
    },
    /// A clause, although each of its conditions fits some VM.
    Clause {
        /// As it was written.
        clause: String,
    },
}

impl fmt::Display for Unmatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unmatched::Value { field, value, nearest } if nearest.is_empty() => write!(f, "{field} = \"{value}\" fits no VM"),
            Unmatched::Value { field, value, nearest } => {
                let nearest: Vec<String> = nearest.iter().map(|name| format!("\"{name}\"")).collect();
                write!(f, "{field} = \"{value}\" fits no VM; there is {}", nearest.join(", "))
            }
            Unmatched::Clause { clause } => write!(f, "no VM fits all of {clause}"),
        }
    }
}

impl Selection {
    /// What fits none of these VMs. A value in an exclude is reported as well: it leaves in what it was to keep out.
    pub fn unmatched(&self, vms: &[VmView<'_>]) -> Vec<Unmatched> {
        let vms: Vec<&VmView<'_>> = vms.iter().filter(|vm| vm.role == Role::Vm).collect();
        let mut found = BTreeSet::new();
        for clause in self.include.iter().chain(&self.exclude) {
            let before = found.len();
            found.extend(unmatched_values(clause, &vms));
            if found.len() == before && !vms.iter().any(|vm| clause.fits(vm)) && !clause.0.is_empty() {
                found.insert(Unmatched::Clause { clause: clause.to_string() });
            }
        }
        found.into_iter().collect()
    }
}

fn unmatched_values(clause: &Clause, vms: &[&VmView<'_>]) -> Vec<Unmatched> {
    let values = clause.0.iter().flat_map(|condition| condition.patterns.iter().map(|pattern| (condition.field, pattern)));
    let lonely = values.filter(|(field, pattern)| !vms.iter().any(|vm| field.fits(pattern, vm)));
    lonely
        .map(|(field, pattern)| Unmatched::Value {
            field,
            value: pattern.as_str().to_owned(),
            nearest: meant(field, pattern, vms),
        })
        .collect()
}

/// What exists and is like the pattern. A power state that no VM is in needs no suggestion.
fn meant(field: Field, pattern: &Pattern, vms: &[&VmView<'_>]) -> Vec<String> {
    if field == Field::Power {
        return Vec::new();
    }
    let wanted = pattern.as_str().split('=').next().unwrap_or_default();
    let known: BTreeSet<&str> = vms.iter().flat_map(|vm| field.texts(vm)).collect();
    nearest_few(wanted, known, 3).into_iter().map(str::to_owned).collect()
}
