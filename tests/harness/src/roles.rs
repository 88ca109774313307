//! The roles as processes of their own: one aggregator, one tailer, two leaves.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::broker::{Broker, free_ports};
use crate::leaf::program;
use crate::server::{Server, cpu_seconds};

/// A process with what it takes to start it again.
#[derive(Debug)]
struct Role {
    program: &'static str,
    config: PathBuf,
    child: Child,
}

impl Role {
    /// Starts it, and waits until it says that it listens.
    fn start(program_name: &'static str, config: PathBuf) -> Result<Self> {
        let mut child = command(program_name, &config)?.stdout(Stdio::piped()).spawn()?;
        let (output, mut line) = (child.stdout.take().context("it has an output")?, String::new());
        let role = Self { program: program_name, config, child };
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line.contains("listens on"), "{program_name} said {line:?} instead of its address");
        Ok(role)
    }

    fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // The process may have ended already; there is nothing else to do about an error here.
        let _ = self.kill();
    }
}

fn command(name: &str, config: &Path) -> Result<Command> {
    let mut command = Command::new(program(name)?);
    command.arg("--config").arg(config);
    Ok(command)
}

/// The tailer, behind the leaves.
pub const TAILER: usize = 2;

/// A process is looked at for so long to tell whether it rests.
const WINDOW: Duration = Duration::from_secs(1);

/// One that rests still asks its broker and its peers.
const REST_SHARE_MAX: f64 = 0.3;

/// They rest by then.
const REST_DEADLINE: Duration = Duration::from_secs(60);

/// All roles; killed when dropped.
#[derive(Debug)]
pub struct Roles {
    /// The leaves, then the tailer. They end before the aggregator, whom they would miss.
    others: Vec<Role>,
    /// The aggregator, for clients.
    pub server: Server,
    leaf_addresses: Vec<String>,
    _data: TempDir,
}

impl Roles {
    /// Starts them over a broker; what is applied is flushed after `flush_interval`.
    ///
    /// # Errors
    /// A program is not built, or ends at once.
    pub fn start(broker: &Broker, flush_interval: Duration) -> Result<Self> {
        let data = tempfile::tempdir()?;
        let ports: Vec<u16> = (0..4).map(|_| free_ports()).collect::<Result<_>>()?;
        let url = |index: usize| format!("http://127.0.0.1:{}/", ports[index]);
        let leaves = format!("[\"{}\", \"{}\"]", url(0), url(1));
        let kafka = format!("[kafka]\nbrokers = \"{}\"\nprefix = \"test\"\n", broker.address());
        let write = |name: &str, text: String| -> Result<PathBuf> {
            let path = data.path().join(name);
            fs::write(&path, text).context("a configuration cannot be written")?;
            Ok(path)
        };
        let listen = |index: usize| format!("log = \"warn\"\nlisten = \"127.0.0.1:{}\"\n", ports[index]);
        let folder = |name: &str| data.path().join(name).display().to_string();
        let catalog = format!("catalog = \"{}\"\n", url(3));
        let aggregator = format!(
            "http = \"127.0.0.1:0\"\n{}data = \"{}\"\nleaves = {leaves}\ntailer = \"{}\"\n",
            listen(3),
            folder("aggregator"),
            url(2),
        );
        let config = write("aggregator.toml", aggregator)?;
        let server = Server::of(command("basalt-aggregator", &config)?)?;
        let mut others = Vec::new();
        for leaf in 0..2 {
            let store = folder(&format!("store-{leaf}"));
            let address = url(leaf);
            let text = format!(
                "{}address = \"{address}\"\nleaves = {leaves}\n{catalog}store = \"{store}\"\n\
                 flush_interval_ms = {}\n{kafka}",
                listen(leaf),
                flush_interval.as_millis(),
            );
            others.push(Role::start("basalt-leaf", write(&format!("leaf-{leaf}.toml"), text)?)?);
        }
        let tailer = write("tailer.toml", format!("{}{catalog}leaves = {leaves}\n{kafka}", listen(2)))?;
        others.push(Role::start("basalt-tailer", tailer)?);
        let leaf_addresses = (0..2).map(url).collect();
        Ok(Self { server, others, leaf_addresses, _data: data })
    }

    /// The address of a leaf.
    pub fn leaf_address(&self, index: usize) -> &str {
        &self.leaf_addresses[index]
    }

    /// Waits until no leaf works on anything.
    ///
    /// # Errors
    /// One does not rest in time.
    pub async fn leaves_rest(&self) -> Result<()> {
        let deadline = Instant::now() + REST_DEADLINE;
        for leaf in &self.others[..TAILER] {
            loop {
                let before = cpu_seconds(leaf.child.id())?;
                tokio::time::sleep(WINDOW).await;
                if cpu_seconds(leaf.child.id())? - before < WINDOW.as_secs_f64() * REST_SHARE_MAX {
                    break;
                }
                ensure!(Instant::now() < deadline, "a leaf works on what nobody waits for");
            }
        }
        Ok(())
    }

    /// Kills a leaf (0, 1) or the tailer (2) with SIGKILL and starts it again.
    ///
    /// # Errors
    /// It cannot be signalled, or does not start.
    pub fn kill_and_restart(&mut self, index: usize) -> Result<()> {
        let role = &mut self.others[index];
        role.kill()?;
        *role = Role::start(role.program, role.config.clone())?;
        Ok(())
    }
}
