//! redis, with `redis-benchmark` as its load.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::source::{Edit, patch_of};
use crate::{Clients, EndOnDrop, Server, Stops, built, cycles, percentile, restub, wait_until};

/// Functions that every request runs through. The counter is one that INFO shows and that nothing else counts.
const EDITS: [Edit; 3] = [
    Edit {
        file: "t_string.c",
        changes: &[(
            "int getGenericCommand(client *c) {\n    robj *o;\n",
            "int getGenericCommand(client *c) {\n    robj *o;\n    server.stat_active_defrag_hits++;\n",
        )],
    },
    Edit {
        file: "networking.c",
        changes: &[(
            "int processMultibulkBuffer(client *c) {\n    char *newline = NULL;\n",
            "int processMultibulkBuffer(client *c) {\n    char *newline = NULL;\n    server.stat_active_defrag_misses++;\n",
        )],
    },
    Edit {
        file: "dict.c",
        changes: &[(
            "dictEntry *dictFind(dict *d, const void *key)\n{\n",
            "unsigned long long dict_searches;\ndictEntry *dictFind(dict *d, const void *key)\n{\n    dict_searches++;\n",
        )],
    },
];
/// Requests of one run of the load generator.
const REQUESTS: &str = "20000";

struct Connection(BufReader<UnixStream>);

impl Connection {
    fn new(socket: &Path) -> Self {
        Connection(BufReader::new(UnixStream::connect(socket).expect("the server listens")))
    }

    fn send(&mut self, words: &[&str]) {
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.0.get_mut().write_all(text.as_bytes()).expect("the server reads");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the server answers");
        line
    }

    fn bulk(&mut self) -> String {
        let line = self.line();
        let length: usize = line
            .strip_prefix('$')
            .and_then(|text| text.trim().parse().ok())
            .expect(&line);
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes).expect("the server answers");
        String::from_utf8(bytes).expect("text").trim_end().to_owned()
    }

    fn counter(&mut self, name: &str) -> u64 {
        self.send(&["INFO", "stats"]);
        let text = self.bulk();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("the counter");
        line.trim_start_matches(':').parse().expect("a number")
    }
}

/// Sets, gets and counts, several requests at a time, and checks every answer.
fn client(socket: &Path, number: usize, clients: &Clients) {
    let mut connection = Connection::new(socket);
    let (key, counter) = (format!("key{number}"), format!("counter{number}"));
    let mut round = 0;
    while clients.go_on() {
        round += 1;
        let value = format!("{round}-{}", "x".repeat(round % 300));
        connection.send(&["SET", &key, &value]);
        connection.send(&["GET", &key]);
        connection.send(&["INCR", &counter]);
        connection.send(&["GET", &counter]);
        connection.send(&["LPUSH", &format!("list{number}"), &value]);
        connection.send(&["RPOP", &format!("list{number}")]);
        assert_eq!(connection.line(), "+OK\r\n");
        assert_eq!(connection.bulk(), value);
        assert_eq!(connection.line(), format!(":{round}\r\n"));
        assert_eq!(connection.bulk(), round.to_string());
        assert_eq!(connection.line(), ":1\r\n");
        assert_eq!(connection.bulk(), value);
        for _ in 0..6 {
            clients.checked();
        }
    }
}

/// Latencies in milliseconds of each run.
#[derive(Default)]
struct Latencies {
    half: Vec<f64>,
    most: Vec<f64>,
    requests: u64,
}

/// Runs the load generator once.
fn load(folder: &Path, socket: &Path, latencies: &mut Latencies) {
    let output = Command::new(folder.join("redis-benchmark"))
        .args([
            "-s",
            socket.to_str().expect("text"),
            "-n",
            REQUESTS,
            "-c",
            "50",
            "-r",
            "10000",
            "--csv",
            "-t",
        ])
        .arg("get,set,incr")
        .output()
        .expect("redis-benchmark runs");
    let (text, complaints) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success() && complaints.is_empty(), "{text}{complaints}");
    // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 3, "{text}");
    for row in rows {
        let number = |at: usize| row[at].trim_matches('"').parse::<f64>().expect("a number");
        latencies.half.push(number(4));
        latencies.most.push(number(6));
        latencies.requests += REQUESTS.parse::<u64>().expect("a number");
    }
}

pub(crate) fn run() {
    let folder = built("redis").join("src");
    let work = TempDir::new().expect("a folder");
    let log = folder.join("../log");
    let patches: Vec<PathBuf> = EDITS
        .iter()
        .map(|edit| patch_of(&folder, &log, edit, work.path()))
        .collect();
    let files: Vec<&str> = patches.iter().map(|path| path.to_str().expect("text")).collect();
    let socket = work.path().join("socket");
    let mut command = Command::new(folder.join("redis-server"));
    command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&socket);
    let mut server = Server::start(command.current_dir(work.path()).stdout(Stdio::null()));
    wait_until("the server's socket", || UnixStream::connect(&socket).is_ok());
    let (clients, patched) = (Clients::default(), Clients::default());
    let (mut without, mut with, mut stops) = (Latencies::default(), Latencies::default(), Stops::default());
    std::thread::scope(|scope| {
        let end = EndOnDrop(&clients);
        let checking: Vec<_> = (0..4)
            .map(|number| {
                scope.spawn({
                    let (socket, clients) = (&socket, &clients);
                    move || client(socket, number, clients)
                })
            })
            .collect();
        for _ in 0..3 {
            load(&folder, &socket, &mut without);
        }
        let loading = scope.spawn(|| {
            while patched.go_on() {
                load(&folder, &socket, &mut with);
            }
        });
        let end_load = EndOnDrop(&patched);
        let mut control = Connection::new(&socket);
        for _ in 0..cycles() {
            cycle(&mut server, &files, &mut control, &mut stops);
        }
        drop(end_load);
        loading.join().expect("the load");
        drop(end);
        for client in checking {
            client.join().expect("every answer is right");
        }
    });
    println!(
        "redis: {} cycles, {} checked answers, {} requests of redis-benchmark; p50/p99 without {:.3}/{:.3} ms, with {:.3}/{:.3} ms{}",
        cycles(),
        clients.answers(),
        without.requests + with.requests,
        percentile(&mut without.half, 50),
        percentile(&mut without.most, 50),
        percentile(&mut with.half, 50),
        percentile(&mut with.most, 50),
        stops.text()
    );
}

/// Patches, sees that the patch runs, takes it back, and sees that it does not.
fn cycle(server: &mut Server, files: &[&str], control: &mut Connection, stops: &mut Stops) {
    const COUNTERS: [&str; 2] = ["active_defrag_hits", "active_defrag_misses"];
    let pid = server.pid().to_string();
    let report = restub(&[&["patch", "--json", &pid, "--name", "counting"], files].concat());
    Stops::note(&mut stops.patch, &report);
    for counter in COUNTERS {
        let before = control.counter(counter);
        wait_until("a patched call", || control.counter(counter) > before + 10);
    }
    Stops::note(&mut stops.revert, &restub(&["revert", "--json", &pid]));
    let before = COUNTERS.map(|counter| control.counter(counter));
    for _ in 0..10 {
        control.send(&["GET", "key0"]);
        control.bulk();
    }
    assert_eq!(
        before,
        COUNTERS.map(|counter| control.counter(counter)),
        "the patch runs on"
    );
    server.check();
}
