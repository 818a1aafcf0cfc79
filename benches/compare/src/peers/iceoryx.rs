//! iceoryx2: publish-subscribe over shared memory, and an event service that wakes subscribers.

use crate::harness::spec::Spec;
use crate::system::{Facts, Publisher, Subscriber};
use anyhow::{Context, anyhow};
use iceoryx2::port::backpressure_strategy::BackpressureStrategy;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::event::PortFactory as Event;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory as PubSub;
use std::fmt::Debug;
use std::time::Duration;

pub const FACTS: Facts = Facts {
    name: "iceoryx2",
    persists: "nothing: lives in shared memory while the publisher does",
    slow: "the publisher waits for the slowest (1,024 records of buffer each); it could drop instead",
    wakes: "a datagram to each, sent by the publisher",
};

/// Records that a subscriber may be behind. More than two batches of the largest size, so that the publisher
/// never has to wait in the middle of a batch for a subscriber that it has not woken yet.
const BUFFER: usize = 1024;

type Node_ = Node<ipc::Service>;

/// The two services that belong together.
struct Services {
    data: PubSub<ipc::Service, [u8], ()>,
    event: Event<ipc::Service>,
}

/// A node with its own root folder and name prefix, so that nothing else on the machine is touched and
/// everything can be removed. Its defaults are changed in two ways, both for the sake of a thousand nodes
/// that start at once: they do not each check all the others for being dead, and they wait for each other for
/// longer than a second.
fn node(spec: &Spec) -> anyhow::Result<Node_> {
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    let root = spec.run.join("iox").to_string_lossy().into_owned();
    config.global.set_root_path(&Path::new(root.as_bytes()).map_err(plain)?);
    config.global.prefix = FileName::new(spec.shm_prefix.as_bytes()).map_err(plain)?;
    config.global.creation_timeout = Duration::from_secs(60);
    config.global.node.cleanup_dead_nodes_on_creation = false;
    config.global.node.cleanup_dead_nodes_on_destruction = false;
    config.global.service.cleanup_dead_nodes_on_open = false;
    NodeBuilder::new()
        .config(&config)
        .signal_handling_mode(SignalHandlingMode::Disabled)
        .create::<ipc::Service>()
        .map_err(plain)
        .context("cannot make an iceoryx2 node")
}

/// The services. The publisher makes them, as large as is needed: the defaults are 8 subscribers, 16
/// listeners and 20 nodes. No safe overflow, since that replaces the oldest records of a slow subscriber:
/// here nothing may be lost.
fn services(spec: &Spec, node: &Node_, make: bool) -> anyhow::Result<Services> {
    let name = ServiceName::new("records").map_err(plain)?;
    let data = node.service_builder(&name).publish_subscribe::<[u8]>();
    let event = node.service_builder(&name).event();
    if !make {
        return Ok(Services { data: data.open().map_err(plain)?, event: event.open().map_err(plain)? });
    }
    let data = data
        .max_publishers(1)
        .max_subscribers(spec.subscribers)
        .max_nodes(spec.subscribers + 2)
        .history_size(0)
        .subscriber_max_buffer_size(BUFFER)
        .subscriber_max_borrowed_samples(2)
        .enable_safe_overflow(false)
        .create()
        .map_err(plain)
        .context("cannot make the publish-subscribe service")?;
    let event = event
        .max_notifiers(1)
        .max_listeners(spec.subscribers)
        .max_nodes(spec.subscribers + 2)
        .event_id_max_value(1)
        .create()
        .map_err(plain)
        .context("cannot make the event service")?;
    Ok(Services { data, event })
}

struct Sender {
    port: iceoryx2::port::publisher::Publisher<ipc::Service, [u8], ()>,
    notifier: Notifier<ipc::Service>,
    _services: Services,
    _node: Node_,
}

pub fn publisher(spec: &Spec) -> anyhow::Result<Box<dyn Publisher>> {
    let node = node(spec)?;
    let services = services(spec, &node, true)?;
    let port = services
        .data
        .publisher_builder()
        .initial_max_slice_len(spec.size)
        .max_loaned_samples(1)
        // Wait for a full subscriber.
        .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
        // By default it allocates for the case that every subscriber holds other records. They never do here,
        // and for a thousand subscribers that would be a gigabyte of bookkeeping.
        .override_sample_preallocation(|most| most.min(4 * BUFFER))
        .create()
        .map_err(plain)
        .context("cannot make the publisher")?;
    let notifier = services.event.notifier_builder().create().map_err(plain)?;
    Ok(Box::new(Sender { port, notifier, _services: services, _node: node }))
}

impl Publisher for Sender {
    /// One notification for all of them, since a subscriber that is awake takes all there is.
    fn publish(&mut self, records: &[Vec<u8>]) -> anyhow::Result<()> {
        for record in records {
            let sample = self.port.loan_slice_uninit(record.len()).map_err(plain)?;
            sample.write_from_slice(record).send().map_err(plain)?;
        }
        self.notifier.notify().map_err(plain)?;
        Ok(())
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

struct Receiver {
    port: iceoryx2::port::subscriber::Subscriber<ipc::Service, [u8], ()>,
    listener: Listener<ipc::Service>,
    _services: Services,
    _node: Node_,
}

pub fn subscriber(spec: &Spec) -> anyhow::Result<Box<dyn Subscriber>> {
    let node = node(spec)?;
    let services = services(spec, &node, false)?;
    let listener = services.event.listener_builder().create().map_err(plain).context("cannot listen")?;
    let port = services.data.subscriber_builder().create().map_err(plain).context("cannot subscribe")?;
    Ok(Box::new(Receiver { port, listener, _services: services, _node: node }))
}

impl Subscriber for Receiver {
    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
        self.listener.timed_wait(|_| {}, Duration::from_secs(1)).map_err(plain)?;
        while let Some(sample) = self.port.receive().map_err(plain)? {
            take(sample.payload());
        }
        Ok(())
    }
}

/// iceoryx2's errors are enums whose names say it all.
fn plain(error: impl Debug) -> anyhow::Error {
    anyhow!("iceoryx2 says {error:?}")
}
