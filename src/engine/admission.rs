//! Whose turn it is on a storage repository.
