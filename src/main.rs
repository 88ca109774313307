//! The `basalt` command: loads arguments, wires the roles, runs.

mod client;
mod complete;
mod generate;
mod load;
mod produce;
mod sql;
mod start;
mod stream;
mod user_files;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Real-time analytics on data milliseconds old.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs all roles in this process.
    Start(start::StartArguments),
    /// Asks a server in SQL.
    Sql(sql::SqlArguments),
    /// Loads files of documents into a collection.
    Load(load::LoadArguments),
    /// Sends an endless stream of made documents, updates, patches and deletes to a server, or into a Kafka topic.
    Generate(stream::GenerateArguments),
    /// Prints the versions of this program and of the libraries that matter to its operators.
    Version,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where there is no standard error there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(basalt_aggregator::sql::limits::STACK_BYTES_MIN)
        .build()?;
    runtime.block_on(async {
        match command {
            Command::Start(arguments) => start::start(arguments).await,
            Command::Sql(arguments) => sql::run(arguments).await,
            Command::Load(arguments) => load::load(arguments).await,
            Command::Generate(arguments) => stream::generate(arguments).await,
            Command::Version => print_versions(),
        }
    })
}

fn print_versions() -> Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, "basalt {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(output, "datafusion {}", datafusion::DATAFUSION_VERSION)?;
    writeln!(output, "{}", basalt_tailer::kafka::library()?)?;
    Ok(())
}
