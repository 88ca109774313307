//! What the shell completes a word to.
//!
//! In: the names of collections and fields, as the server has them. Out: those that go on as the word before the cursor does,
//! keywords of SQL among them.

use anyhow::Result;
use reqwest::Method;
use rustyline::completion::Completer;
use rustyline::{Context, Helper, Highlighter, Hinter, Validator};
use serde_json::Value;

use crate::client::Client;

const KEYWORDS: [&str; 60] = [
    "ALL",
    "AND",
    "AS",
    "ASC",
    "AVG",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COALESCE",
    "COUNT",
    "CROSS",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "MAX",
    "MIN",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "RIGHT",
    "ROUND",
    "SELECT",
    "SHOW",
    "SUM",
    "TABLES",
    "THEN",
    "TRUE",
    "UNION",
    "UNNEST",
    "USING",
    "WHEN",
    "WHERE",
];

/// How many names are shown for one word.
const CANDIDATES_MAX: usize = 100;

/// Names to complete words to.
#[derive(Debug, Default, Helper, Hinter, Highlighter, Validator)]
pub(crate) struct Names {
    names: Vec<String>,
}

impl Names {
    /// The names that a server knows now.
    pub(crate) async fn read(client: &Client, workspace: &str) -> Result<Self> {
        let get = async |path: String| client.json(Method::GET, &path, "application/json", Vec::new()).await;
        let collections = format!("/v1/workspaces/{workspace}/collections");
        let mut names = vec!["_id".to_string()];
        let named = |value: &Value, key: &str| value[key].as_str().map(ToString::to_string);
        for collection in get(collections.clone()).await?["collections"].as_array().into_iter().flatten() {
            let Some(name) = named(collection, "name") else { continue };
            let fields = get(format!("{collections}/{name}")).await?;
            names.extend(fields["fields"].as_array().into_iter().flatten().filter_map(|field| named(field, "path")));
            names.push(name);
        }
        names.sort_unstable();
        names.dedup();
        Ok(Self { names })
    }

    /// Where the word before the cursor begins, and what it may become.
    fn candidates(&self, line: &str) -> (usize, Vec<String>) {
        let begins = |letter: char| !(letter.is_alphanumeric() || "_.".contains(letter));
        let start = line.rfind(begins).map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
        let word = &line[start..];
        if word.is_empty() {
            return (start, Vec::new());
        }
        let names = self.names.iter().filter(|name| name.starts_with(word)).cloned();
        let upper = word.to_ascii_uppercase();
        let in_case = |keyword: &&str| match word == upper {
            true => (*keyword).to_string(),
            false => keyword.to_ascii_lowercase(),
        };
        let keywords = KEYWORDS.iter().filter(|keyword| keyword.starts_with(&upper)).map(in_case);
        (start, names.chain(keywords).take(CANDIDATES_MAX).collect())
    }
}

impl Completer for Names {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(&line[..position]))
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn words_become_names_and_keywords() {
        let names = ["customer.id", "customer.location.city", "events"].map(ToString::to_string).to_vec();
        let names = Names { names };
        for (line, start, expected) in [
            ("sel", 0, vec!["select"]),
            ("SEL", 0, vec!["SELECT"]),
            ("SELECT cus", 7, vec!["customer.id", "customer.location.city"]),
            ("SELECT count(customer.l", 13, vec!["customer.location.city"]),
            ("SELECT é ev", 10, vec!["events"]),
            ("SELECT ", 7, vec![]),
            ("SELECT zzz", 7, vec![]),
        ] {
            assert_eq!(
                names.candidates(line),
                (start, expected.into_iter().map(ToString::to_string).collect()),
                "{line}"
            );
        }
    }
}
