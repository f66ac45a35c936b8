//! DCD, the trajectories of CHARMM, NAMD, X-PLOR and OpenMM: positions as f32, without names.
//!
//! A file is a sequence of Fortran's records, each between two copies of its length: a header with
//! the word CORD and twenty numbers, titles, the number of atoms, and for each frame all x, all y
//! and all z (<https://www.ks.uiuc.edu/Research/vmd/plugins/molfile/dcdplugin.html>).

use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use super::format::{Contents, Format, Particles, Samples};
use crate::error::Error;
use crate::files::AtomicFile;

/// A frame per sample, in Å.
pub(super) struct Dcd;

/// Length of the header.
const HEADER: u32 = 84;
/// Its numbers: frames, fixed atoms, whether frames have a unit cell, and a fourth dimension.
const FRAMES: usize = 0;
const FIXED: usize = 8;
const CELL: usize = 10;
const FOURTH: usize = 11;
/// The version of CHARMM that wrote it; with 0, X-PLOR did, which knows no unit cell.
const VERSION: usize = 19;
/// Most bytes of the titles.
const LONGEST_TITLES: u32 = 1 << 16;

impl Format for Dcd {
    fn endings(&self) -> &'static [&'static str] {
        &["dcd"]
    }

    fn in_units(&self) -> bool {
        true
    }

    fn weights_beside(&self) -> bool {
        true
    }

    fn write(
        &self,
        file: &mut AtomicFile,
        contents: &Contents<'_>,
        batches: &mut dyn Iterator<Item = Result<Samples, Error>>,
    ) -> Result<(), Error> {
        let failed = |source| contents.failed(source);
        let system = contents.particles.system;
        let (n, d) = (system.particles(), system.dimension());
        let too_many = || Error::parameter("samples", "are too many for a DCD file: write .npz");
        let frames = i32::try_from(contents.count).map_err(|_| too_many())?;
        let atoms = i32::try_from(n).map_err(|_| too_many())?;
        let mut numbers = [0; 20];
        (numbers[FRAMES], numbers[VERSION]) = (frames, 24);
        // The first step, steps between frames, steps in all, and the time step as f32.
        (numbers[1], numbers[2], numbers[3]) = (1, 1, frames);
        numbers[9] = i32::from_ne_bytes(1f32.to_ne_bytes());
        let header = numbers.iter().flat_map(|number| number.to_le_bytes());
        let header: Vec<u8> = b"CORD".iter().copied().chain(header).collect();
        let title = format!("{:<80}", "Samples of boltzflow; weights in the .weights.csv beside");
        let titles = [&1i32.to_le_bytes()[..], title.as_bytes()].concat();
        for record in [&header[..], &titles, &atoms.to_le_bytes()] {
            write_record(file, record).map_err(failed)?;
        }
        let unit = contents.particles.angstrom();
        let mut row = Vec::with_capacity(4 * n);
        for batch in batches {
            for x in batch?.positions.chunks_exact(n * d) {
                for axis in 0..3 {
                    row.clear();
                    for place in x.chunks_exact(d) {
                        let value = place.get(axis).map_or(0.0, |value| value * unit) as f32;
                        // What is beyond f32 would be no number in the file.
                        let value = value.clamp(f32::MIN, f32::MAX);
                        row.extend(value.to_le_bytes());
                    }
                    write_record(file, &row).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    fn read(&self, file: BufReader<File>, particles: &Particles) -> Result<Samples, String> {
        let mut records = Records::begin(file)?;
        let numbers = records.header()?;
        if numbers[FIXED] != 0 || (numbers[VERSION] != 0 && numbers[FOURTH] != 0) {
            return Err("has fixed atoms or a fourth dimension: write it without".to_string());
        }
        records.skip_titles()?;
        let (n, d) = (particles.system.particles(), particles.system.dimension());
        let mut count = [0; 4];
        records.read("the number of atoms", &mut count)?;
        let atoms = records.number(count);
        if usize::try_from(atoms).ok() != Some(n) {
            return Err(format!("has {atoms} atoms and the target has {n}"));
        }
        let has_cell = numbers[VERSION] != 0 && numbers[CELL] != 0;
        let unit = particles.angstrom();
        let mut samples = Samples::default();
        let mut row = vec![0; 4 * n];
        let mut frame = 0;
        while records.go_on()? {
            let what = format!("frame {frame}");
            if has_cell {
                let mut cell = [0; 48];
                records.read(&what, &mut cell)?;
                let lengths = [&cell[..8], &cell[16..24], &cell[40..]];
                if lengths.iter().any(|length| length.iter().any(|byte| *byte != 0)) {
                    return Err(format!(
                        "{what} has a unit cell: there are no periodic boundaries"
                    ));
                }
            }
            let first = samples.positions.len();
            samples.positions.resize(first + n * d, 0.0);
            for axis in 0..3 {
                records.read(&what, &mut row)?;
                for (atom, bytes) in row.chunks_exact(4).enumerate() {
                    let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
                    let value = f64::from(f32::from_bits(records.number(bytes) as u32));
                    match samples.positions.get_mut(first + atom * d + axis) {
                        Some(place) if axis < d => *place = value / unit,
                        _ if value == 0.0 => {}
                        _ => {
                            return Err(format!(
                                "{what}, atom {atom} (counted from 0) has z = {value} and the \
                                 target is in a plane"
                            ))
                        }
                    }
                }
            }
            frame += 1;
        }
        match usize::try_from(numbers[FRAMES]) {
            // Some programs do not come back to write it.
            _ if numbers[FRAMES] == 0 && frame > 0 => Ok(samples),
            Ok(wanted) if wanted == frame && frame > 0 => Ok(samples),
            _ => Err(format!(
                "has {frame} frames and says that it has {}: it was cut off",
                numbers[FRAMES]
            )),
        }
    }
}

fn write_record(file: &mut impl Write, record: &[u8]) -> io::Result<()> {
    let length = u32::try_from(record.len()).map_err(io::Error::other)?.to_le_bytes();
    file.write_all(&length)?;
    file.write_all(record)?;
    file.write_all(&length)
}

/// A file, record by record.
struct Records {
    file: BufReader<File>,
    is_big_endian: bool,
    /// The length of the next record, which is read already.
    next: Option<u32>,
}

impl Records {
    /// The first record's length shows the order of bytes.
    fn begin(mut file: BufReader<File>) -> Result<Self, String> {
        let mut length = [0; 4];
        let read = file.read_exact(&mut length);
        let is_big_endian = length == HEADER.to_be_bytes();
        if read.is_err() || !(is_big_endian || length == HEADER.to_le_bytes()) {
            return Err("is not a DCD file: it does not begin with a record of 84 bytes".into());
        }
        Ok(Self { file, is_big_endian, next: Some(HEADER) })
    }

    fn number(&self, bytes: [u8; 4]) -> i32 {
        if self.is_big_endian {
            i32::from_be_bytes(bytes)
        } else {
            i32::from_le_bytes(bytes)
        }
    }

    fn length(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes)?;
        Ok(self.number(bytes) as u32)
    }

    /// Whether there is another record.
    fn go_on(&mut self) -> Result<bool, String> {
        let mut first = [0; 1];
        match self.file.read(&mut first) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(format!("cannot be read: {error}")),
        }
        let mut bytes = [first[0], 0, 0, 0];
        self.file.read_exact(&mut bytes[1..]).map_err(|_| "ends within a record".to_string())?;
        self.next = Some(self.number(bytes) as u32);
        Ok(true)
    }

    /// Fills `record` with the next one, which must be as long.
    fn read(&mut self, what: &str, record: &mut [u8]) -> Result<(), String> {
        let cut = |_| format!("ends within {what}: it was cut off");
        let before = match self.next.take() {
            Some(length) => length,
            None => self.length().map_err(cut)?,
        };
        if before as usize != record.len() {
            return Err(format!(
                "has a record of {before} bytes for {what}, and {} are due",
                record.len()
            ));
        }
        self.file.read_exact(record).map_err(cut)?;
        match self.length().map_err(cut)? == before {
            true => Ok(()),
            false => Err(format!("has a record that does not end as it begins, for {what}")),
        }
    }

    fn header(&mut self) -> Result<[i32; 20], String> {
        let mut header = [0; HEADER as usize];
        self.read("its header", &mut header)?;
        if !header.starts_with(b"CORD") {
            return Err("has a header without the word CORD: it is not a DCD file".to_string());
        }
        let mut numbers = [0; 20];
        for (number, bytes) in numbers.iter_mut().zip(header[4..].chunks_exact(4)) {
            *number = self.number([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Ok(numbers)
    }

    fn skip_titles(&mut self) -> Result<(), String> {
        let cut = |_| "ends within its titles: it was cut off".to_string();
        let length = self.length().map_err(cut)?;
        if length > LONGEST_TITLES {
            return Err(format!("has titles of {length} bytes: it is not a DCD file"));
        }
        let mut titles = vec![0; length as usize];
        self.next = Some(length);
        self.read("its titles", &mut titles)
    }
}
