//! nginx, a master and two workers, with `wrk` as its load.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::source::{Edit, patch_of};
use crate::{Clients, EndOnDrop, Server, Stops, built, cycles, percentile, restub, wait_until};

/// A static function that is only called through a pointer. What it writes tells the versions apart.
const EDIT: Edit = Edit {
    file: "src/http/ngx_http_header_filter_module.c",
    changes: &[(
        "        b->last = ngx_cpymem(b->last, \"Connection: keep-alive\" CRLF,\n",
        "        b->last = ngx_cpymem(b->last, \"Connection: Keep-Alive\" CRLF,\n",
    )],
};
const SECONDS_OF_LOAD: u64 = 3;

/// What `wrk` runs for each answer, and prints in the end.
const CHECK: &str = r#"
    local threads = {}
    function setup(thread) table.insert(threads, thread) end
    function init() wrong = 0 end
    function response(status, headers, body)
        if status ~= 200 or body ~= EXPECTED then wrong = wrong + 1 end
    end
    function done(summary, latency)
        local wrong = 0
        for _, thread in ipairs(threads) do wrong = wrong + thread:get("wrong") end
        local errors = summary.errors
        print(string.format("RESULT %d %d %d %d", summary.requests, wrong + errors.connect + errors.read + errors.write +
            errors.status + errors.timeout, latency:percentile(50), latency:percentile(99)))
    end
"#;

fn expected() -> String {
    "0123456789abcdef".repeat(256)
}

/// Asks on one connection, and gives whether the patch has answered.
fn request(connection: &mut BufReader<TcpStream>, expected: &str) -> bool {
    let request = b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n";
    connection.get_mut().write_all(request).expect("the server reads");
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).expect("the server answers");
        match line.trim_end() {
            "" => break,
            line => headers.push(line.to_owned()),
        }
    }
    assert_eq!(headers[0], "HTTP/1.1 200 OK", "{headers:?}");
    let value = |name: &str| {
        let header = headers
            .iter()
            .find_map(|header| header.strip_prefix(name)?.strip_prefix(": "));
        header.unwrap_or_else(|| panic!("{name} in {headers:?}"))
    };
    assert_eq!(value("Content-Length"), expected.len().to_string());
    let mut body = vec![0; expected.len()];
    connection.read_exact(&mut body).expect("the server answers");
    assert!(body == expected.as_bytes(), "another body");
    match value("Connection") {
        "keep-alive" => false,
        "Keep-Alive" => true,
        other => panic!("Connection: {other}"),
    }
}

fn client(port: u16, clients: &Clients) {
    let expected = expected();
    while clients.go_on() {
        let mut connection = BufReader::new(TcpStream::connect(("127.0.0.1", port)).expect("the server listens"));
        for _ in 0..100 {
            request(&mut connection, &expected);
            clients.checked();
        }
    }
}

/// Runs the load generator once: gives requests, and latencies in milliseconds.
fn load(work: &Path, port: u16) -> (u64, f64, f64) {
    let output = Command::new("wrk")
        .args(["-t2", "-c32", &format!("-d{SECONDS_OF_LOAD}"), "-s", "check.lua"])
        .arg(format!("http://127.0.0.1:{port}/page"))
        .current_dir(work)
        .output()
        .expect("wrk runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let result = text.lines().find_map(|line| line.strip_prefix("RESULT "));
    let numbers = result.unwrap_or_else(|| panic!("{text}")).split(' ');
    let numbers: Vec<u64> = numbers.map(|number| number.parse().expect("a number")).collect();
    assert_eq!(numbers[1], 0, "{text}");
    (numbers[0], numbers[2] as f64 / 1000.0, numbers[3] as f64 / 1000.0)
}

fn start(work: &Path, port: u16) -> Server {
    let config = format!(
        "daemon off; user root; worker_processes 2; pid pid; error_log errors warn;
         events {{ worker_connections 256; }}
         http {{ access_log off; keepalive_requests 1000000;
                 client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
                 server {{ listen 127.0.0.1:{port}; root html; }} }}"
    );
    std::fs::write(work.join("nginx.conf"), config).expect("the configuration");
    std::fs::create_dir_all(work.join("html")).expect("a folder");
    std::fs::write(work.join("html/page"), expected()).expect("a page");
    std::fs::write(
        work.join("check.lua"),
        CHECK.replace("EXPECTED", &format!("{:?}", expected())),
    )
    .expect("a script");
    std::fs::create_dir_all(work.join("logs")).expect("a folder");
    let mut command = Command::new(built("nginx").join("objs/nginx"));
    command
        .arg("-p")
        .arg(work)
        .args(["-c", "nginx.conf"])
        .current_dir(work)
        .stdout(Stdio::null());
    Server::start(&mut command)
}

pub(crate) fn run() {
    let folder = built("nginx");
    let work = TempDir::new().expect("a folder");
    let patch = patch_of(&folder, &folder.join("log"), &EDIT, work.path());
    let patch = patch.to_str().expect("text");
    let port = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let mut server = start(work.path(), port);
    wait_until("the server's port", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let children = format!("/proc/{0}/task/{0}/children", server.pid());
    let mut processes = vec![server.pid().to_string()];
    wait_until("two workers", || {
        let text = std::fs::read_to_string(&children).unwrap_or_default();
        processes.truncate(1);
        processes.extend(text.split_whitespace().map(str::to_owned));
        processes.len() == 3
    });
    let (clients, loaded) = (Clients::default(), Clients::default());
    let mut stops = Stops::default();
    let (requests, half, most) = load(work.path(), port);
    let (mut all, mut halves, mut mosts) = (requests, Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let end = EndOnDrop(&clients);
        let checking: Vec<_> = (0..2).map(|_| scope.spawn(|| client(port, &clients))).collect();
        let loading = scope.spawn(|| {
            while loaded.go_on() {
                let (requests, half, most) = load(work.path(), port);
                all += requests;
                halves.push(half);
                mosts.push(most);
            }
        });
        let end_load = EndOnDrop(&loaded);
        for _ in 0..cycles() {
            cycle(&processes, patch, port, &mut stops);
            server.check();
        }
        drop(end_load);
        loading.join().expect("the load");
        drop(end);
        for client in checking {
            client.join().expect("every answer is right");
        }
    });
    println!(
        "nginx: {} cycles of 3 processes, {} checked answers, {all} requests of wrk; p50/p99 without {half:.3}/{most:.3} ms, with \
         {:.3}/{:.3} ms{}",
        cycles(),
        clients.answers(),
        percentile(&mut halves, 50),
        percentile(&mut mosts, 50),
        stops.text()
    );
}

/// Patches all processes, sees that the patch runs, takes it back, and sees that it does not.
fn cycle(processes: &[String], patch: &str, port: u16, stops: &mut Stops) {
    let pids = processes.join(",");
    let all = |report: &str, list: &mut Vec<f64>| {
        let report: Value = serde_json::from_str(report).expect("JSON");
        let each = report["processes"].as_array().expect("a list").iter();
        list.extend(each.filter_map(|process| process["report"]["stop_us"].as_f64()));
    };
    all(&restub(&["patch", "--json", "--pid", &pids, patch]), &mut stops.patch);
    every_answer_is(true, port);
    all(&restub(&["revert", "--json", "--pid", &pids]), &mut stops.revert);
    every_answer_is(false, port);
}

/// What is asked from here on is answered by one version.
fn every_answer_is(patched: bool, port: u16) {
    let expected = expected();
    let until = Instant::now() + Duration::from_millis(50);
    while Instant::now() < until {
        let mut connection = BufReader::new(TcpStream::connect(("127.0.0.1", port)).expect("the server listens"));
        for _ in 0..10 {
            assert_eq!(request(&mut connection, &expected), patched, "another version answers");
        }
    }
}
