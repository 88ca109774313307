//! The system's tests: real processes, real files, a real broker. One program, so that it is linked once, and long tests run
//! beside each other.

#![allow(clippy::print_stdout, reason = "a test that counts says what it counted")]

/// As in the programs: the oracle allocates a lot.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod aggregates;
mod bad_input;
mod damaged_files;
mod disk;
mod distribution;
mod drawn;
mod durability;
mod elsewhere;
mod extremes;
mod filters;
mod full_disk;
mod hostile;
mod joins;
mod kills;
mod live;
mod load;
mod model;
mod numbers;
mod retention;
mod search;
mod sources;
mod streams;
mod versions;
