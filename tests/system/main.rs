//! The system's tests: real processes, real files, a real broker. One program, so that it is linked once, and long tests run
//! beside each other.

#![allow(clippy::print_stdout, reason = "a test that counts says what it counted")]

mod bad_input;
mod cluster;
mod distribution;
mod durability;
mod kills;
mod live;
mod model;
mod streams;
