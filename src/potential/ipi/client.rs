//! The conversation with one client.

use std::io::{BufReader, Write};
use std::sync::Arc;
use std::time::Duration;

use super::address::{Stream, Timed};
use super::protocol::{self, Answer, Fault, Status};

/// Edge of the cubic cell that clients are sent, in bohr (53 nm). It stands for no periodic box;
/// the cell is as large as neighbour lists on a grid can still handle.
pub(super) const CELL: f64 = 1000.0;

/// A connected client.
pub(super) struct Client {
    stream: BufReader<Timed>,
    /// Edges of the cell, in bohr.
    cell: [f64; 3],
    limit: Duration,
    message: Vec<u8>,
}

impl Client {
    /// The client at the other end of `stream`, whose particles are in `cell`, and which may take
    /// `limit` for each answer.
    pub fn new(stream: Arc<Stream>, cell: [f64; 3], limit: Duration) -> Self {
        Self { stream: BufReader::new(Timed::new(stream)), cell, limit, message: Vec::new() }
    }

    /// Asks for the status of the client.
    pub fn ask(&mut self) -> Result<(), Fault> {
        self.send_name("STATUS")
    }

    /// Waits until the client, which has been asked, is ready for positions.
    pub fn ready(&mut self) -> Result<(), Fault> {
        let mut status = protocol::read_status(&mut self.stream)?;
        if status == Status::NeedInit {
            protocol::init(&mut self.message);
            self.send()?;
            self.ask()?;
            status = protocol::read_status(&mut self.stream)?;
        }
        expect(status, Status::Ready, "READY")
    }

    /// Energy and forces at `positions` ([particles, 3], bohr).
    pub fn evaluate(&mut self, positions: &[f64]) -> Result<Answer, Fault> {
        protocol::positions(self.cell, positions, &mut self.message);
        self.send()?;
        // Separate messages: some clients read names with a single call. The forces are requested
        // before the client reports that it has them, which saves a round trip.
        self.ask()?;
        self.send_name("GETFORCE")?;
        expect(protocol::read_status(&mut self.stream)?, Status::HaveData, "HAVEDATA")?;
        protocol::read_forces(&mut self.stream, positions.len() / 3)
    }

    /// Tells the client to exit.
    pub fn dismiss(mut self) {
        let _ = self.send_name("EXIT");
    }

    fn send_name(&mut self, name: &str) -> Result<(), Fault> {
        self.message.clear();
        self.message.extend(protocol::name(name));
        self.send()
    }

    /// Sends the message; the time limit of the answer starts now.
    fn send(&mut self) -> Result<(), Fault> {
        let stream = self.stream.get_mut();
        stream.allow(self.limit);
        Ok(stream.write_all(&self.message)?)
    }
}

fn expect(status: Status, expected: Status, name: &'static str) -> Result<(), Fault> {
    if status == expected {
        return Ok(());
    }
    let said = match status {
        Status::NeedInit => "NEEDINIT",
        Status::Ready => "READY",
        Status::HaveData => "HAVEDATA",
    };
    Err(Fault::Unexpected { said: said.to_string(), expected: name })
}
