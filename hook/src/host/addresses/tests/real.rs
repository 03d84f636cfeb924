//! Checks in network namespaces of their own.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::move_into_link_name_space;

use super::*;
use crate::host::netlink::AddressChanges;
use crate::host::netns::{Namespace, foreign, within_new};

const REFUSED: Unconfigured = Unconfigured::Refused;
const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(60);

/// Runs in a network namespace of its own, where loopback is up.
fn in_namespace(test: impl FnOnce() + Send) {
    within_new(|| {
        ip_do("link set lo up");
        test();
    });
}

/// Runs ip(8) in the calling thread's network namespace.
fn ip_do(arguments: &str) {
    let mut ip = Command::new("ip");
    let status = ip.args(arguments.split(' ')).status().expect("running ip");
    assert!(status.success(), "ip {arguments}");
}

fn sysctl(name: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/{name}"), value).expect("setting a sysctl");
}

/// A process in the calling thread's namespaces, killed and reaped when
/// dropped.
struct Process(Child);

impl Process {
    fn new() -> Self {
        Self(Command::new("sleep").arg("30").spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    fn namespace(&self) -> Namespace {
        Namespace::OfProcess(self.pid())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().expect("killing our child");
        self.0.wait().expect("reaping our child");
    }
}

fn look_for(namespace: Namespace, wanted: &str) -> Result<()> {
    match ip(wanted) {
        IpAddr::V4(wanted) => check(namespace, Some(wanted), None, REFUSED, NOW),
        IpAddr::V6(wanted) => check(namespace, None, Some(wanted), REFUSED, NOW),
    }
}

fn refused(namespace: Namespace, wanted: &str) -> String {
    format!("{:#}", look_for(namespace, wanted).unwrap_err())
}

/// A pair of devices, up, whose IPv6 addresses stay tentative for a long time.
fn veth_with_slow_detection() {
    ip_do("link add d0 type veth peer name d1");
    sysctl("ipv6/conf/d0/dad_transmits", "100");
    ip_do("link set d1 up");
    ip_do("link set d0 up");
}

#[test]
fn configured_addresses_are_found_from_inside() {
    in_namespace(|| {
        let own = Namespace::Own;
        assert!(refused(own, "192.0.2.10").contains("ip address add 192.0.2.10 dev DEV"));
        ip_do("address add 192.0.2.10/24 dev lo");
        ip_do("address add 2001:db8::10/64 dev lo nodad");
        for wanted in [
            "192.0.2.10",
            "2001:db8::10",
            "127.0.0.1",
            "127.88.1.2",
            "::1",
        ] {
            look_for(own, wanted).unwrap();
        }
        let both = check(
            own,
            Some([192, 0, 2, 10].into()),
            "2001:db8::10".parse().ok(),
            REFUSED,
            NOW,
        );
        both.unwrap();
        let one = check(
            own,
            Some([192, 0, 2, 10].into()),
            "2001:db8::11".parse().ok(),
            REFUSED,
            NOW,
        );
        assert!(
            one.unwrap_err()
                .to_string()
                .starts_with("ipv6 address 2001:db8::11 is not")
        );
        check(own, None, None, REFUSED, NOW).unwrap();
    });
}

#[test]
fn the_local_end_of_a_point_to_point_link_counts() {
    in_namespace(|| {
        ip_do("link add d0 type veth peer name d1");
        ip_do("address add 192.0.2.10 peer 192.0.2.20 dev d0");
        ip_do("address add 2001:db8::10 peer 2001:db8::20 dev d0 nodad");
        look_for(Namespace::Own, "192.0.2.10").unwrap();
        look_for(Namespace::Own, "2001:db8::10").unwrap();
        refused(Namespace::Own, "192.0.2.20");
        refused(Namespace::Own, "2001:db8::20");
    });
}

#[test]
fn addresses_are_looked_for_in_the_namespace_of_the_process() {
    let ours = Process::new();
    in_namespace(|| {
        ip_do("address add 192.0.2.10/24 dev lo");
        let theirs = Process::new();
        look_for(theirs.namespace(), "192.0.2.10").unwrap();
        refused(ours.namespace(), "192.0.2.10");
        // From outside, on a thread that is back where it was afterwards.
        let outside = File::open(format!("/proc/{}/ns/net", ours.pid())).unwrap();
        move_into_link_name_space(outside.as_fd(), None).unwrap();
        look_for(theirs.namespace(), "192.0.2.10").unwrap();
        let message = refused(theirs.namespace(), "192.0.2.11");
        assert!(
            message.starts_with("network namespace of pid "),
            "{message}"
        );
        refused(Namespace::Own, "192.0.2.10");
        assert!(foreign(ours.pid()).unwrap().is_none());
    });
}

#[test]
fn a_tentative_address_is_told_from_a_usable_one() {
    in_namespace(|| {
        veth_with_slow_detection();
        ip_do("address add 2001:db8::10/64 dev d0");
        let message = refused(Namespace::Own, "2001:db8::10");
        assert!(message.contains("is still tentative"), "{message}");
        ip_do("address add 2001:db8::11/64 dev d0 nodad");
        look_for(Namespace::Own, "2001:db8::11").unwrap();
    });
}

#[test]
fn an_address_that_another_host_answers_for_is_refused() {
    in_namespace(|| {
        let theirs = Process::new();
        in_namespace(|| {
            let pid = theirs.0.id();
            let inside = |arguments: &str| {
                let mut nsenter = Command::new("nsenter");
                nsenter.args([&format!("--net=/proc/{pid}/ns/net"), "--", "ip"]);
                assert!(
                    nsenter
                        .args(arguments.split(' '))
                        .status()
                        .unwrap()
                        .success()
                );
            };
            ip_do(&format!("link add d0 type veth peer name d1 netns {pid}"));
            ip_do("link set d0 up");
            ip_do("address add 2001:db8::10/64 dev d0 nodad");
            inside("link set d1 up");
            inside("address add 2001:db8::10/64 dev d1");
            let deadline = Instant::now() + Duration::from_secs(60);
            loop {
                let message = refused(theirs.namespace(), "2001:db8::10");
                if message.contains("another host answered") {
                    break;
                }
                assert!(message.contains("tentative"), "{message}");
                assert!(Instant::now() < deadline, "still: {message}");
                thread::yield_now();
            }
            let start = Instant::now();
            let wanted = "2001:db8::10".parse().ok();
            let error = check(theirs.namespace(), None, wanted, REFUSED, LONG).unwrap_err();
            assert!(
                format!("{error:#}").contains("another host answered"),
                "{error:#}"
            );
            assert!(start.elapsed() < LONG, "it waited");
        });
    });
}

#[test]
fn an_optimistic_address_is_usable() {
    in_namespace(|| {
        veth_with_slow_detection();
        sysctl("ipv6/conf/d0/optimistic_dad", "1");
        ip_do("address add 2001:db8::10/64 dev d0 optimistic");
        look_for(Namespace::Own, "2001:db8::10").unwrap();
    });
}

#[test]
fn all_of_many_addresses_are_listed() {
    use std::fmt::Write as _;
    const COUNT: usize = 2000;
    in_namespace(|| {
        let mut batch = String::new();
        for n in 0..COUNT {
            writeln!(batch, "address add 10.1.{}.{}/32 dev lo", n / 256, n % 256).unwrap();
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), batch).unwrap();
        ip_do(&format!("-batch {}", file.path().display()));
        let last = COUNT - 1;
        look_for(
            Namespace::Own,
            &format!("10.1.{}.{}", last / 256, last % 256),
        )
        .unwrap();
        refused(Namespace::Own, "10.1.255.255");
    });
}

#[test]
fn a_dead_process_is_reported() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = Pid::from_child(&child);
    child.wait().unwrap();
    let message = refused(Namespace::OfProcess(pid), "192.0.2.10");
    assert!(
        message.starts_with(&format!("pid {pid}: no such process")),
        "{message}"
    );
}

#[test]
fn an_address_that_comes_is_waited_for() {
    in_namespace(|| {
        let ours = Process::new();
        thread::scope(|scope| {
            let wanted = Some([192, 0, 2, 10].into());
            let namespace = ours.namespace();
            let waiting = scope.spawn(move || check(namespace, wanted, None, REFUSED, LONG));
            // Changes of other addresses are not enough.
            ip_do("address add 192.0.2.11/24 dev lo");
            ip_do("address add 192.0.2.10/24 dev lo");
            waiting.join().unwrap().unwrap();
        });
    });
}

#[test]
fn duplicate_address_detection_is_waited_for() {
    in_namespace(|| {
        ip_do("link add d0 type veth peer name d1");
        ip_do("link set d1 up");
        ip_do("link set d0 up");
        ip_do("address add 2001:db8::10/64 dev d0");
        refused(Namespace::Own, "2001:db8::10");
        let wanted = "2001:db8::10".parse().ok();
        check(Namespace::Own, None, wanted, REFUSED, LONG).unwrap();
    });
}

#[test]
fn the_wait_has_an_end() {
    in_namespace(|| {
        let moment = Duration::from_secs(1);
        let start = Instant::now();
        let wanted = Some([192, 0, 2, 10].into());
        let error = check(Namespace::Own, wanted, None, REFUSED, moment).unwrap_err();
        let error = format!("{error:#}");
        let said = "waited 1 s: ipv4 address 192.0.2.10 is not configured";
        assert!(error.starts_with(said), "{error}");
        assert!(start.elapsed() >= moment, "it did not wait");
    });
}

#[test]
fn a_change_after_the_end_is_too_late() {
    in_namespace(|| {
        let changes = AddressChanges::subscribe().unwrap();
        ip_do("address add 192.0.2.10/24 dev lo");
        assert!(!changes.wait_until(Instant::now()).unwrap());
        assert!(changes.wait_until(Instant::now() + LONG).unwrap());
    });
}
