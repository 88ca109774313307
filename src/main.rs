//! The `basalt` command: loads arguments, wires the roles, runs.

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use basalt_aggregator::session::Sessions;
use basalt_common::scan::ScanContext;
use basalt_common::wire::Channels;
use clap::{Parser, Subcommand};
use datafusion::arrow::util::pretty::pretty_format_batches;

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
    /// Runs SQL in this process.
    Sql {
        /// The statement to run.
        #[arg(short = 'c', long = "command", value_name = "SQL")]
        sql: String,
    },
    /// Prints the versions of this program and of the libraries that matter to its operators.
    Version,
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Sql { sql } => run_sql(&sql).await,
        Command::Version => print_versions(),
    }
}

async fn run_sql(sql: &str) -> Result<()> {
    let sessions = Sessions {
        leaves: Arc::from([]),
        scan: Arc::new(ScanContext { local: None, channels: Channels::default() }),
        runtime: Arc::default(),
        parallelism: std::thread::available_parallelism()?.get(),
    };
    let batches = sessions.session()?.sql(sql).await?.collect().await?;
    writeln!(std::io::stdout(), "{}", pretty_format_batches(&batches)?)?;
    Ok(())
}

fn print_versions() -> Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, "basalt {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(output, "datafusion {}", datafusion::DATAFUSION_VERSION)?;
    writeln!(output, "{}", basalt_tailer::kafka::library()?)?;
    Ok(())
}
