//! The ways in which a program can append.

use crate::ring;
use crate::scratch::Area;
use crate::setting::Plan;
use std::path::PathBuf;
use waldo::Waldo;
use waldo::reader::Ring;
use waldo::writer::{Durability, Writer};

/// Whose `append` it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Writer,
    Embedded,
}

impl Api {
    pub fn name(self) -> &'static str {
        match self {
            Api::Writer => "Writer::append",
            Api::Embedded => "Waldo::append (async)",
        }
    }
}

/// A ring that is open by one of them.
pub struct OpenRing {
    handle: Handle,
    home: PathBuf,
}

enum Handle {
    Writer(Box<Writer>),
    Embedded(Box<Waldo>),
}

/// How often an append has waited.
#[derive(Clone, Copy, Debug)]
pub struct Waited {
    /// For the next page.
    pub pages: u64,
    /// For the disk, which did not keep up.
    pub disk: u64,
}

impl OpenRing {
    /// Opens the plan's ring, or makes it.
    pub fn open(api: Api, plan: &Plan, area: &Area, durability: Durability) -> anyhow::Result<OpenRing> {
        let handle = match api {
            Api::Writer => Handle::Writer(Box::new(ring::open(plan, area, durability)?)),
            Api::Embedded => {
                let options = ring::options(plan, area, durability);
                Handle::Embedded(Box::new(pollster::block_on(Waldo::open_with(area.home(), options))?))
            }
        };
        Ok(OpenRing { handle, home: area.home() })
    }

    /// Appends `count` records of this payload in one call.
    pub fn append(&mut self, payload: &[u8], count: usize) -> anyhow::Result<()> {
        match &mut self.handle {
            Handle::Writer(writer) => {
                let logs = ring::logs(writer.tip(), payload, count);
                writer.append(&logs)?;
            }
            Handle::Embedded(waldo) => {
                let logs = ring::logs(waldo.prev_seq_no(), payload, count);
                pollster::block_on(waldo.append(&logs))?;
            }
        }
        Ok(())
    }

    /// What the writer has counted so far.
    pub fn waits(&self) -> anyhow::Result<Waited> {
        let status = Ring::attach(&self.home)?;
        let count = |name| ring::counter(&status, name);
        Ok(Waited { pages: count("rotation_stalls")?, disk: count("disk_waits")? })
    }

    /// Everything is durable then.
    pub fn close(self) -> anyhow::Result<()> {
        match self.handle {
            Handle::Writer(writer) => Ok(writer.close()?),
            Handle::Embedded(waldo) => {
                pollster::block_on(waldo.close());
                Ok(())
            }
        }
    }
}
