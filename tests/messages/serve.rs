//! What `serve` does not begin with.

use oci_bind_hook_tests::serve::Serve;
use oci_bind_hook_tests::{host, process};

use crate::programs::ROOT;
use crate::row::{Area, Row};
use crate::scene::Scene;
use crate::surroundings::without;

pub const AREA: Area = Area {
    title: "UDP servers of both families",
    status: 1,
    rows: &[
        Row {
            cause: "Another `serve` runs.",
            message: "another process serves UDP already: end that one first",
            remedy: "`systemctl status oci-bind-hook-udp.service` shows the one of the package.",
            test: |scene| {
                let _serve = Serve::start(&scene.hook)?;
                scene.say("serve", &[])
            },
        },
        Row {
            cause: "The kernel has no such iterators, or no type information.",
            message: "open /sys/fs/bpf/oci-bind-hook/VERSION/collect: this kernel cannot enter a \
                UDP socket into a map: it needs Linux 5.15 or later, with /sys/kernel/btf/vmlinux",
            remedy: "Do without `serve`: UDP servers at `::` answer at the IPv6 address. After a \
                change of the kernel, `oci-bind-hook unload` first.",
            test: |scene| {
                host::hide_types()?;
                scene.say("serve", &[])
            },
        },
        Row {
            cause: "The command has not the capability to open the iterator.",
            message: "open /sys/fs/bpf/oci-bind-hook/VERSION/collect: needs CAP_SYS_ADMIN, run it \
                as root: `bpf_btf_get_fd_by_id` failed: Operation not permitted (os error 1)",
            remedy: ROOT,
            test: |scene| {
                scene.hook.load()?;
                process::run(&mut without("-sys_admin", &serve(scene)), b"")
            },
        },
        Row {
            cause: "The service manager that started it does not listen.",
            message: "tell systemd: ready: No such file or directory (os error 2)",
            remedy: "Unset NOTIFY_SOCKET, or start it by a unit of `Type=notify`.",
            test: |scene| {
                let mut serve = serve(scene);
                process::run(serve.env("NOTIFY_SOCKET", "/nowhere"), b"")
            },
        },
    ],
};

fn serve(scene: &Scene) -> std::process::Command {
    scene.command("serve", &[])
}
