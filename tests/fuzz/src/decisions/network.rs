//! A network in which servers are looked up.

use std::cell::{Cell, RefCell};

use arbitrary::{Result, Unstructured};
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::decide::address::{Family, Kind, LOOPBACK6, mapped};
use oci_bind_hook_ebpf::decide::loopback::Found;
use oci_bind_hook_ebpf::net::{Port, V6};

use super::policy::Says as _;

/// The most lookups of one call.
const LOOKUPS: usize = 5;

/// Says of each lookup what it was told to, and remembers where a
/// server of the cgroup itself was found.
pub struct Network<'a> {
    policy: &'a Policy,
    answers: [Found; LOOKUPS],
    /// Where it was asked, in their order.
    asked: RefCell<Vec<(V6, Port)>>,
    is_exact: Cell<bool>,
    /// Ports of `::1` where nobody is.
    free: RefCell<Vec<Port>>,
    own: RefCell<Vec<(V6, Port)>>,
}

impl<'a> Network<'a> {
    pub fn any(policy: &'a Policy, input: &mut Unstructured<'_>) -> Result<Self> {
        let mut answers = [Found::Nobody; LOOKUPS];
        for answer in &mut answers {
            *answer = *input.choose(&[
                Found::Nobody,
                Found::Own,
                Found::Moved,
                Found::Dual,
                Found::Other,
            ])?;
        }
        Ok(Self {
            policy,
            answers,
            asked: RefCell::default(),
            is_exact: Cell::new(false),
            free: RefCell::default(),
            own: RefCell::default(),
        })
    }

    /// Nobody else's address is looked up, but the loopback address that is called, first.
    pub fn find(&self, address: Family, port: Port) -> Found {
        let at = address.to_v6();
        let private = self.policy.private().map(mapped);
        let mut asked = self.asked.borrow_mut();
        let lookups = asked.len();
        asked.push((at, port));
        // Who is there is there the next time too.
        let first = asked.iter().position(|place| *place == (at, port));
        let answer = self.answers[first.unwrap_or(lookups)];
        if private.is_none() && address.kind() == Kind::Loopback && lookups == 0 {
            self.is_exact.set(answer == Found::Own);
            return answer;
        }
        let is_private = private.is_some_and(|private| at == private || at == LOOPBACK6);
        assert!(self.policy.owns(at) || is_private, "{address:?}");
        if at == LOOPBACK6 && answer == Found::Nobody {
            self.free.borrow_mut().push(port);
        }
        let is_dual = answer == Found::Dual && matches!(address, Family::V6(_));
        let is_moved = answer == Found::Moved && at == LOOPBACK6;
        if answer == Found::Own || is_dual || is_moved {
            self.own.borrow_mut().push((at, port));
        }
        answer
    }

    /// Whether a call to loopback may go there: to a server of the cgroup, unless somebody
    /// is where it was called, or to the private loopback, where the kernel says that there
    /// is none. At `::1`, where others are too, nobody was found then.
    pub fn may_lead_to(&self, address: V6, port: Port) -> bool {
        !self.is_exact.get() && self.own.borrow().contains(&(address, port))
            || self.policy.private().map(mapped) == Some(address)
            || address == LOOPBACK6 && self.free.borrow().contains(&port)
    }
}
