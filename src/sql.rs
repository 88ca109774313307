//! `basalt sql`: questions to a server.
//!
//! In: SQL, from `-c` or line by line. Out: a table, or the server's error with what to do about it.

use std::io::Write;

use anyhow::{Result, bail};
use basalt_common::clock::{Clock, SystemClock};
use clap::Args;
use reqwest::Method;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use serde_json::{Value, json};

use crate::client::{Client, DEFAULT_URL};
use crate::complete::Names;
use crate::user_files::state_file;

/// What `basalt sql` is told.
#[derive(Args)]
pub(crate) struct SqlArguments {
    /// The statement to run; without it, statements are read until the end of the input.
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    sql: Option<String>,
    /// The server.
    #[arg(long, default_value = DEFAULT_URL)]
    url: String,
    /// The workspace of names without one.
    #[arg(long, default_value = "public")]
    workspace: String,
}

/// The widest column of a table, in characters.
const CELL_CHARS_MAX: usize = 60;

/// Runs one statement, or a shell.
pub(crate) async fn run(arguments: SqlArguments) -> Result<()> {
    let client = Client::new(&arguments.url)?;
    match &arguments.sql {
        Some(sql) => print(&ask(&client, &arguments.workspace, sql).await?, false),
        None => shell(&client, &arguments.workspace).await,
    }
}

async fn ask(client: &Client, workspace: &str, sql: &str) -> Result<Value> {
    let body = json!({ "sql": sql, "workspace": workspace, "rows": "arrays" });
    client.json(Method::POST, "/v1/query", "application/json", body.to_string().into_bytes()).await
}

/// Reads statements that end in a semicolon, and the shell's own commands.
async fn shell(client: &Client, workspace: &str) -> Result<()> {
    let mut editor: Editor<Names, FileHistory> =
        Editor::with_config(Config::builder().completion_type(CompletionType::List).build())?;
    // Where there is no place for it, or none yet, the history is this shell's own.
    let history = state_file("history").unwrap_or_default();
    let _ = editor.load_history(&history);
    let (mut statement, mut timing) = (String::new(), false);
    let clock = SystemClock::default();
    editor.set_helper(Some(names(client, workspace).await));
    loop {
        let prompt = if statement.is_empty() { "basalt> " } else { "     -> " };
        let line = match editor.readline(prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => {
                statement.clear();
                continue;
            }
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => bail!(error),
        };
        match (statement.is_empty(), line.trim()) {
            (true, "") => continue,
            (true, "\\q" | "exit" | "quit") => return Ok(()),
            (true, "\\timing") => {
                timing = !timing;
                writeln!(std::io::stdout(), "timing is {}", if timing { "on" } else { "off" })?;
                continue;
            }
            (true, "\\?" | "help") => {
                writeln!(
                    std::io::stdout(),
                    "SQL ends with a semicolon. Tab completes names, \\timing shows times, \\q quits."
                )?;
                continue;
            }
            _ => {}
        }
        statement.push_str(&line);
        statement.push('\n');
        if !line.trim_end().ends_with(';') {
            continue;
        }
        let sql = std::mem::take(&mut statement);
        // A line that cannot be kept can be typed again.
        let _ = editor.add_history_entry(sql.trim()).and_then(|_| editor.save_history(&history));
        let started = clock.monotonic();
        match ask(client, workspace, &sql).await {
            Ok(reply) => print(&reply, true)?,
            Err(error) => writeln!(std::io::stderr(), "error: {error}")?,
        }
        if timing {
            writeln!(std::io::stdout(), "{:.1} ms", (clock.monotonic() - started).as_secs_f64() * 1000.0)?;
        }
        editor.set_helper(Some(names(client, workspace).await));
    }
}

/// The names to complete words to; none where the server does not tell them, which the next statement will say.
async fn names(client: &Client, workspace: &str) -> Names {
    Names::read(client, workspace).await.unwrap_or_default()
}

/// Prints a reply as a table.
fn print(reply: &Value, summary: bool) -> Result<()> {
    let output = &mut std::io::stdout().lock();
    let empty = Vec::new();
    let columns: Vec<&str> =
        reply["columns"].as_array().unwrap_or(&empty).iter().filter_map(|column| column["name"].as_str()).collect();
    let right: Vec<bool> = reply["columns"].as_array().unwrap_or(&empty).iter().map(is_number).collect();
    let rows = reply["rows"].as_array().unwrap_or(&empty);
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| row.as_array().unwrap_or(&empty).iter().map(cell).collect()).collect();
    let width = |index: usize| {
        let widest = cells.iter().map(|row| row[index].chars().count()).max().unwrap_or(0);
        widest.max(columns[index].chars().count())
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let header: Vec<String> = columns.iter().zip(&widths).map(|(name, width)| format!("{name:<width$}")).collect();
    writeln!(output, "{}", header.join("  ").trim_end())?;
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    writeln!(output, "{}", rule.join("  "))?;
    for row in &cells {
        let padded = row.iter().zip(widths.iter().zip(&right)).map(|(cell, (width, right))| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        writeln!(output, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    for warning in reply["warnings"].as_array().unwrap_or(&empty).iter().filter_map(Value::as_str) {
        writeln!(output, "warning: {warning}")?;
    }
    if summary {
        let (scanned, elapsed) = (&reply["stats"]["rows_scanned"], &reply["stats"]["elapsed_ms"]);
        writeln!(output, "{} rows, {scanned} scanned, {elapsed} ms", cells.len())?;
    }
    Ok(())
}

fn is_number(column: &Value) -> bool {
    matches!(column["type"].as_str(), Some("int" | "float" | "decimal"))
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "∅".to_string(),
        Value::String(text) => text.replace(['\n', '\r', '\t'], " "),
        other => other.to_string(),
    };
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
