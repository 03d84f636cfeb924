//! The decisions: pure functions of a policy and what is asked, tested on the host.

pub mod address;
pub mod bind;
pub mod bound;
pub mod connect;
pub mod deliver;
pub mod dual;
pub mod guard;
pub mod hide;
pub mod loopback;
pub mod names;
pub mod policy;
pub mod port;
pub mod sendmsg;
pub mod socket;
pub mod verdict;
