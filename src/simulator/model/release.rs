//! Releases in the order they came out, by the code names and version numbers that the data model uses.

/// A release; later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release(u32);

/// Code names of releases up to 8.2, oldest first. Later ones are xapi version numbers.
const CODE_NAMES: [&str; 29] = [
    "rio",
    "miami",
    "symc",
    "orlando",
    "orlando-update-1",
    "george",
    "midnight-ride",
    "cowley",
    "boston",
    "tampa",
    "clearwater",
    "vgpu-tech-preview",
    "vgpu-productisation",
    "clearwater-felton",
    "clearwater-whetstone",
    "creedence",
    "cream",
    "indigo",
    "dundee",
    "ely",
    "falcon",
    "inverness",
    "jura",
    "kolkata",
    "lima",
    "naples",
    "quebec",
    "stockholm",
    "stockholm_psr",
];

/// Product versions an administrator would name, and what they are called in the data model.
const PRODUCTS: [(&str, &str); 21] = [
    ("5.0", "orlando"),
    ("5.5", "george"),
    ("5.6", "midnight-ride"),
    ("5.6FP1", "cowley"),
    ("6.0", "boston"),
    ("6.1", "tampa"),
    ("6.2", "clearwater"),
    ("6.5", "creedence"),
    ("7.0", "dundee"),
    ("7.1", "ely"),
    ("7.2", "falcon"),
    ("7.3", "inverness"),
    ("7.4", "jura"),
    ("7.5", "kolkata"),
    ("7.6", "lima"),
    ("8.0", "naples"),
    ("8.1", "quebec"),
    ("8.2", "stockholm"),
    ("8.3", "24.16.0"),
    ("8", "25.33.0"),
    ("26.17", "26.17.0"),
];

impl Release {
    /// The release most of the recordings were made on.
    pub const NEWEST: Release = Release(26 * 1_000_000 + 17 * 1_000);

    /// Reads a product version (`8.2`), a code name (`stockholm`) or a xapi version (`24.16`, `26.17.0`).
    pub fn parse(text: &str) -> Option<Self> {
        let name = PRODUCTS.iter().find(|(product, _)| *product == text).map_or(text, |(_, name)| name);
        CODE_NAMES.iter().position(|code| *code == name).map(|at| Release(at as u32)).or_else(|| Self::parse_number(name))
    }

    /// The product versions that [`Release::parse`] knows, for help texts.
    pub fn products() -> impl Iterator<Item = &'static str> {
        PRODUCTS.iter().map(|(product, _)| *product)
    }

    fn parse_number(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| part.parse::<u32>().ok().filter(|n| *n < 1000));
        let major = parts.next()??;
        let minor = parts.next()??;
        let patch = parts.next().unwrap_or(Some(0))?;
        // The numbers restarted at 1.x after the code names and went on with the year: all are later than 8.2.
        Some(Release(major * 1_000_000 + minor * 1_000 + patch))
    }
}

/// The release called `text` in code of this program, where a mistake is a bug.
///
/// # Panics
/// When there is no such release.
pub fn release(text: &str) -> Release {
    Release::parse(text).unwrap_or_else(|| panic!("there is no release {text}"))
}
