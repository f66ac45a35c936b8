//! Where clients connect: TCP, and UNIX sockets on the systems that have them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::fs::{FileTypeExt, MetadataExt};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{refuse, Error};

/// A socket that clients connect to.
pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, SocketFile),
}

/// The file of a UNIX socket, removed when dropped.
#[cfg(unix)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number, by which it is told from what others put in its place.
    identity: Option<(u64, u64)>,
}

/// The connection to one client. Reading and writing need no exclusive access, as for the streams
/// inside.
pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Listener {
    /// Listens on `HOST:PORT`, or on `unix:NAME`, the file /tmp/ipi_NAME.
    ///
    /// # Errors
    /// [`Error::Parameter`] on `address`.
    pub fn bind(address: &str) -> Result<Self, Error> {
        let listener = match address.strip_prefix("unix:") {
            Some(name) => Self::bind_unix(address, name)?,
            None => Self::bind_tcp(address)?,
        };
        // Accepting is polled, so that it can be stopped.
        match &listener {
            Self::Tcp(listener) => listener.set_nonblocking(true),
            #[cfg(unix)]
            Self::Unix(listener, _) => listener.set_nonblocking(true),
        }
        .map_err(|e| refused(address, e))?;
        Ok(listener)
    }

    fn bind_tcp(address: &str) -> Result<Self, Error> {
        if address.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            let problem = format!(
                "is \"{address}\": write host and port, such as \"localhost:31415\", or \
                 \"unix:NAME\" for the socket /tmp/ipi_NAME"
            );
            return refuse("address", problem);
        }
        let mut addresses: Vec<_> =
            address.to_socket_addrs().map_err(|e| refused(address, e))?.collect();
        // `localhost` has an IPv4 and an IPv6 address, and many clients try only the former.
        addresses.sort_by_key(|a| !a.is_ipv4());
        TcpListener::bind(addresses.as_slice()).map(Self::Tcp).map_err(|e| refused(address, e))
    }

    #[cfg(unix)]
    fn bind_unix(address: &str, name: &str) -> Result<Self, Error> {
        // The system's limit is some hundred bytes.
        if name.is_empty() || name.len() > 80 || name.contains(['/', '\0']) {
            let problem = format!(
                "is \"{address}\": write \"unix:NAME\" for the socket /tmp/ipi_NAME; a name has up \
                 to 80 bytes and no `/`"
            );
            return refuse("address", problem);
        }
        let path = PathBuf::from(format!("/tmp/ipi_{name}"));
        let listener = match UnixListener::bind(&path) {
            Err(e) if e.kind() == ErrorKind::AddrInUse && !is_socket(&path) => {
                let problem = format!(
                    "\"{address}\" needs {}, where there is something that is no socket: move it \
                     away, or choose another name",
                    path.display()
                );
                return refuse("address", problem);
            }
            // A killed process leaves its file behind; then nothing listens there.
            Err(e) if e.kind() == ErrorKind::AddrInUse && !answers(&path) => {
                std::fs::remove_file(&path).and_then(|()| UnixListener::bind(&path))
            }
            result => result,
        };
        let listener = listener.map_err(|e| refused(address, e))?;
        let identity = identity(&path);
        Ok(Self::Unix(listener, SocketFile { path, identity }))
    }

    #[cfg(not(unix))]
    fn bind_unix(address: &str, _: &str) -> Result<Self, Error> {
        let problem = format!(
            "is \"{address}\": this system has no UNIX sockets, write host and port, such as \
             \"localhost:31415\""
        );
        refuse("address", problem)
    }

    /// The next waiting client; [`ErrorKind::WouldBlock`] when there is none.
    pub fn accept(&self) -> io::Result<Stream> {
        // On some systems the stream inherits the listener's mode.
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(false)?;
                // Messages are small and each waits for the other.
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            #[cfg(unix)]
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(false)?;
                Ok(Stream::Unix(stream))
            }
        }
    }

    /// What clients connect to, with the port that the system chose if the given one was 0.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map_or_else(|e| e.to_string(), |a| a.to_string())
            }
            #[cfg(unix)]
            Self::Unix(_, file) => file.path.display().to_string(),
        }
    }
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        if is_socket(&self.path) && identity(&self.path) == self.identity {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether there is a socket, and not a link to one.
#[cfg(unix)]
fn is_socket(path: &std::path::Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

#[cfg(unix)]
fn identity(path: &std::path::Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(unix)]
fn answers(path: &std::path::Path) -> bool {
    !matches!(UnixStream::connect(path), Err(e) if e.kind() == ErrorKind::ConnectionRefused)
}

fn refused(address: &str, error: io::Error) -> Error {
    let advice = match error.kind() {
        ErrorKind::AddrInUse => "another program, perhaps another run, has it: choose another",
        _ => "choose another address of this machine",
    };
    Error::parameter("address", format!("\"{address}\" cannot be listened on: {error}; {advice}"))
}

impl Stream {
    /// Ends the connection; a thread that waits on it gets an error.
    pub fn shut_down(&self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            #[cfg(unix)]
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

/// A stream whose reads and writes end at a deadline, however slowly the bytes come.
pub(super) struct Timed {
    stream: Arc<Stream>,
    deadline: Instant,
}

impl Timed {
    pub fn new(stream: Arc<Stream>) -> Self {
        Self { stream, deadline: Instant::now() }
    }

    /// Sets the deadline to `limit` from now.
    pub fn allow(&mut self, limit: Duration) {
        self.deadline = Instant::now() + limit;
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

/// Many clients write an answer in pieces and delay each one until the last is acknowledged
/// (Nagle's algorithm), which would cost 40 ms an answer. The system may reset this, so it is set
/// each time.
fn quick_acknowledgement(stream: &TcpStream) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    std::os::linux::net::TcpStreamExt::set_quickack(stream, true)?;
    let _ = stream;
    Ok(())
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left()?;
        match &*self.stream {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(left)?;
                quick_acknowledgement(stream)?;
                (&*stream).read(buffer)
            }
            #[cfg(unix)]
            Stream::Unix(stream) => {
                stream.set_read_timeout(left)?;
                (&*stream).read(buffer)
            }
        }
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let left = self.left()?;
        match &*self.stream {
            Stream::Tcp(stream) => {
                stream.set_write_timeout(left)?;
                (&*stream).write(buffer)
            }
            #[cfg(unix)]
            Stream::Unix(stream) => {
                stream.set_write_timeout(left)?;
                (&*stream).write(buffer)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
