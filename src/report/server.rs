//! The page over HTTP during a training: `/` is the page, `/data.json` its numbers.
//!
//! One thread answers one request at a time, GET and HEAD alone; nothing that a client sends
//! changes anything. A client that is slow or sends too much is cut off, and the training never
//! waits.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::page::{json, page};
use super::Report;
use crate::error::Error;

/// Time that one request may take, answer included.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a request's head; more is refused.
const LONGEST_HEAD: usize = 8 << 10;

/// A server that answers as long as the process lives.
#[derive(Debug)]
pub struct Serving {
    /// Where it listens.
    pub address: SocketAddr,
}

/// Listens on `address` and answers with what `report` returns at that moment.
///
/// # Errors
/// [`Error::Parameter`] when the address cannot be listened on.
pub fn serve(
    address: SocketAddr,
    report: impl Fn() -> Result<Report, Error> + Send + 'static,
) -> Result<Serving, Error> {
    let refuse = |e: io::Error| {
        Error::parameter("--serve", format!("cannot listen on {address}: {e}. Try another port"))
    };
    let listener = TcpListener::bind(address).map_err(refuse)?;
    let address = listener.local_addr().map_err(refuse)?;
    std::thread::Builder::new()
        .name("report".into())
        .spawn(move || {
            for stream in listener.incoming() {
                match stream {
                    // A client may go away in between.
                    Ok(stream) => drop(answer(stream, address, &report)),
                    // Such as out of file descriptors: wait before the next try.
                    Err(_) => std::thread::sleep(Duration::from_millis(100)),
                }
            }
        })
        .map_err(refuse)?;
    Ok(Serving { address })
}

fn answer(
    mut stream: TcpStream,
    address: SocketAddr,
    report: &impl Fn() -> Result<Report, Error>,
) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = match read_head(&mut stream, deadline) {
        Ok(head) => head,
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return send(&mut stream, "431 Request Header Fields Too Large", "text/plain", "", true)
        }
        Err(error) => return Err(error),
    };
    let (status, kind, body) = respond(&head, address, report);
    send(&mut stream, status, kind, &body, !head.starts_with("HEAD "))
}

/// Status, media type and body for a request's head.
fn respond(
    head: &str,
    address: SocketAddr,
    report: &impl Fn() -> Result<Report, Error>,
) -> (&'static str, &'static str, String) {
    let text = |status, body: &str| (status, "text/plain; charset=utf-8", format!("{body}\n"));
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !["GET", "HEAD"].contains(&method) {
        return text("405 Method Not Allowed", "only GET and HEAD");
    }
    // A foreign page whose name resolves to this machine (DNS rebinding) must not read this.
    let host = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("host"))
        .map(|(_, host)| host.trim());
    if address.ip().is_loopback() && !host.is_some_and(names_loopback) {
        return text("403 Forbidden", "ask for localhost");
    }
    let made = match path.split('?').next().unwrap_or_default() {
        "/" => report().and_then(|r| page(&r)).map(|page| ("text/html; charset=utf-8", page)),
        "/data.json" => report().and_then(|r| json(&r)).map(|json| ("application/json", json)),
        _ => return text("404 Not Found", "there are / and /data.json"),
    };
    match made {
        Ok((kind, body)) => ("200 OK", kind, body),
        Err(error) => text("503 Service Unavailable", &error.to_string()),
    }
}

fn names_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The request up to its empty line. [`ErrorKind::InvalidData`] when there is too much of it.
fn read_head(stream: &mut TcpStream, deadline: Instant) -> io::Result<String> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut part)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&part[..count]);
        if head.len() > LONGEST_HEAD {
            return Err(ErrorKind::InvalidData.into());
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn send(
    stream: &mut TcpStream,
    status: &str,
    kind: &str,
    body: &str,
    with_body: bool,
) -> io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
         img-src data:; \
         frame-ancestors 'none'\r\nConnection: close\r\n\r\n"
    )?;
    if with_body {
        stream.write_all(body.as_bytes())?;
    }
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(address: &str, head: &str) -> &'static str {
        let report = || Ok(Report { version: "0", live: true, runs: Vec::new() });
        respond(head, address.parse().unwrap(), &report).0
    }

    #[test]
    fn only_harmless_requests_of_this_machine_are_answered() {
        let here = "127.0.0.1:80";
        for (address, head, expected) in [
            (here, "GET / HTTP/1.1\r\nHost: localhost:80\r\n\r\n", "200 OK"),
            (here, "GET /data.json?3 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", "200 OK"),
            ("[::1]:80", "HEAD / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "200 OK"),
            (here, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "403 Forbidden"),
            (here, "GET / HTTP/1.1\r\nHost: localhost.example.org\r\n\r\n", "403 Forbidden"),
            (here, "GET / HTTP/1.1\r\n\r\n", "403 Forbidden"),
            // Who listens to the network has asked for it.
            ("0.0.0.0:80", "GET / HTTP/1.1\r\nHost: cluster\r\n\r\n", "200 OK"),
            (here, "POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", "405 Method Not Allowed"),
            (here, "GET /../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", "404 Not Found"),
            (here, "\r\n\r\n", "405 Method Not Allowed"),
        ] {
            assert_eq!(status(address, head), expected, "{head}");
        }
    }
}
