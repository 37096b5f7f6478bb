//! Secrets reach the scripts that are given them, and nothing else: no file of the state, no event, no log, no message, no
//! process's arguments, at any moment.

use crate::support::{Sandbox, said};
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// One in a variable, one in a file, one of several lines.
const TOKEN: &str = "tok-8f2a91c7'\"$(x)\\*[a]";
const PASSWORD: &str = "hunter2 with spaces";
const KEY: &str = "-----BEGIN KEY-----\nMIIEowIBAAKCAQEA7\nq3Zr0yV8n2mX4kLw\n-----END KEY-----";

const SOURCE: &str = r#"
environment lab {
  kind = non_production
  infrastructure here = local { root = "here" }
}

secret token    = env { name = "TEST_TOKEN" }
secret password = file { path = "password" }
secret key      = file { path = "key" }

service files = local { artifact = other { path = "files" } }

workflow leaky(service: service<local>, infra: infrastructure<local>) {
  phase deploy {
    step put = local.deploy {}
    step use_it = shell {
      script = """
        echo "$TOKEN$TOKEN and again $TOKEN"
        echo "password=$PASSWORD" >&2
        printf '%s\n' "$KEY"
        printf 'no line end: %s' "$PASSWORD"
        env | grep -c LOCKSTEP_STRIKE >count
        touch printed
        until [ -e open ]; do sleep 0.05; done
        echo "$TOKEN" >given
        """
      secrets = { TOKEN = token, PASSWORD = password, KEY = key }
    }
    step inherits = shell { script = "echo inherited: \${TEST_TOKEN:-nothing}" }
    step finds = shell { script = "cat given; cat given >&2" }
    step fails = local.command {
      script  = "echo failing with $TOKEN; echo $PASSWORD >&2; exit 7"
      secrets = { TOKEN = token, PASSWORD = password }
    }
  }
}

pipeline go { stage s = leaky { service = files, infra = lab.here } }
"#;

/// What must be nowhere: each secret, and each line of one.
fn pieces() -> Vec<&'static str> {
    let mut pieces = vec![TOKEN, PASSWORD];
    pieces.extend(KEY.lines());
    pieces
}

#[track_caller]
fn clean(what: &str, bytes: &[u8]) {
    for piece in pieces() {
        let found = bytes.windows(piece.len()).any(|window| window == piece.as_bytes());
        assert!(!found, "{what} holds {piece}:\n{}", String::from_utf8_lossy(bytes));
    }
}

#[track_caller]
fn clean_directory(path: &Path) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(path).expect("a folder").flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            count += clean_directory(&path);
        } else if kind.is_file() {
            // A file may be renamed while it is looked at.
            clean(&path.display().to_string(), &fs::read(&path).unwrap_or_default());
            count += 1;
        }
    }
    count
}

/// Arguments of every process of this machine.
fn clean_arguments() {
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        clean(&entry.path().display().to_string(), &arguments);
    }
}

#[test]
fn are_nowhere_but_where_they_are_given() {
    let sandbox = Sandbox::of_source(SOURCE);
    let module = sandbox.module();
    fs::create_dir(module.join("files")).expect("a folder");
    fs::write(module.join("files/a"), "a").expect("a file");
    fs::write(module.join("password"), format!("{PASSWORD}\n")).expect("a file");
    fs::write(module.join("key"), format!("{KEY}\n")).expect("a file");
    let mut child = sandbox
        .run(&["go"])
        .env("TEST_TOKEN", TOKEN)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // What was printed is in the pipes when the file is there; it reaches a file struck out or not at all.
    while !module.join("printed").exists() {
        assert!(child.try_wait().expect("it can be asked").is_none(), "it ended early");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let events = || String::from_utf8(fs::read(sandbox.events()).expect("events")).expect("UTF-8");
    while !events().contains("password=***") {
        clean_directory(&sandbox.state());
        assert!(child.try_wait().expect("it can be asked").is_none(), "it ended early");
    }
    clean_arguments();
    fs::write(module.join("open"), "").expect("a file");
    let told = crate::support::Said::of(child.wait_with_output().expect("its output")).exits(1);
    clean("standard output", told.out.as_bytes());
    clean("standard error", told.err.as_bytes());
    assert!(told.err.contains("exit status 7: ***"), "{}", told.err);
    clean("events", &fs::read(sandbox.events()).expect("events"));
    assert!(events().contains("inherited: nothing"), "{}", events());
    assert!(clean_directory(&sandbox.state()) > 5, "the state was looked at");
    assert_eq!(fs::read_to_string(module.join("given")).expect("a file").trim_end(), TOKEN);
    assert_eq!(fs::read_to_string(module.join("count")).expect("a file"), "0\n");
    let mut logs = sandbox.dsl("logs");
    let logs = said(logs.arg("last").env("TEST_TOKEN", TOKEN)).exits(0).out;
    clean("logs", logs.as_bytes());
    assert!(logs.contains("****** and again ***\n***\n***\n***\n***\nno line end: ***"), "{logs}");
    for format in ["text", "json"] {
        clean("status", said(sandbox.dsl("status").args(["--format", format])).exits(0).out.as_bytes());
    }
}
