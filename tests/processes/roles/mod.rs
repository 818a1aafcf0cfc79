//! What the child processes do.

mod churn;
mod follower;
mod forked;
mod holder;
mod member;
mod restricted;
mod scout;
mod sleeper;
mod streams;
mod waiter;
mod writer;

pub use restricted::{NOBODY, restrict};
pub use streams::WORKERS as STREAM_WORKERS;
pub use writer::append as writer_append;

use crate::support::args::Args;

pub fn play(role: &str, args: &Args) {
    match role {
        "writer" => writer::play(args),
        "starved" => writer::starve(args),
        "follower" => follower::play(args),
        "holder" => holder::play(args),
        "waiter" => waiter::wait(args),
        "visitor" => waiter::visit(args),
        "member" => member::play(args),
        "scout" => scout::play(args),
        "sleeper" => sleeper::play(args),
        "streams" => streams::play(args),
        "forked" => forked::play(args),
        "churn" => churn::play(args),
        _ => panic!("no role {role}"),
    }
}
