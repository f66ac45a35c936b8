//! The page of a report, and its server.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::data::Curves;
use super::{page, serve, Facts, Report, RunReport};

fn run(name: &str) -> RunReport {
    let facts = Facts { name: name.to_string(), ..Facts::default() };
    let curves = Curves::default();
    let (verdict, remarks) = Default::default();
    RunReport { facts, evaluation: None, verdict, curves, remarks, pictures: None }
}

fn report(runs: Vec<RunReport>) -> Report {
    Report { version: "0", live: false, runs }
}

#[test]
fn names_cannot_leave_the_data() {
    let name = "</script><script>alert(1)</script><!--";
    let page = page(&report(vec![run(name)])).unwrap();
    // Planted: the name as it is would end the element.
    assert!(!page.contains(name) && !page.contains("<!--"));
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(page.contains("\\u003c/script>"));
}

#[test]
fn the_server_answers_and_survives_who_does_not_behave() {
    let serving = serve("127.0.0.1:0".parse().unwrap(), || Ok(report(vec![run("live")]))).unwrap();
    let ask = |request: &[u8]| {
        let mut stream = TcpStream::connect(serving.address).unwrap();
        // A client that sends too much may be disconnected while it sends.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    // A connection that sends nothing costs the next one two seconds.
    let silent = TcpStream::connect(serving.address).unwrap();
    let page = ask(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("\"name\":\"live\""), "{page}");
    // Its icon is one that its own policy allows.
    assert!(page.contains("href=\"data:,\"") && page.contains("img-src data:;"), "{page}");
    drop(silent);
    let data = ask(b"GET /data.json HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let body = data.split("\r\n\r\n").nth(1).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(body).unwrap()["runs"].is_array());
    let head = ask(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"));
    let long = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 9000]].concat();
    let refused = ask(&long);
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 431"), "{refused}");
    assert!(ask(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n").starts_with("HTTP/1.1 405"));
    assert!(ask(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").starts_with("HTTP/1.1 403"));
    assert!(ask(&[0, 255, 13, 10, 13, 10]).starts_with("HTTP/1.1 405"));
}
