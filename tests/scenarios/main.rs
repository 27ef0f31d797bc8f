//! The whole service against a simulated pool over a real wire, on a hand-moved clock, with a real history: what a policy promises,
//! the pool has, whatever happens meanwhile.

mod foreign;
mod lab;
mod look;
mod nights;
mod ownership;
mod person;
mod pools;
mod slots;
mod year;
