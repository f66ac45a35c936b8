//! The messages of i-PI's socket protocol, as its server writes and reads them.
//!
//! A message is a name of twelve bytes, filled with blanks, and its data: 32-bit integers and
//! doubles, little-endian, lengths in bohr and energies in hartree. Ceriotti, More and
//! Manolopoulos, Comput. Phys. Commun. 185, 1019 (2014); Litman et al., J. Chem. Phys. 161, 062504
//! (2024).

use std::io::{self, ErrorKind, Read};

/// Bytes of a message's name.
const NAME: usize = 12;
/// Most bytes of additional data that are accepted; they are ignored.
const MOST_EXTRA: i32 = 1 << 24;

/// The state that a client reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// It wants to be initialised.
    NeedInit,
    /// It waits for positions.
    Ready,
    /// It has energy and forces.
    HaveData,
}

/// Why a client is given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("closed the connection")]
    Closed,
    #[error("did not answer in time")]
    Late,
    #[error("lost the connection: {0}")]
    Broken(io::Error),
    #[error("sent \"{said}\" where {expected} was expected")]
    Unexpected { said: String, expected: &'static str },
    #[error("answered with {answered} atoms where {sent} were sent")]
    Atoms { answered: i32, sent: usize },
    #[error("announced {0} bytes of additional data, where 0 to {MOST_EXTRA} are taken")]
    Extra(i32),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Late,
            ErrorKind::UnexpectedEof
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted => Self::Closed,
            _ => Self::Broken(error),
        }
    }
}

/// Energy in hartree and forces in hartree/bohr, [particles, 3].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub energy: f64,
    pub forces: Vec<f64>,
}

impl Answer {
    pub fn is_finite(&self) -> bool {
        self.energy.is_finite() && self.forces.iter().all(|f| f.is_finite())
    }
}

/// A message's name, filled with blanks.
pub(super) fn name(text: &str) -> [u8; NAME] {
    let mut name = [b' '; NAME];
    name[..text.len()].copy_from_slice(text.as_bytes());
    name
}

/// INIT: the number of a replica and a text for the client. Clients ignore both, but an empty text
/// confuses some.
pub(super) fn init(out: &mut Vec<u8>) {
    out.clear();
    out.extend(name("INIT"));
    out.extend(0i32.to_le_bytes());
    out.extend(1i32.to_le_bytes());
    out.push(b' ');
}

/// POSDATA: a cell with these edges along the axes, its inverse, and the positions
/// ([particles, 3]), in bohr.
pub(super) fn positions(edges: [f64; 3], positions: &[f64], out: &mut Vec<u8>) {
    out.clear();
    out.extend(name("POSDATA"));
    for diagonal in [edges, edges.map(f64::recip)] {
        for entry in 0..9 {
            let value = if entry % 4 == 0 { diagonal[entry / 4] } else { 0.0 };
            out.extend(value.to_le_bytes());
        }
    }
    out.extend(((positions.len() / 3) as i32).to_le_bytes());
    out.extend(positions.iter().flat_map(|x| x.to_le_bytes()));
}

/// The answer to STATUS.
pub(super) fn read_status(reader: &mut impl Read) -> Result<Status, Fault> {
    let said = read::<NAME>(reader)?;
    [("READY", Status::Ready), ("NEEDINIT", Status::NeedInit), ("HAVEDATA", Status::HaveData)]
        .into_iter()
        .find(|(text, _)| said == name(text))
        .map(|(_, status)| status)
        .ok_or_else(|| unexpected(&said, "READY, NEEDINIT or HAVEDATA"))
}

/// The answer to GETFORCE, for this many atoms. Nothing is allocated before their number is right.
pub(super) fn read_forces(reader: &mut impl Read, atoms: usize) -> Result<Answer, Fault> {
    let said = read::<NAME>(reader)?;
    if said != name("FORCEREADY") {
        return Err(unexpected(&said, "FORCEREADY"));
    }
    let energy = f64::from_le_bytes(read(reader)?);
    let answered = i32::from_le_bytes(read(reader)?);
    if usize::try_from(answered) != Ok(atoms) {
        return Err(Fault::Atoms { answered, sent: atoms });
    }
    let mut forces = Vec::with_capacity(3 * atoms);
    for _ in 0..3 * atoms {
        forces.push(f64::from_le_bytes(read(reader)?));
    }
    // The virial, which has no meaning without a periodic box, and which not all clients compute.
    read::<72>(reader)?;
    let extra = i32::from_le_bytes(read(reader)?);
    match u64::try_from(extra) {
        Ok(bytes) if extra <= MOST_EXTRA => {
            if io::copy(&mut reader.take(bytes), &mut io::sink())? < bytes {
                return Err(Fault::Closed);
            }
        }
        _ => return Err(Fault::Extra(extra)),
    }
    Ok(Answer { energy, forces })
}

fn read<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn unexpected(said: &[u8], expected: &'static str) -> Fault {
    Fault::Unexpected { said: said.trim_ascii_end().escape_ascii().to_string(), expected }
}
