//! The program as a process: exit codes, and what goes to standard output and what does not.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

const SELECTOR: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec:
  clusterIP: 10.96.12.7
  selector: {app: my-app}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: my-application, namespace: shop, labels: {app: my-application}}
spec:
  nodeName: node-1
  containers: [{name: c, image: x, ports: [{containerPort: 80}]}]
status: {phase: Running, podIP: 10.244.1.4, podIPs: [{ip: 10.244.1.4}], conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: web}
spec:
  nodeName: node-1
  containers: [{name: c, image: x}]
status: {phase: Running, podIP: 10.244.1.9, podIPs: [{ip: 10.244.1.9}], conditions: [{type: Ready, status: "True"}]}
"#;

/// Runs the program with objects on its standard input.
fn ask(objects: &str, words: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_why-dropped"))
        .args(words)
        .env_remove("WHY_DROPPED_COLLECTOR")
        .env("COLUMNS", "60")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that refuses its arguments reads nothing.
    drop(child.stdin.take().expect("piped").write_all(objects.as_bytes()));
    child.wait_with_output().expect("the program ends")
}

fn texts(output: &Output) -> (String, String) {
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_selector_that_matches_nothing_is_found_in_files() {
    let output = ask(SELECTOR, &["--objects", "-", "web/client", "shop/api:80"]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    let first = out.lines().next().unwrap_or_default();
    assert!(first.starts_with("REJECTED (predicted): ") && first.ends_with("[S3, likely]"), "{out}");
    assert_eq!(err, "");

    let output = ask(SELECTOR, &["-o", "json", "--objects", "-", "web/client", "shop/api:80"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((answer["verdict"].as_str(), answer["basis"].as_str()), (Some("REJECTED"), Some("OBJECTS")));
    assert_eq!(answer["findings"][0]["id"], "S3");
}

#[test]
fn errors_leave_standard_output_empty() {
    let wrong = SELECTOR.replacen("apiVersion", "aapiVersion", 1);
    for (objects, words, expected) in [
        (wrong.as_str(), &["--objects", "-", "web/client", "shop/api:80"][..], "did you mean `apiVersion`?"),
        (SELECTOR, &["--objects", "-", "web/clinet", "shop/api:80"][..], "did you mean `web/client`?"),
        (SELECTOR, &["--objects", "-", "x.yaml", "web/client", "shop/api:80"][..], "stands alone"),
        ("", &["--objects", "/nowhere", "web/client", "shop/api:80"][..], "/nowhere"),
        ("", &["web/client"][..], "SRC and DST are needed"),
        ("", &["nodes"][..], "needs a collector"),
        ("", &["--collector", "127.0.0.1:7443", "nodes"][..], "http://"),
        ("", &["--collector", "http://192.0.2.1:1", "--token", "t", "nodes"][..], "not sent unencrypted"),
        ("", &["--collector", "https://127.0.0.1:1", "nodes"][..], "needs --ca-file"),
        ("", &["--collector", "http://127.0.0.1:1", "a/b", "c/d:1"][..], "connect to the collector"),
        ("", &["drops", "--pod", "client"][..], "write NAMESPACE/client"),
        ("", &["explain", "selector-matches-nothin"][..], "did you mean selector-matches-nothing?"),
    ] {
        let output = ask(objects, &[&["-o", "json"], words].concat());
        let (out, err) = texts(&output);
        assert_eq!((output.status.code(), out.as_str()), (Some(2), ""), "{words:?}: {err}");
        assert!(err.starts_with("error: ") && err.contains(expected), "{words:?}: {err}");
    }
}

#[test]
fn what_is_no_collector_is_told_from_one_that_is_silent() {
    // Takes connections and never says anything.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().expect("bound"));
    let (to_silent, to_web) = (address(&silent), address(&web));
    std::thread::spawn(move || {
        for stream in web.incoming().flatten() {
            let mut stream = stream;
            drop(stream.read(&mut [0; 512]));
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"));
        }
    });
    for words in [&["nodes"][..], &["drops"], &["drops", "--watch"], &["web/client", "shop/api:80"]] {
        for (url, expected) in [(&to_silent, "did not answer in time"), (&to_web, "is not a collector")] {
            let output = ask("", &[&["--timeout", "200ms", "--collector", url], words].concat());
            let (out, err) = texts(&output);
            assert_eq!((output.status.code(), out.as_str()), (Some(2), ""), "{words:?}: {err}");
            assert!(err.contains(expected) && err.contains(url.as_str()), "{words:?}: {err}");
            assert!(err.contains("\nhint: "), "{words:?}: {err}");
        }
    }
}

#[test]
fn as_wide_as_asked_for() {
    for words in [&["explain", "S3"][..], &["causes"], &["--objects", "-", "web/client", "shop/api:81"]] {
        let (out, err) = texts(&ask(SELECTOR, words));
        assert!(out.lines().count() > 5, "{out}{err}");
        for line in out.lines().skip(1) {
            assert!(line.chars().count() <= 60, "{line}");
        }
    }
}

#[test]
fn the_catalogue_is_built_in() {
    let output = ask("", &["explain", "s3"]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(out.starts_with("S3: "), "{out}");
    let list: serde_json::Value =
        serde_json::from_slice(&ask("", &["causes", "-o", "json"]).stdout).expect("JSON");
    assert!(list["causes"].as_array().is_some_and(|causes| causes.iter().any(|cause| cause["id"] == "S3")));
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_why-dropped"))
        .arg("causes")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    let (_, err) = texts(&output);
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""));
}
