//! Files of UNIX sockets: only what a killed process has left is replaced.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener};

use boltzflow::potential::Ipi;

use super::parameters;

/// A name that no other test has, and its file.
fn name(what: &str) -> (String, String) {
    let name = format!("boltzflow_{what}_{}", std::process::id());
    (format!("unix:{name}"), format!("/tmp/ipi_{name}"))
}

#[test]
fn a_name_that_a_killed_process_left_is_taken_and_one_in_use_is_not() {
    let (address, path) = name("stale");
    drop(UnixListener::bind(&path).unwrap());
    let server = Ipi::new(parameters(&address)).unwrap();
    let error = Ipi::new(parameters(&address)).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
    assert_eq!(error.exit_code(), 2);
    drop(server);
    assert!(!std::path::Path::new(&path).exists());
}

#[test]
fn what_is_no_socket_is_refused_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::write(&data, "mine").unwrap();
    let dead = folder.path().join("socket");
    drop(UnixListener::bind(&dead).unwrap());
    let nowhere = folder.path().join("nowhere");
    type Make<'a> = Box<dyn Fn(&str) + 'a>;
    let cases: [(&str, Make<'_>); 5] = [
        ("file", Box::new(|path| fs::write(path, "mine").unwrap())),
        ("folder", Box::new(|path| fs::create_dir(path).unwrap())),
        ("link", Box::new(|path| symlink(&data, path).unwrap())),
        ("link_to_socket", Box::new(|path| symlink(&dead, path).unwrap())),
        ("broken_link", Box::new(|path| symlink(&nowhere, path).unwrap())),
    ];
    for (what, make) in cases {
        let (address, path) = name(what);
        make(&path);
        let before = fs::symlink_metadata(&path).unwrap().file_type();
        let error = Ipi::new(parameters(&address)).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(&path) && message.contains("no socket"), "{what}: {message}");
        assert_eq!(error.exit_code(), 2);
        assert_eq!(fs::symlink_metadata(&path).unwrap().file_type(), before, "{what}");
        if before.is_dir() {
            fs::remove_dir(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
    }
    assert_eq!(fs::read_to_string(&data).unwrap(), "mine");
}

#[test]
fn a_socket_of_another_kind_is_in_use() {
    let (address, path) = name("datagrams");
    let _other = UnixDatagram::bind(&path).unwrap();
    let message = Ipi::new(parameters(&address)).unwrap_err().to_string();
    assert!(message.contains(&path[4..]) || message.contains(&address), "{message}");
    fs::remove_file(&path).unwrap();
}

#[test]
fn what_others_put_in_the_place_of_the_socket_stays_at_the_end() {
    let (address, path) = name("replaced");
    let server = Ipi::new(parameters(&address)).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "mine").unwrap();
    drop(server);
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    fs::remove_file(&path).unwrap();
    // The socket of a server that has started since.
    let first = Ipi::new(parameters(&address)).unwrap();
    fs::remove_file(&path).unwrap();
    let second = Ipi::new(parameters(&address)).unwrap();
    drop(first);
    assert!(std::path::Path::new(&path).exists());
    drop(second);
    assert!(!std::path::Path::new(&path).exists());
}
