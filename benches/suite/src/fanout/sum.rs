//! What a reader has seen, and what the writer has done, as lines of text.

/// What one reader has seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    /// Records of the load.
    pub records: u64,
    /// Their payloads' bytes.
    pub bytes: u64,
    /// Records that were missed: the ring overtook the reader, which was told so.
    pub lapsed: u64,
    /// Times it found records after waiting.
    pub wakes: u64,
    /// Nanoseconds of CPU time while following.
    pub cpu_ns: u64,
    /// The oldest record's age that it found when it woke, at worst.
    pub age_max_ns: u64,
    /// Nanoseconds from the append of each ping until it was here.
    pub pings: Vec<u64>,
    /// Ages of the oldest unread record at each wake: a line of latencies.
    pub age: String,
}

impl Sum {
    /// As text.
    pub fn line(&self) -> String {
        let pings: Vec<String> = self.pings.iter().map(u64::to_string).collect();
        format!(
            "{} {} {} {} {} {} [{}] {}",
            self.records,
            self.bytes,
            self.lapsed,
            self.wakes,
            self.cpu_ns,
            self.age_max_ns,
            pings.join(","),
            self.age
        )
    }

    /// Reads what [`Sum::line`] has written.
    pub fn parse(line: &str) -> Option<Sum> {
        let mut words = line.splitn(8, ' ');
        let mut number = || words.next()?.parse().ok();
        let (records, bytes, lapsed) = (number()?, number()?, number()?);
        let (wakes, cpu_ns, age_max_ns) = (number()?, number()?, number()?);
        let pings = words.next()?.strip_prefix('[')?.strip_suffix(']')?;
        let pings = pings.split(',').filter(|word| !word.is_empty()).map(|word| word.parse().ok());
        let pings = pings.collect::<Option<Vec<u64>>>()?;
        Some(Sum { records, bytes, lapsed, wakes, cpu_ns, age_max_ns, pings, age: words.next()?.into() })
    }
}

/// What the writer has done for a while.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// Which part of the bench this was.
    pub name: String,
    /// Appends.
    pub appends: u64,
    /// Time from when an append was due until it was complete: a line of latencies. Empty if none was due at
    /// a time.
    pub late: String,
    /// Appends that were complete more than a millisecond after they were due.
    pub late_over_1ms: u64,
    /// Time from the call to its return: a line of latencies.
    pub service: String,
    /// Nanoseconds of all of it.
    pub took_ns: u64,
    /// Nanoseconds of CPU time of the appending thread.
    pub thread_cpu_ns: u64,
    /// Nanoseconds of CPU time of all threads of the writer process.
    pub process_cpu_ns: u64,
}

impl Load {
    /// As text.
    pub fn line(&self) -> String {
        format!(
            "{} {} {} {} {} {} [{}] [{}]",
            self.name,
            self.appends,
            self.late_over_1ms,
            self.took_ns,
            self.thread_cpu_ns,
            self.process_cpu_ns,
            self.service,
            self.late
        )
    }

    /// Reads what [`Load::line`] has written.
    pub fn parse(line: &str) -> Option<Load> {
        let (head, rest) = line.split_once(" [")?;
        let (service, late) = rest.strip_suffix(']')?.split_once("] [")?;
        let mut words = head.split(' ');
        let name = words.next()?.to_owned();
        let mut number = || words.next()?.parse().ok();
        Some(Load {
            name,
            appends: number()?,
            late_over_1ms: number()?,
            took_ns: number()?,
            thread_cpu_ns: number()?,
            process_cpu_ns: number()?,
            service: service.into(),
            late: late.into(),
        })
    }
}
