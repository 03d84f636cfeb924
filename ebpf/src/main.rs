//! The eBPF programs: one for each hook, loaded once and shared by all cgroups.
//!
//! Each reads the call from its context, asks the library's pure function, and
//! carries out the verdict. Return values: 1 lets the call go on, 0 refuses it.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod programs;

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use oci_bind_hook_ebpf::abi::Hook;
use oci_bind_hook_ebpf::address::{Family, mapped};
use oci_bind_hook_ebpf::bind;
use oci_bind_hook_ebpf::connect;
use oci_bind_hook_ebpf::sendmsg;

use programs::context::Call;
use programs::outcome::{bind_source4, bind_source6, conclude};
use programs::storage::policy;

/// `AF_INET6` of a socket.
const AF_INET6: u32 = 10;

/// bind(2) of IPv4 sockets.
#[cgroup_sock_addr(bind4)]
fn bind4(ctx: SockAddrContext) -> i32 {
    let call = Call::new(&ctx);
    let verdict = bind::bind4(&policy(), call.user_family(), call.user_ip4());
    conclude(Hook::Bind4, verdict, |own| {
        call.set_user_ip4(own);
        true
    })
}

/// bind(2) of IPv6 sockets.
#[cgroup_sock_addr(bind6)]
fn bind6(ctx: SockAddrContext) -> i32 {
    let call = Call::new(&ctx);
    let verdict = bind::bind6(
        &policy(),
        call.user_family(),
        call.user_ip6(),
        call.v6only(),
    );
    conclude(Hook::Bind6, verdict, |own| {
        call.set_user_ip6(own);
        true
    })
}

/// connect(2) to an IPv4 address: of IPv4 sockets, and of IPv6 datagram sockets
/// that are given an `AF_INET` address.
#[cgroup_sock_addr(connect4)]
fn connect4(ctx: SockAddrContext) -> i32 {
    let call = Call::new(&ctx);
    let verdict = connect::connect4(&policy(), call.user_ip4(), call.local());
    conclude(Hook::Connect4, verdict, |own| {
        if call.family() == AF_INET6 {
            bind_source6(&ctx, mapped(own))
        } else {
            bind_source4(&ctx, own)
        }
    })
}

/// connect(2) of IPv6 sockets to an IPv6 address, IPv4-mapped ones included.
#[cgroup_sock_addr(connect6)]
fn connect6(ctx: SockAddrContext) -> i32 {
    let call = Call::new(&ctx);
    let policy = policy();
    let verdict = match Family::of(call.user_ip6()) {
        Family::V4(destination) => {
            connect::connect4(&policy, destination, call.local()).map(mapped)
        }
        Family::V6(destination) => connect::connect6(&policy, destination, call.local()),
    };
    conclude(Hook::Connect6, verdict, |own| bind_source6(&ctx, own))
}

/// Datagrams to an IPv4 address, from sockets of either family.
#[cgroup_sock_addr(sendmsg4)]
fn sendmsg4(ctx: SockAddrContext) -> i32 {
    let call = Call::new(&ctx);
    let verdict = sendmsg::sendmsg4(
        &policy(),
        call.destination4(),
        call.local(),
        call.msg_src_ip4(),
    );
    conclude(Hook::Sendmsg4, verdict, |own| {
        call.set_msg_src_ip4(own);
        true
    })
}

/// Datagrams of IPv6 sockets to an IPv6 address.
#[cgroup_sock_addr(sendmsg6)]
fn sendmsg6(ctx: SockAddrContext) -> i32 {
    let call = Call::new(&ctx);
    let verdict = sendmsg::sendmsg6(
        &policy(),
        call.destination6(),
        call.local(),
        call.msg_src_ip6(),
    );
    conclude(Hook::Sendmsg6, verdict, |own| {
        call.set_msg_src_ip6(own);
        true
    })
}
