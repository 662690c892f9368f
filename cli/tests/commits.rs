//! `restub diff` on real commits: a program that runs what was before the commit is patched with the difference, and then
//! answers as the program that was rebuilt after it.

#![allow(missing_docs, reason = "tests have names")]

#[path = "../../tests/programs/crates.rs"]
mod crates;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use crates::Crates;
use serde_json::Value;
use support::{Folder, Program};

/// A commit of a project, by what it changes in one file.
struct Commit {
    /// Sources of the project beside the changed one.
    others: Vec<PathBuf>,
    flags: Vec<String>,
    file: &'static str,
    before: String,
    after: String,
    /// A program around it that answers lines.
    driver: (&'static str, &'static str),
    /// What is asked before the patch, and after it.
    asked: &'static [&'static str],
    then: &'static [&'static str],
    /// The functions that may be patched, of which at least one is.
    changed: &'static [&'static str],
}

fn compiler_of(file: &str, clang: bool) -> &'static str {
    match (file.ends_with(".cc"), clang) {
        (true, false) => "g++",
        (true, true) => "clang++-19",
        (false, false) => "gcc",
        (false, true) => "clang-19",
    }
}

/// Compiles a file of the project.
fn compile(folder: &Folder, commit: &Commit, clang: bool, mode: &[&str], source: &str, object: &str) {
    let mut all: Vec<&str> = commit.flags.iter().map(String::as_str).collect();
    all.extend(mode);
    all.extend(["-w", "-c", source, "-o", object]);
    folder.tool(compiler_of(commit.file, clang), &all);
}

/// Compiles what the commit does not change, and gives the objects.
fn surroundings(folder: &Folder, commit: &Commit) -> Vec<String> {
    folder.write(commit.driver.0, commit.driver.1);
    let mut sources = vec![commit.driver.0];
    sources.extend(commit.others.iter().map(|path| path.to_str().expect("text")));
    let objects = sources.iter().enumerate().map(|(number, source)| {
        let object = format!("{number}.o");
        compile(folder, commit, false, &["-O1", "-fPIE"], source, &object);
        object
    });
    objects.collect()
}

fn check(folder: &Folder, objects: &[String], commit: &Commit, clang: bool, mode: &[&str]) {
    let link = |object: &str, program: &str| {
        let mut all: Vec<&str> = objects.iter().map(String::as_str).collect();
        all.extend([object, "-o", program, "-lm"]);
        all.extend(mode.contains(&"-fno-pie").then_some("-no-pie"));
        folder.tool(compiler_of(commit.file, clang), &all);
    };
    for (name, text) in [("old", &commit.before), ("new", &commit.after)] {
        std::fs::create_dir_all(folder.file(name)).expect("a folder");
        let source = format!("{name}/{}", commit.file);
        folder.write(&source, text);
        let object = format!("{name}.o");
        compile(folder, commit, clang, mode, &source, &object);
        link(&object, &format!("{name}/program"));
    }
    let report = folder.restub_ok(&["diff", "--json", "old.o", "new.o", "-o", "patch.o"]);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["inexpressible"], Value::Array(Vec::new()), "{report}");
    let mut program = Program::start(&mut Command::new(folder.file("old/program")));
    let mut rebuilt = Program::start(&mut Command::new(folder.file("new/program")));
    for question in commit.asked {
        assert_eq!(program.ask(question), rebuilt.ask(question), "{question}");
    }
    let pid = program.pid();
    let applied = folder.restub_ok(&["patch", "--json", &pid, "patch.o"]);
    let applied: Value = serde_json::from_str(&applied).expect("JSON");
    let patched: Vec<&str> = applied["functions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|function| function["name"].as_str().expect("a name"))
        .collect();
    assert!(
        !patched.is_empty() && patched.iter().all(|name| commit.changed.contains(name)),
        "{patched:?}"
    );
    for question in commit.then.iter().chain(commit.asked) {
        assert_eq!(
            program.ask(question),
            rebuilt.ask(question),
            "{question} with {patched:?}"
        );
    }
    folder.restub_ok(&["revert", &pid]);
    for question in commit.asked {
        assert_eq!(program.ask(question), rebuilt.ask(question), "{question}");
    }
}

/// In the ways that change what objects look like.
fn check_all(commit: &Commit) {
    let folder = Folder::new();
    let objects = surroundings(&folder, commit);
    let sections = ["-O2", "-fPIE", "-ffunction-sections", "-fdata-sections"];
    check(&folder, &objects, commit, false, &["-O2", "-g", "-fPIE"]);
    check(&folder, &objects, commit, false, &sections);
    check(&folder, &objects, commit, false, &["-Os", "-g", "-fno-pie"]);
    check(&folder, &objects, commit, true, &["-O2", "-g", "-fPIE"]);
}

/// The sources of a crate's folder, but for some.
fn sources(folder: &Path, extension: &str, without: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder of the sources");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        path.extension().is_some_and(|is| is == extension) && !without.contains(&name)
    });
    found.sort();
    found
}

/// The text of a file, with the change of the commit taken back.
fn taken_back(path: &Path, after: &str, before: &str) -> (String, String) {
    let text = std::fs::read_to_string(path).expect("a source");
    assert_eq!(text.matches(after).count(), 1, "{}: {after}", path.display());
    (text.replace(after, before), text)
}

/// Reads a gzip stream with an extra field of as many bytes as the line says, of which there is room for eight.
const INFLATES: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "zlib.h"
int main(void) {
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        static unsigned char extra[4096], packed[8192], text[100], back[200];
        struct { unsigned char room[8], guard[8192]; } got;
        int bytes = atoi(line);
        memset(extra, 'e', sizeof extra);
        memset(text, 't', sizeof text);
        memset(&got, 'g', sizeof got);
        z_stream out = {0}, in = {0};
        gz_header written = {0}, read = {0};
        written.extra = extra, written.extra_len = bytes;
        deflateInit2(&out, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
        deflateSetHeader(&out, &written);
        out.next_in = text, out.avail_in = sizeof text, out.next_out = packed, out.avail_out = sizeof packed;
        deflate(&out, Z_FINISH);
        inflateInit2(&in, 31);
        read.extra = got.room, read.extra_max = sizeof got.room;
        inflateGetHeader(&in, &read);
        in.next_in = packed, in.next_out = back, in.avail_out = sizeof back;
        int result = Z_OK;
        for (unsigned long at = 0; at < out.total_out && result == Z_OK; at++) {
            in.avail_in = 1;
            result = inflate(&in, Z_NO_FLUSH);
        }
        int spoilt = 0;
        for (unsigned long i = 0; i < sizeof got.guard; i++) spoilt += got.guard[i] != 'g';
        printf("%d %lu %u %.8s %d\n", result, in.total_out, read.extra_len, got.room, spoilt);
        fflush(stdout);
        inflateEnd(&in);
        deflateEnd(&out);
    }
    return 0;
}
"#;

#[test]
fn zlib_inflate_and_the_extra_field() {
    // CVE-2022-37434: more of an extra field is copied than there is room for.
    let crates = Crates::locate().expect("cargo's crates");
    let folder = crates.folder("libz-sys").expect("zlib").join("src/zlib");
    let after = "(len = state->head->extra_len - state->length) <
                            state->head->extra_max) {";
    let before = "(len = state->head->extra_len - state->length, 1)) {";
    let (before, after) = taken_back(&folder.join("inflate.c"), after, before);
    let without = ["inflate.c", "gzlib.c", "gzread.c", "gzwrite.c", "gzclose.c"];
    check_all(&Commit {
        others: sources(&folder, "c", &without),
        flags: vec!["-I".into(), folder.to_str().expect("text").into()],
        file: "inflate.c",
        before,
        after,
        driver: ("driver.c", INFLATES),
        asked: &["0", "5", "8"],
        then: &["9", "500", "4000", "7"],
        changed: &["inflate"],
    });
}

/// Runs a line of Lua, and says what came of it.
const RUNS_LUA: &str = r#"
#include <stdio.h>
#include <string.h>
#include "lua.h"
#include "lauxlib.h"
#include "lualib.h"
int main(void) {
    char line[512];
    lua_State *state = luaL_newstate();
    luaL_openlibs(state);
    while (fgets(line, sizeof line, stdin)) {
        int failed = luaL_dostring(state, line);
        const char *text = lua_tostring(state, -1);
        printf("%d %s\n", failed, text ? text : "nothing");
        fflush(stdout);
        lua_settop(state, 0);
    }
    return 0;
}
"#;

#[test]
fn lua_utf8_and_continuation_bytes() {
    // "'utf8.codes' does not raise an error on spurious continuation bytes", mended in 5.4.4.
    let crates = Crates::locate().expect("cargo's crates");
    let folder = crates.folder("lua-src").expect("Lua").join("lua-5.4.9");
    let after = "if (next == NULL || iscontp(next))";
    let (before, after) = taken_back(&folder.join("lutf8lib.c"), after, "if (next == NULL)");
    check_all(&Commit {
        others: sources(&folder, "c", &["lua.c", "luac.c", "lutf8lib.c"]),
        flags: vec![
            "-I".into(),
            folder.to_str().expect("text").into(),
            "-DLUA_USE_POSIX".into(),
        ],
        file: "lutf8lib.c",
        before,
        after,
        driver: ("driver.c", RUNS_LUA),
        asked: &[
            "count = (count or 0) + 1; return count",
            "for place, code in utf8.codes('a\u{e4}\u{1f600}') do last = code end return last",
            "return utf8.char(72, 228, 8364), utf8.len('\u{e4}')",
        ],
        then: &[
            r"for place, code in utf8.codes('ab\xff') do end",
            r"for place, code in utf8.codes('\u{200D}\x80') do end return 'no error'",
            r"return pcall(function() for place, code in utf8.codes('in\x80valid') do end end)",
        ],
        changed: &["iter_aux", "iter_auxstrict", "iter_auxlax"],
    });
}

/// After LevelDB's `util/logging.cc` and `db/filename.cc`: what reads the names of files, with a class for errors.
const LEVELDB: &str = r#"
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

namespace leveldb {

class Slice {
 public:
  Slice(const std::string& s) : data_(s.data()), size_(s.size()) {}
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  char operator[](size_t n) const { return data_[n]; }
  void remove_prefix(size_t n) {
    if (n > size_) throw std::out_of_range("prefix");
    data_ += n;
    size_ -= n;
  }
  bool starts_with(const std::string& x) const { return size_ >= x.size() && std::string(data_, x.size()) == x; }
  std::string ToString() const { return std::string(data_, size_); }

 private:
  const char* data_;
  size_t size_;
};

class Corruption : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

static int numbers_read = 0;

bool ConsumeDecimalNumber(Slice* in, uint64_t* val) {
  uint64_t v = 0;
  int digits = 0;
  while (!in->empty()) {
    char c = (*in)[0];
    if (c >= '0' && c <= '9') {
      ++digits;
      CHECK
      v = (v * 10) + delta;
      in->remove_prefix(1);
    } else {
      break;
    }
  }
  *val = v;
  numbers_read++;
  return (digits > 0);
}

enum FileType { kLogFile, kTableFile, kCurrentFile, kTempFile };

class Namer {
 public:
  virtual ~Namer() = default;
  virtual std::string Name(uint64_t number) const = 0;
};
class TypeNamer : public Namer {
 public:
  explicit TypeNamer(FileType type) : type_(type) {}
  std::string Name(uint64_t number) const override {
    static int named = 0;
    return std::to_string(type_) + "/" + std::to_string(number) + "/" + std::to_string(++named);
  }

 private:
  FileType type_;
};

static std::unique_ptr<Namer> ParseFileName(const std::string& filename, uint64_t* number) {
  Slice rest(filename);
  if (!ConsumeDecimalNumber(&rest, number)) throw Corruption("no number in " + filename);
  if (rest.starts_with(".log")) return std::unique_ptr<Namer>(new TypeNamer(kLogFile));
  if (rest.starts_with(".sst") || rest.starts_with(".ldb")) return std::unique_ptr<Namer>(new TypeNamer(kTableFile));
  if (rest.starts_with(".dbtmp")) return std::unique_ptr<Namer>(new TypeNamer(kTempFile));
  throw Corruption("no type in " + rest.ToString());
}

template <typename Function>
static std::string Guarded(Function function) {
  try {
    return function();
  } catch (const Corruption& error) {
    return std::string("corrupt: ") + error.what();
  } catch (const std::exception& error) {
    return std::string("other: ") + error.what();
  }
}

std::string Describe(const std::string& filename) {
  static std::map<std::string, int> asked;
  int times = ++asked[filename];
  std::string text = Guarded([&] {
    uint64_t number = 0;
    std::unique_ptr<Namer> namer = ParseFileName(filename, &number);
    return namer->Name(number);
  });
  return text + DESCRIBE + std::to_string(times) + "/" + std::to_string(numbers_read);
}

}  // namespace leveldb
"#;

const DESCRIBES: &str = r#"
#include <iostream>
#include <string>
namespace leveldb { std::string Describe(const std::string& filename); }
int main() {
  std::string line;
  while (std::getline(std::cin, line)) std::cout << leveldb::Describe(line) << std::endl;
}
"#;

#[test]
fn leveldb_numbers_that_do_not_fit() {
    // "Fixed incorrect handling of numbers that do not fit" in ConsumeDecimalNumber: only the first digits were checked.
    const OLD: &str = "const int delta = (c - '0');
      static const uint64_t kMaxUint64 = ~static_cast<uint64_t>(0);
      if (v > kMaxUint64 / 10) return false;";
    const NEW: &str = "const uint64_t delta = (c - '0');
      static const uint64_t kMaxUint64 = ~static_cast<uint64_t>(0);
      if (v > kMaxUint64 / 10 || (v == kMaxUint64 / 10 && delta > kMaxUint64 % 10)) return false;";
    let source = LEVELDB.replace("DESCRIBE", "\" \"");
    check_all(&Commit {
        others: Vec::new(),
        flags: vec!["-std=c++17".into()],
        file: "filename.cc",
        before: source.replace("CHECK", OLD),
        after: source.replace("CHECK", NEW),
        driver: ("driver.cc", DESCRIBES),
        asked: &["100.log", "7.sst", "none", "18446744073709551615.log", "3.txt"],
        then: &[
            "18446744073709551616.log",
            "99999999999999999999.ldb",
            "18446744073709551619.sst",
        ],
        changed: CONSUME,
    });
}

/// `ConsumeDecimalNumber`, and what it may be inlined in.
const CONSUME: &[&str] = &[
    "_ZN7leveldb20ConsumeDecimalNumberEPNS_5SliceEPm",
    "_ZN7leveldbL13ParseFileNameERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEPm",
    "_ZN7leveldb8DescribeERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE",
    "_ZN7leveldbL7GuardedIZNS_8DescribeERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEE3$_0EES6_T_",
];

#[test]
fn a_function_that_throws_and_catches_is_patched() {
    const CHECK: &str = "const uint64_t delta = (c - '0');
      if (digits > 19) throw Corruption(\"digits\");";
    check_all(&Commit {
        others: Vec::new(),
        flags: vec!["-std=c++17".into()],
        file: "filename.cc",
        before: LEVELDB.replace("CHECK", CHECK).replace("DESCRIBE", "\" \""),
        after: LEVELDB
            .replace("CHECK", CHECK)
            .replace("DESCRIBE", "(filename.size() > 20 ? \" long \" : \" \")"),
        driver: ("driver.cc", DESCRIBES),
        asked: &["100.log", "none", "3.txt"],
        then: &["99999999999999999999999.log", "4.ldb"],
        changed: CONSUME,
    });
}
