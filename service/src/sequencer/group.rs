//! The requests of one turn: checked, numbered, and not yet appended.

use super::plan::{Refusal, plan};
use crate::connection::link::{Link, fatal};
use crate::engine::{Core, Engine, now_ms};
use crate::journal::entry::{Intent, put_name};
use crate::producers::{Claim, Producer};
use crate::request::Request;
use crate::step::{Job, Outcome, Plan, Step};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use waldo::client::wire::ErrorCode;

/// What a turn of the sequencer does.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) steps: Vec<Step>,
    /// Journal entries of names that are new.
    pub(super) names: Vec<u8>,
    /// What the journal must hold before anything is appended.
    pub(super) intents: Vec<Intent>,
    /// Somebody with a name wants to know when his records are durable.
    pub(super) durable: bool,
    /// Nothing can be appended, and why.
    refusal: Option<String>,
}

impl Group {
    /// Nothing is appended in this turn.
    pub(super) fn refuse_appends(&mut self, reason: String) {
        self.refusal = Some(reason);
    }

    /// Takes a request in. Refusals are steps too, so that each comes behind the answers to what was before.
    pub(super) fn add(&mut self, engine: &Engine, core: &mut Core, request: Request) {
        match request {
            Request::Hello { link, name } => {
                let named = name.map_or(Ok(()), |name| self.register(engine, core, &link, name));
                match named {
                    Ok(()) => self.steps.push(Step::Greet(link)),
                    Err(refusal) => self.refuse(link, 0, refusal),
                }
            }
            // Of a connection that was ended nothing more is stored, not even what it still had in the queue.
            Request::Append { link, .. } if link.is_dead() => {}
            Request::Append { link, batch, durable, permits } => {
                let id = batch.fields().batch;
                let plan = match &self.refusal {
                    Some(reason) => Err((ErrorCode::NotStored, core.tip, reason.clone())),
                    None => plan(core, &link, &batch),
                };
                match plan {
                    Ok(plan) => {
                        self.carry_out(core, &link, &plan, durable);
                        let outcome = if plan.count == 0 { Outcome::Duplicate } else { Outcome::Planned };
                        let job = Job { link, batch, plan, durable, permits };
                        self.steps.push(Step::Append { job, outcome });
                    }
                    Err((ErrorCode::Conflict, detail, text)) => {
                        let code = ErrorCode::Conflict;
                        let error =
                            waldo::client::wire::ErrorFrame { batch: id, detail, code, fatal: false, text };
                        self.steps.push(Step::Conflict { link, error, window: permits.window });
                    }
                    Err(refusal) => self.refuse(link, id, refusal),
                }
            }
            Request::End { link, error } => {
                link.bury();
                self.steps.push(Step::End { link, error });
            }
            Request::Leave { link } => {
                if let Some(producer) = link.producer().and_then(|id| core.producers.get_mut(id))
                    && producer.owner.as_ref().is_some_and(|owner| std::ptr::eq(owner.as_ptr(), &*link))
                {
                    producer.owner = None;
                }
            }
        }
    }

    /// Ends a connection, behind what it was promised.
    fn refuse(&mut self, link: Arc<Link>, batch: u64, (code, detail, text): Refusal) {
        link.bury();
        self.steps.push(Step::End { error: fatal(code, batch, detail, text), link });
    }

    fn carry_out(&mut self, core: &mut Core, link: &Link, plan: &Plan, durable: bool) {
        core.tip += u64::from(plan.count);
        let producer = link.producer().filter(|_| plan.count > 0);
        if let Some((id, producer)) = producer.and_then(|id| Some((id, core.producers.get_mut(id)?))) {
            let claim = Claim { number: plan.number, seq_no: plan.seq_no, count: plan.count };
            producer.claim(claim);
            producer.used_ms = now_ms();
            self.intents.push(Intent { id, claim });
            self.durable |= durable;
        }
    }

    /// Makes a connection the one that speaks for a name. The one that did before is told and ended.
    fn register(
        &mut self,
        engine: &Engine,
        core: &mut Core,
        link: &Arc<Link>,
        name: String,
    ) -> Result<(), Refusal> {
        let id = match core.producers.find(&name) {
            Some(id) => id,
            None => {
                let max = engine.options.names_max;
                core.producers.shrink_to(max.saturating_sub(1));
                if core.producers.len() >= max {
                    let text = format!("{max} producers with names are connected, no more are allowed");
                    return Err((ErrorCode::TooManyNames, max as u64, text));
                }
                let producer = Producer::new(name, now_ms());
                let mut entry = Vec::new();
                let id = core.producers.add(producer);
                if let Some(producer) = core.producers.get(id) {
                    put_name(&mut entry, id, producer);
                }
                self.names.extend_from_slice(&entry);
                engine.counters.names.store(core.producers.len() as u64, Ordering::Relaxed);
                id
            }
        };
        let Some(producer) = core.producers.get_mut(id) else { return Ok(()) };
        producer.used_ms = now_ms();
        let before = producer.owner.replace(Arc::downgrade(link));
        if let Some(before) = before.and_then(|before| before.upgrade()) {
            let text = format!("another connection has come under the name {:?}", producer.name);
            engine.end(&before, ErrorCode::Fenced, 0, 0, text);
        }
        link.set_producer(id);
        Ok(())
    }

    /// The journal could not be written: nothing of this turn is appended.
    pub(super) fn fail(&mut self, reason: &str, tip: u64) {
        for step in &mut self.steps {
            let Step::Append { job, outcome: Outcome::Planned } = step else { continue };
            job.link.bury();
            let (link, batch) = (Arc::clone(&job.link), job.batch.fields().batch);
            *step = Step::End { link, error: fatal(ErrorCode::NotStored, batch, tip, reason) };
        }
    }
}
