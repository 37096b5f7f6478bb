//! A deployment type of one's own, carried out by a program of one's own: the example, with a shorter watch.

use crate::support::{Sandbox, said};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

/// The example, its preview served by this test.
fn example(page: &'static str) -> Sandbox {
    let sandbox = Sandbox::of_example("user-provider");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let length = page.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{page}"
            );
        }
    });
    let path = sandbox.module().join("handbook.lockstep");
    let text = fs::read_to_string(&path).expect("the example");
    let edited =
        text.replace("https://preview.${service.host}/", &url).replace("duration = 5m", "duration = 100ms");
    assert_ne!(text, edited);
    fs::write(&path, edited).expect("the example");
    let build = sandbox.module().join("public/2024-11-01");
    fs::create_dir_all(&build).expect("a folder");
    fs::write(build.join("index.html"), "<h1>Handbook</h1>").expect("a file");
    sandbox
}

fn served(sandbox: &Sandbox, zone: &str) -> Option<String> {
    fs::read_to_string(sandbox.module().join("cdn").join(zone).join("live")).ok()
}

#[test]
fn carries_its_steps_out() {
    let sandbox = example("<h1>Handbook</h1>");
    let mut run = sandbox.run(&["release", "build=2024-11-01", "--yes"]);
    let told = said(run.env("CDN_TOKEN", "tok-91c7aa")).exits(0);
    for zone in ["eu", "us"] {
        let live = served(&sandbox, zone).expect("the zone is served");
        assert!(live.ends_with(" 100\n"), "{zone}: {live}");
    }
    assert!(told.err.contains("publish[europe].preview.upload: uploading public/2024-11-01"), "{}", told.err);
}

#[test]
fn takes_its_steps_back() {
    let sandbox = example("nothing to see");
    for zone in ["eu", "us"] {
        let folder = sandbox.module().join("cdn").join(zone);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("live"), "1234 100\n").expect("a file");
    }
    let mut run = sandbox.run(&["release", "build=2024-11-01", "--yes"]);
    let told = said(run.env("CDN_TOKEN", "tok-91c7aa")).exits(1);
    assert!(told.err.contains("does not contain `<h1>`"), "{}", told.err);
    for zone in ["eu", "us"] {
        assert_eq!(served(&sandbox, zone).as_deref(), Some("1234 100\n"), "{}", told.err);
        assert!(!sandbox.module().join("cdn").join(zone).join("preview").exists());
    }
}

#[test]
fn a_program_that_is_not_there_is_named_before_anything_begins() {
    let sandbox = example("");
    fs::remove_file(sandbox.module().join("cdn-driver")).expect("the program");
    let mut run = sandbox.run(&["release", "build=2024-11-01", "--yes"]);
    let told = said(run.env("CDN_TOKEN", "tok-91c7aa")).exits(2);
    assert!(
        told.err.contains("the program `./cdn-driver` of provider `cdn`, which is not there"),
        "{}",
        told.err
    );
    assert!(!sandbox.module().join("cdn").exists(), "nothing was touched");
}
