//! SQLite as a module that is replaced as a whole, while threads query a database through it. All of its state is kept: open
//! connections, caches, mutexes, prepared statements. No query fails, and the database is intact in the end.
//!
//! | variable | effect |
//! |---|---|
//! | `RESTUB_RACE_SECONDS` | how long queries run, by default 3 |
//! | `RESTUB_SQLITE_FLAGS` | flags that SQLite is compiled with, by default `-O0` |
#![allow(missing_docs, reason = "tests have names")]

#[path = "programs/compile.rs"]
mod compile;
#[path = "programs/crates.rs"]
mod crates;
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use compile::Cache;
use crates::Crates;
use restub::loader::Input;
use restub::{Linkage, Replace, Session};

/// What stands for the version in the object.
const VERSION: &str = "version 00000001";

/// SQLite's object, in which `sqlite3_sourceid`, which SQL calls as `sqlite_source_id()`, tells the version.
fn sqlite() -> Result<Vec<u8>, String> {
    const RETURNS: &str = "sqlite3_sourceid(void){ return SQLITE_SOURCE_ID; }";
    let crates = Crates::locate()?;
    let path = crates.folder("libsqlite3-sys")?.join("sqlite3/sqlite3.c");
    let source = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if !source.contains(RETURNS) {
        return Err("sqlite3_sourceid is not as expected".into());
    }
    let source = source.replace(RETURNS, &RETURNS.replace("SQLITE_SOURCE_ID", &format!("{VERSION:?}")));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join("sqlite3_versions.c");
    std::fs::write(&path, source).map_err(|error| error.to_string())?;
    let flags = std::env::var("RESTUB_SQLITE_FLAGS").unwrap_or_else(|_| "-O0".into());
    let flags: Vec<String> = flags.split(' ').chain(["-fPIC"]).map(str::to_owned).collect();
    let object = Cache::new(folder.join("programs")).object("gcc", &flags, &path)?;
    std::fs::read(object).map_err(|error| error.to_string())
}

fn version(object: &[u8], number: u64) -> Input<'static> {
    let mut bytes = object.to_vec();
    let text = format!("version {number:08}");
    let places = (0..object.len()).filter(|&at| object[at..].starts_with(VERSION.as_bytes()));
    let places: Vec<usize> = places.collect();
    assert_eq!(places.len(), 1, "the version stands in one place");
    bytes[places[0]..places[0] + text.len()].copy_from_slice(text.as_bytes());
    Input::from_bytes("sqlite3.o", bytes)
}

/// The part of the program that is not replaced: it queries, and holds connections and statements all the while.
const QUERIES: &str = r#"
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    typedef struct sqlite3 sqlite3;
    typedef struct sqlite3_stmt sqlite3_stmt;
    int sqlite3_open(const char *, sqlite3 **);
    int sqlite3_busy_timeout(sqlite3 *, int);
    int sqlite3_exec(sqlite3 *, const char *, int (*)(void *, int, char **, char **), void *, char **);
    int sqlite3_prepare_v2(sqlite3 *, const char *, int, sqlite3_stmt **, const char **);
    int sqlite3_bind_int64(sqlite3_stmt *, int, long long);
    int sqlite3_step(sqlite3_stmt *);
    int sqlite3_reset(sqlite3_stmt *);
    int sqlite3_finalize(sqlite3_stmt *);
    int sqlite3_close(sqlite3 *);
    const unsigned char *sqlite3_column_text(sqlite3_stmt *, int);
    struct connection { sqlite3 *db; sqlite3_stmt *insert, *select; };
    static int run(sqlite3 *db, const char *sql) {
        char *problem = 0;
        int result = sqlite3_exec(db, sql, 0, 0, &problem);
        if (result) fprintf(stderr, "%s: %s\n", sql, problem);
        return result;
    }
    void *query_open(const char *path) {
        struct connection *c = calloc(1, sizeof *c);
        if (sqlite3_open(path, &c->db) || sqlite3_busy_timeout(c->db, 60000)) return 0;
        if (run(c->db, "pragma journal_mode=wal; pragma synchronous=off;"
                       "create table if not exists t(k integer, thread integer, v text)")) return 0;
        if (sqlite3_prepare_v2(c->db, "insert into t values (?, ?, hex(randomblob(20)))", -1, &c->insert, 0)) return 0;
        if (sqlite3_prepare_v2(c->db, "select sqlite_source_id(), count(*), max(length(v)) from t where thread = ?", -1,
                               &c->select, 0)) return 0;
        return c;
    }
    /* Returns the version that answered, or 0. */
    unsigned long query(struct connection *c, long thread, long k) {
        if (run(c->db, "begin immediate")) return 0;
        sqlite3_bind_int64(c->insert, 1, k);
        sqlite3_bind_int64(c->insert, 2, thread);
        if (sqlite3_step(c->insert) != 101 || sqlite3_reset(c->insert)) return 0;
        if (run(c->db, "commit")) return 0;
        sqlite3_bind_int64(c->select, 1, thread);
        if (sqlite3_step(c->select) != 100) return 0;
        unsigned long version = atol((const char *)sqlite3_column_text(c->select, 0) + 8);
        long count = atol((const char *)sqlite3_column_text(c->select, 1));
        int length = atoi((const char *)sqlite3_column_text(c->select, 2));
        if (sqlite3_reset(c->select) || count != k || length != 40) return 0;
        return version;
    }
    int query_close(struct connection *c) {
        int result = sqlite3_finalize(c->insert) | sqlite3_finalize(c->select) | sqlite3_close(c->db);
        free(c);
        return result;
    }
    /* Returns how many rows there are if the database is intact, and -1 if not. */
    long query_check(struct connection *c) {
        sqlite3_stmt *check;
        if (sqlite3_prepare_v2(c->db, "pragma integrity_check", -1, &check, 0) || sqlite3_step(check) != 100) return -1;
        int intact = !strcmp((const char *)sqlite3_column_text(check, 0), "ok");
        sqlite3_finalize(check);
        if (!intact || sqlite3_prepare_v2(c->db, "select count(*) from t", -1, &check, 0)) return -1;
        long rows = sqlite3_step(check) == 100 ? atol((const char *)sqlite3_column_text(check, 0)) : -1;
        sqlite3_finalize(check);
        return rows;
    }
"#;

/// What threads and the replacing thread share.
struct Shared<'session> {
    session: &'session Session,
    path: CString,
    /// The versions that may answer: published at the latest, and being published.
    newest: (AtomicU64, AtomicU64),
    stop: AtomicBool,
    queries: AtomicU64,
}

impl Shared<'_> {
    fn open(&self) -> usize {
        let _pin = self.session.pin();
        // SAFETY: the function has this type.
        let open = unsafe {
            self.session
                .function::<unsafe extern "C" fn(*const i8) -> usize>("query_open")
        };
        let open = open.unwrap_or_else(|error| panic!("{error}"));
        // SAFETY: the path ends with zero.
        let connection = unsafe { open(self.path.as_ptr()) };
        assert_ne!(connection, 0, "a connection");
        connection
    }

    fn close(&self, connection: usize) {
        let _pin = self.session.pin();
        // SAFETY: the function has this type.
        let close = unsafe {
            self.session
                .function::<unsafe extern "C" fn(usize) -> i32>("query_close")
        };
        let close = close.unwrap_or_else(|error| panic!("{error}"));
        // SAFETY: the connection is open, and is not used any more.
        assert_eq!(unsafe { close(connection) }, 0);
    }

    fn query_without_pause(&self, thread: i64) {
        type Query = unsafe extern "C" fn(usize, i64, i64) -> u64;
        let connection = self.open();
        // SAFETY: the function has this type.
        let query = unsafe { self.session.function::<Query>("query") }.unwrap_or_else(|error| panic!("{error}"));
        let mut k = 0;
        while !self.stop.load(Ordering::Relaxed) {
            k += 1;
            let _pin = self.session.pin();
            // Acquire: pairs with the release after publishing.
            let oldest = self.newest.0.load(Ordering::Acquire);
            // SAFETY: the connection is open.
            let version = unsafe { query(connection, thread, k) };
            let youngest = self.newest.1.load(Ordering::Acquire);
            assert!(
                (oldest..=youngest).contains(&version),
                "{version} answered, of {oldest}..={youngest}"
            );
        }
        self.queries.fetch_add(k.cast_unsigned(), Ordering::Relaxed);
        self.close(connection);
    }
}

fn duration() -> Duration {
    let seconds = std::env::var("RESTUB_RACE_SECONDS").ok();
    Duration::from_secs_f64(seconds.and_then(|text| text.parse().ok()).unwrap_or(3.0))
}

#[test]
fn sqlite_is_replaced_while_threads_query() {
    const THREADS: i64 = 4;
    let object = sqlite().unwrap_or_else(|error| panic!("{error}"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let session = &Session::builder()
        .linkage(Linkage::Stubs)
        .default_libraries(true)
        .build();
    // SAFETY: SQLite has no constructors.
    let mut module = unsafe { session.load(&[version(&object, 1)]) }.unwrap_or_else(|error| panic!("{error}"));
    let queries = support::compile("queries.c", QUERIES, &["-O1", "-fPIC"]);
    // SAFETY: the test's own source.
    unsafe { session.load(&[queries]) }.unwrap_or_else(|error| panic!("{error}"));
    let shared = Shared {
        session,
        path: CString::new(path.into_os_string().into_encoded_bytes()).expect("no zero byte"),
        newest: (AtomicU64::new(1), AtomicU64::new(1)),
        stop: AtomicBool::new(false),
        queries: AtomicU64::new(0),
    };
    let first = shared.open();
    let mut times = Vec::new();
    let mut changes = BTreeMap::new();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let shared = &shared;
            scope.spawn(move || shared.query_without_pause(thread));
        }
        let end = Instant::now() + duration();
        let mut number = 1;
        while number == 1 || Instant::now() < end {
            number += 1;
            let input = [version(&object, number)];
            // Release, here and below: pairs with the acquire around a query.
            shared.newest.1.store(number, Ordering::Release);
            let start = Instant::now();
            // SAFETY: the functions are of the same types, and are called under pins.
            let report = unsafe { session.replace(&input, &Replace::new().whole(module)) };
            times.push(start.elapsed());
            // The others have to end.
            let Ok(report) = report.inspect_err(|error| eprintln!("{error}")) else {
                break;
            };
            shared.newest.0.store(number, Ordering::Release);
            module = report.module;
            changes.clear();
            for change in &report.changes {
                let key = format!("{:?} {:?}", change.kind, change.what);
                *changes.entry(key).or_insert(0) += 1;
            }
            thread::sleep(Duration::from_millis(20));
        }
        shared.stop.store(true, Ordering::Relaxed);
    });
    assert!(!changes.is_empty(), "SQLite was replaced");
    // SAFETY: the function has this type.
    let check = unsafe { session.function::<unsafe extern "C" fn(usize) -> i64>("query_check") };
    let check = check.unwrap_or_else(|error| panic!("{error}"));
    let pin = session.pin();
    // SAFETY: the connection is open.
    let rows = unsafe { check(first) };
    drop(pin);
    shared.close(first);
    let queries = shared.queries.load(Ordering::Relaxed);
    assert_eq!(
        rows.cast_unsigned(),
        queries,
        "all rows are there, and the database is intact"
    );
    times.sort();
    println!(
        "{queries} queries, {} replacements, median {:?}, longest {:?}",
        times.len(),
        times[times.len() / 2],
        times[times.len() - 1]
    );
    println!("{changes:?}, {:?}", session.stats());
}
