//! A peer that was left out when this program was built.
#![allow(dead_code, reason = "each peer uses the parts that it has")]

use crate::harness::spec::Spec;
use crate::system::{Facts, Publisher, Server, Subscriber};
use anyhow::bail;

pub const FACTS: Facts =
    Facts { name: "left out", persists: "not measured", slow: "not measured", wakes: "not measured" };
pub const FACTS_AOF: Facts = FACTS;

const LEFT_OUT: &str = "this program was built without this system: build it with its default features";

pub fn server(_: &Spec, _: bool) -> anyhow::Result<Server> {
    bail!(LEFT_OUT)
}

pub fn publisher(_: &Spec) -> anyhow::Result<Box<dyn Publisher>> {
    bail!(LEFT_OUT)
}

pub fn subscriber(_: &Spec) -> anyhow::Result<Box<dyn Subscriber>> {
    bail!(LEFT_OUT)
}
