//! In a network namespace of its own: every kernel has clsact, whatever its version.

use std::os::fd::AsFd as _;
use std::process::Command;

use super::*;
use crate::host::devices::LOOPBACK;
use crate::host::netns::within_new;
use crate::kernel::catalogue::DELIVER;
use crate::kernel::loader;
use crate::kernel::syscall::object::program_id;

#[test]
fn a_filter_comes_before_others_and_goes_with_its_qdisc() {
    within_new(|| {
        let program = loader::load_one(DELIVER).expect("load the program");
        let fd = program.as_fd();
        let id = program_id(fd).expect("its id");
        assert!(attached(LOOPBACK).expect("list").is_empty(), "of no qdisc");

        attach(fd, id, DELIVER, LOOPBACK).expect("attach");
        let again = attach(fd, id, DELIVER, LOOPBACK).expect_err("it is there");
        assert_eq!(again.raw_os_error(), Some(libc::EEXIST));
        let found = attached(LOOPBACK).expect("list");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].program, id);
        detach(&found[0], LOOPBACK).expect("detach");
        assert_eq!(qdiscs(), "", "the qdisc is left");

        // Somebody else has one, with a filter.
        let other = loader::load_one(DELIVER).expect("load another");
        let theirs = program_id(other.as_fd()).expect("its id");
        attach(other.as_fd(), theirs, DELIVER, LOOPBACK).expect("attach theirs");
        attach(fd, id, DELIVER, LOOPBACK).expect("attach beside theirs");
        let found = attached(LOOPBACK).expect("list");
        let ids: Vec<_> = found.iter().map(|filter| filter.program).collect();
        assert_eq!(ids, [id, theirs], "ours comes first");
        detach(&found[0], LOOPBACK).expect("detach ours");
        let found = attached(LOOPBACK).expect("list");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].program, theirs);
        detach(&found[0], LOOPBACK).expect("detach theirs");
        assert_eq!(qdiscs(), "", "the qdisc is left");
    });
}

#[test]
fn a_device_that_is_not_there() {
    within_new(|| {
        let program = loader::load_one(DELIVER).expect("load the program");
        let fd = program.as_fd();
        let error = attach(fd, 1, DELIVER, 1000).expect_err("no device 1000");
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    });
}

fn qdiscs() -> String {
    let output = Command::new("tc")
        .args(["qdisc", "show", "dev", "lo"])
        .output();
    String::from_utf8(output.expect("running tc").stdout)
        .expect("UTF-8")
        .replace("qdisc noqueue 0: root refcnt 2 \n", "")
}
