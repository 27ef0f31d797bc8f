//! When the server will not forget any more.
