//! Sample files come back exactly, and files of unknown origin are errors, never panics.

mod frames;

use std::fs;

use boltzflow::error::Error;
use boltzflow::random::{stream, Purpose};
use boltzflow::samples::{check_destination, read_samples, weights_beside, write_samples, Samples};
use boltzflow::sampling::resample;
use boltzflow::system::System;
use npyz::WriterBuilder;
use rand::Rng;

fn batch(samples: usize, start: f64) -> Samples {
    Samples {
        positions: (0..samples * 8).map(|i| start + i as f64 / 3.0).collect(),
        log_weights: (0..samples).map(|i| -start - i as f64 / 7.0).collect(),
        energies: (0..samples).map(|i| start * i as f64).collect(),
    }
}

fn joined() -> Samples {
    let (mut all, other) = (batch(3, 0.1), batch(2, -5.0));
    all.positions.extend(other.positions);
    all.log_weights.extend(other.log_weights);
    all.energies.extend(other.energies);
    all
}

#[test]
fn samples_in_batches_come_back_exactly_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let system = System::new(4, 2).unwrap();
    for name in ["samples.npz", "samples.csv", "samples.npy"] {
        let path = folder.path().join(name);
        write_samples(&path, system, 5, [Ok(batch(3, 0.1)), Ok(batch(2, -5.0))]).unwrap();
        let samples = read_samples(&path, system).unwrap();
        if name.ends_with("npy") {
            assert_eq!(samples, Samples { positions: joined().positions, ..Samples::default() });
        } else {
            assert_eq!(samples, joined(), "{name}");
        }
        assert_eq!(samples.count(system), 5);
        let bytes = fs::read(&path).unwrap();
        write_samples(&path, system, 5, [Ok(joined())]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name} is not reproducible");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn samples_that_fail_midway_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let system = System::new(4, 2).unwrap();
    let names = ["npz", "csv", "npy", "xyz", "pdb", "dcd"].map(|end| format!("samples.{end}"));
    for name in names {
        let path = folder.path().join(&name);
        let failure = Err(Error::Run("the potential broke".into()));
        let error = write_samples(&path, system, 5, [Ok(batch(3, 0.1)), failure]).unwrap_err();
        assert_eq!(error.to_string(), "the potential broke");
        let unweighted = Samples { log_weights: vec![], ..batch(2, 1.0) };
        for batches in [
            vec![],
            vec![Ok(batch(3, 0.1))],
            vec![Ok(batch(3, 0.1)), Ok(batch(3, 0.1))],
            vec![Ok(batch(3, 0.1)), Ok(unweighted)],
        ] {
            assert!(write_samples(&path, system, 5, batches).is_err(), "{name}");
        }
    }
    let path = folder.path().join("samples.txt");
    let message = write_samples(&path, system, 3, [Ok(batch(3, 0.1))]).unwrap_err().to_string();
    assert!(message.contains(".npz"), "{message}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn pdb_and_dcd_have_their_weights_in_a_table_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let system = System::new(4, 2).unwrap();
    for (name, digits) in [("samples.pdb", 5e-4), ("samples.dcd", 1e-6)] {
        let path = folder.path().join(name);
        let table = weights_beside(&path).unwrap().unwrap();
        write_samples(&path, system, 5, [Ok(batch(3, 0.1)), Ok(batch(2, -5.0))]).unwrap();
        let samples = read_samples(&path, system).unwrap();
        let all = joined();
        let away = samples.positions.iter().zip(&all.positions).map(|(a, b)| (a - b).abs());
        let away = away.fold(0.0, f64::max);
        // Planted: the file has fewer digits than what was written.
        assert!(away > 0.0 && away < 1.001 * digits, "{name}: {away}");
        assert_eq!((&samples.log_weights, &samples.energies), (&all.log_weights, &all.energies));
        let (bytes, rows) = (fs::read(&path).unwrap(), fs::read_to_string(&table).unwrap());
        assert!(rows.starts_with("log_weight,energy\n") && rows.lines().count() == 6, "{rows}");
        write_samples(&path, system, 5, [Ok(all)]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name} is not reproducible");
        for (damaged, word) in [
            (rows.replace("energy", "weight"), "columns log_weight"),
            (rows.lines().take(4).map(|l| format!("{l}\n")).collect(), "3 rows for 5 samples"),
            (format!("{rows}1,2\n"), "rows for 5 samples"),
            (rows.replacen("-0.1", "x", 1), "not a number"),
        ] {
            fs::write(&table, damaged).unwrap();
            let said = read_samples(&path, system).unwrap_err().to_string();
            assert!(said.contains(word) && said.contains("weights.csv"), "{said}");
        }
        // Other samples without weights must not get those of the last ones.
        let bare = Samples { log_weights: vec![], energies: vec![], ..batch(5, 1.0) };
        write_samples(&path, system, 5, [Ok(bare)]).unwrap();
        assert!(!table.exists() && read_samples(&path, system).unwrap().log_weights.is_empty());
    }
    let path = folder.path().join("far.pdb");
    let far = Samples { positions: vec![1e9; 8], ..Samples::default() };
    let said = write_samples(&path, system, 1, [Ok(far)]).unwrap_err().to_string();
    assert!(said.contains("atom 0 is at") && said.contains("--resample"), "{said}");
    let near = Samples { positions: vec![-123_456.789; 8], ..Samples::default() };
    write_samples(&path, system, 1, [Ok(near)]).unwrap();
    let there = read_samples(&path, system).unwrap().positions[0];
    assert!((there + 123_456.789).abs() < 1.0, "{there}");
}

#[test]
fn files_of_other_particles_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let system = System::new(4, 2).unwrap();
    for name in ["samples.pdb", "samples.dcd"] {
        let path = folder.path().join(name);
        write_samples(&path, system, 3, [Ok(batch(3, 0.1))]).unwrap();
        for particles in [3, 5] {
            let other = System::new(particles, 2).unwrap();
            let said = read_samples(&path, other).unwrap_err().to_string();
            assert!(said.contains(name) && said.contains(&format!("{particles}")), "{said}");
        }
        let in_space = System::new(4, 3).unwrap();
        assert_eq!(read_samples(&path, in_space).unwrap().positions[2], 0.0);
        let two = Samples { positions: batch(3, 0.1).positions, ..Samples::default() };
        write_samples(&path, in_space, 2, [Ok(two)]).unwrap();
        let said = read_samples(&path, system).unwrap_err().to_string();
        assert!(said.contains("in a plane"), "{said}");
    }
}

/// A `.npy` file as NumPy writes it.
fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data]
        .concat()
}

#[test]
fn reference_arrays_of_every_layout_read_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reference.npy");
    let system = System::new(2, 3).unwrap();
    let values: Vec<f64> = (0..12).map(|i| i as f64 - 3.5).collect();
    // Fortran order: the sample runs fastest, the dimension slowest.
    let mut columns = vec![0.0; 12];
    for (sample, particle, axis) in (0..12).map(|i| (i / 6, i / 3 % 2, i % 3)) {
        columns[sample + 2 * (particle + 2 * axis)] = values[6 * sample + 3 * particle + axis];
    }
    let flat = |v: &[f64], f: fn(f64) -> Vec<u8>| v.iter().flat_map(|&x| f(x)).collect::<Vec<u8>>();
    let f8 = |x: f64| x.to_le_bytes().to_vec();
    for bytes in [
        npy("<f8", false, "(2, 2, 3)", &flat(&values, f8)),
        npy("<f8", false, "(2, 6)", &flat(&values, f8)),
        npy(">f8", false, "(2, 2, 3)", &flat(&values, |x| x.to_be_bytes().to_vec())),
        npy("<f4", false, "(2, 2, 3)", &flat(&values, |x| (x as f32).to_le_bytes().to_vec())),
        npy("<f8", true, "(2, 2, 3)", &flat(&columns, f8)),
    ] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(read_samples(&path, system).unwrap().positions, values);
    }
}

#[test]
fn bad_reference_arrays_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reference.npy");
    let system = System::new(2, 3).unwrap();
    let data: Vec<u8> = (0..12).flat_map(|i| f64::from(i).to_le_bytes()).collect();
    let mut with_nan = data.clone();
    with_nan[7 * 8..8 * 8].copy_from_slice(&f64::NAN.to_le_bytes());
    let good = npy("<f8", false, "(2, 2, 3)", &data);
    for (bytes, expected) in [
        (npy("<f8", false, "(2, 3, 2)", &data), "[2, 3, 2] and should have [samples, 2, 3]"),
        (npy("<f8", false, "(12,)", &data), "should have"),
        (npy("<f8", false, "(0, 2, 3)", &[]), "should have"),
        (npy("<i8", false, "(2, 2, 3)", &data), "float64 or float32"),
        (npy("<f8", false, "(2, 2, 3)", &with_nan), "sample 1"),
        (npy("<f8", false, "(3, 2, 3)", &data), "ends after 12 of the 18"),
        (npy("<f8", false, "(1000000000000, 2, 3)", &data), "ends after 12"),
        (npy("<f8", false, "(9000000000000000000, 2, 3)", &data), "impossible shape"),
        (npy("<f8", false, "(99999999999999999999999, 2, 3)", &data), "unreadable"),
        (npy("<f8", false, "(-2, 2, 3)", &data), "unreadable"),
        (good[..40].to_vec(), "cut off"),
        (good[..4].to_vec(), "not a .npy"),
        (b"0.1,0.2,0.3\n".to_vec(), "not a .npy"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{".to_vec(), "damaged"),
        (b"\x93NUMPY\x09\x00\xff\xff\xff\xff{".to_vec(), "version 9"),
    ] {
        fs::write(&path, bytes).unwrap();
        let message = read_samples(&path, system).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("reference.npy"), "{message}");
    }
}

#[test]
fn bad_archives_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npz");
    let system = System::new(4, 2).unwrap();
    let message = |system| read_samples(&path, system).unwrap_err().to_string();

    write_samples(&path, system, 3, [Ok(batch(3, 0.1))]).unwrap();
    let other = message(System::new(3, 2).unwrap());
    assert!(other.contains("`positions`") && other.contains("[samples, 3, 2]"), "{other}");

    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert!(message(system).contains("not a .npz archive"));
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 0x2b;
        fs::write(&path, bytes).unwrap();
        let _ = read_samples(&path, system);
    }

    for (name, len, expected) in
        [("x", 24, "[\"x\"] and no `positions`"), ("positions", 24, "log_weights")]
    {
        let mut writer = zip::ZipWriter::new(fs::File::create(&path).unwrap());
        for (name, shape) in [(name, vec![3, 4, 2]), ("log_weights", vec![2])] {
            let options = zip::write::SimpleFileOptions::default();
            writer.start_file(format!("{name}.npy"), options).unwrap();
            let array = npyz::WriteOptions::new().default_dtype().shape(&shape);
            let mut array = array.writer(&mut writer).begin_nd().unwrap();
            array.extend((0..len.min(shape.iter().product())).map(|i| i as f64)).unwrap();
            array.finish().unwrap();
            if name == "x" {
                break;
            }
        }
        writer.finish().unwrap();
        assert!(message(system).contains(expected), "{}", message(system));
    }
}

#[test]
fn bad_tables_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let system = System::new(4, 2).unwrap();
    let header = "x0,y0,x1,y1,x2,y2,x3,y3,energy\n";
    for (text, expected) in [
        ("", "x0,y0,x1,y1"),
        ("a,b\n1,2\n", "x0,y0,x1,y1"),
        (header, "no samples"),
        (&format!("{header}1,2,3,4,5,6,7,8,9\n1,2,3,4,5,6,7,eight,9\n"), "sample 1 has `eight`"),
        (&format!("{header}1,2,3,4,5,6,7,8\n"), "fields"),
        (
            &format!("{header}1,2,3,4,5,6,inf,8,9\n"),
            "sample 0 (counted from 0) has at atom 3 the coordinate inf",
        ),
        (&format!("{header}1,2,3,4,5,6,7,8,NaN\n"), "the energy NaN"),
    ] {
        fs::write(&path, text).unwrap();
        let message = read_samples(&path, system).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("a.csv"), "{message}");
    }
    assert!(read_samples(folder.path().join("b.csv"), system).is_err());
}

/// Weights with an effective sample size of 40 %, on positions and energies that identify each.
fn weighted(count: usize) -> Samples {
    let weight =
        |i: usize| -3.0 * (i as f64 * 0.618).fract() + if i.is_multiple_of(7) { 1.0 } else { 0.0 };
    Samples {
        positions: (0..count).flat_map(|i| [i as f64, 0.5, 0.0, -0.5]).collect(),
        log_weights: (0..count).map(weight).collect(),
        energies: (0..count).map(|i| -(i as f64)).collect(),
    }
}

#[test]
fn resampling_a_stream_gives_each_sample_its_share_and_leaves_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("equal.npz");
    let system = System::new(2, 2).unwrap();
    let all = weighted(3000);
    let logs = all.log_weights.clone();
    let total: f64 = logs.iter().map(|w| w.exp()).sum();
    let halves = || {
        let part = |rows: std::ops::Range<usize>| {
            Ok(Samples {
                positions: all.positions[4 * rows.start..4 * rows.end].to_vec(),
                log_weights: logs[rows.clone()].to_vec(),
                energies: all.energies[rows].to_vec(),
            })
        };
        [part(0..1000), part(1000..3000)]
    };
    for places in [100, 3000, 20_000] {
        let offset = stream(1, Purpose::Sampling, u64::MAX, places as u64).gen();
        let mut resampled = resample(&path, system, places, offset, halves()).unwrap();
        write_samples(&path, system, places, &mut resampled).unwrap();
        let distinct = resampled.distinct();
        drop(resampled);
        let found = read_samples(&path, system).unwrap();
        assert_eq!(found.count(system), places);
        assert!(found.log_weights.is_empty());
        let mut counts = vec![0usize; 3000];
        for (x, energy) in found.positions.chunks(4).zip(found.energies) {
            assert_eq!(energy, -x[0], "energies stay with their positions");
            counts[x[0] as usize] += 1;
        }
        assert_eq!(counts.iter().filter(|c| **c > 0).count(), distinct);
        for (count, log_weight) in counts.iter().zip(&logs) {
            let expected = places as f64 * log_weight.exp() / total;
            assert!((*count as f64 - expected).abs() < 1.0 + 1e-9, "{count} {expected}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let none = Samples { log_weights: vec![f64::NEG_INFINITY; 3000], ..weighted(3000) };
    let error = resample(&path, system, 5, 0.5, [Ok(none)]).err().unwrap().to_string();
    assert!(error.contains("no sample has a finite weight"), "{error}");
}

#[test]
fn weights_under_another_name_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npz");
    for (name, refused) in [("weights", true), ("log_weight", true), ("forces", false)] {
        let mut writer = zip::ZipWriter::new(fs::File::create(&path).unwrap());
        for (name, shape) in [("positions", vec![3, 4, 2]), (name, vec![3])] {
            let options = zip::write::SimpleFileOptions::default();
            writer.start_file(format!("{name}.npy"), options).unwrap();
            let array = npyz::WriteOptions::new().default_dtype().shape(&shape);
            let mut array = array.writer(&mut writer).begin_nd().unwrap();
            array.extend((0..shape.iter().product()).map(|i| i as f64)).unwrap();
            array.finish().unwrap();
        }
        writer.finish().unwrap();
        match read_samples(&path, System::new(4, 2).unwrap()) {
            Ok(_) => assert!(!refused, "{name}"),
            Err(error) => {
                let said = error.to_string();
                assert!(refused && said.contains(name) && said.contains("log_weights"), "{said}");
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn links_stay_pipes_get_the_bytes_and_files_keep_their_permissions() {
    use std::os::unix::fs::{symlink, FileTypeExt, PermissionsExt};

    let folder = tempfile::tempdir().unwrap();
    let system = System::new(4, 2).unwrap();
    let place = |name: &str| folder.path().join(name);
    let write = |name: &str| write_samples(place(name), system, 3, [Ok(batch(3, 0.1))]);
    let want = |name: &str| assert_eq!(read_samples(place(name), system).unwrap(), batch(3, 0.1));
    fs::create_dir(place("data")).unwrap();
    for (link, names, file) in [
        ("to_file.npz", "data/old.npz", "data/old.npz"),
        ("to_nothing.npz", "data/new.npz", "data/new.npz"),
        ("to_link.npz", "to_nothing.npz", "data/new.npz"),
    ] {
        if file.contains("old") {
            fs::write(place(file), "old").unwrap();
            fs::set_permissions(place(file), fs::Permissions::from_mode(0o640)).unwrap();
        }
        symlink(names, place(link)).unwrap();
        write(link).unwrap();
        assert!(fs::symlink_metadata(place(link)).unwrap().is_symlink(), "{link}");
        assert!(fs::symlink_metadata(place(file)).unwrap().is_file(), "{file}");
        want(file);
    }
    assert_eq!(fs::metadata(place("data/old.npz")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(place("data")).unwrap().count(), 2);
    symlink("round.npz", place("round.npz")).unwrap();
    assert!(write("round.npz").is_err());

    for name in ["pipe.npz", "pipe.xyz"] {
        let made = std::process::Command::new("mkfifo").arg(place(name)).status().unwrap();
        assert!(made.success());
        let pipe = place(name);
        let reader = std::thread::spawn(move || fs::read(pipe).unwrap());
        write(name).unwrap();
        let bytes = reader.join().unwrap();
        assert!(fs::symlink_metadata(place(name)).unwrap().file_type().is_fifo(), "{name}");
        fs::remove_file(place(name)).unwrap();
        write(name).unwrap();
        assert_eq!(fs::read(place(name)).unwrap(), bytes, "{name}");
    }
}

#[test]
fn a_destination_that_cannot_be_written_is_found_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    fs::create_dir(place("folder.xyz")).unwrap();
    for (name, words) in
        [("folder.xyz", "is a folder"), ("no/x.xyz", "not a folder"), ("x.gro", ".extxyz")]
    {
        let said = check_destination(place(name)).unwrap_err().to_string();
        assert!(said.contains(name) && said.contains(words), "{said}");
    }
    for name in ["x.XYZ", "x.Npz", "x.csv"] {
        check_destination(place(name)).unwrap();
    }
}
