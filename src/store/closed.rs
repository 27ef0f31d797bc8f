//! Closed sets: an enum here, a CHECK in `migrations/`, and a test that holds one against the other.

/// A value that is one of few words in the database.
pub(super) trait Closed: Sized + Copy + 'static {
    /// The value of a word; `None` if this program does not write it.
    fn of_word(word: &str) -> Option<Self>;
}

/// Declares an enum whose variants are words, in the database and in print.
macro_rules! closed {
    ($(#[$about:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$each])* $variant),+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that stands for it in the database and in print.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value of a word; `None` if there is none.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl $crate::store::closed::Closed for $name {
            fn of_word(word: &str) -> Option<Self> { Self::from_word(word) }
        }
    };
}
pub(super) use closed;
