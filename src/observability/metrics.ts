import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { ResetReason } from '../event.ts'
import { BatchedHistogram } from './batched-histogram.ts'
import { EventLoopDelay } from './event-loop-delay.ts'
import { RequestCounter } from './request-counter.ts'

export type Metrics = ReturnType<typeof createMetrics>

/** Every metric of one instance, in a registry of its own, so that several instances can live in one process. */
export function createMetrics() {
  const metrics = declareMetrics()
  // Starts at 0: a series that begins with its first reset shows no increase, so its alert would not fire.
  for (const reason of Object.keys(RESET_REASONS)) metrics.resets.inc({ reason }, 0)
  for (const kind of ['row', 'vanished', 'contention', 'unavailable', 'fault'])
    metrics.databaseFailures.inc({ kind }, 0)
  return metrics
}

/** The metrics of `glimpse relay`, which serves nobody and so has none of an instance's other metrics. */
export function createRelayMetrics() {
  const process = processMetrics()
  return { ...process, ...relayMetrics([process.registry]) }
}

/** A registry with the metrics of the process. The monitor of the event loop must be started. */
function processMetrics() {
  const registry = new Registry()
  const eventLoop = new EventLoopDelay()
  eventLoop.register(registry)
  return { registry, eventLoop }
}

/** What a relay counts, whether it is an instance or a process of its own. */
function relayMetrics(registers: Registry[]) {
  return {
    connected: new Gauge({
      name: 'glimpse_bus_connected',
      help: '1 while this process is connected to NATS; always 0 without BUS_URL.',
      registers,
    }),
    relaying: new Gauge({
      name: 'glimpse_bus_relaying',
      help: '1 while this process is the one that publishes to NATS what Postgres notifies.',
      registers,
    }),
    relayed: new Counter({
      name: 'glimpse_bus_relayed_total',
      help: 'Notifications of Postgres that this process published to NATS as the relay.',
      registers,
    }),
    bursts: new Counter({
      name: 'glimpse_bus_bursts_total',
      help: 'How often the relay published what had gathered; with BUS_LINGER_MS, several notifications at once.',
      registers,
    }),
    published: new Counter({
      name: 'glimpse_bus_published_total',
      help: 'Messages that this process published to NATS as the relay.',
      registers,
    }),
    publishedBytes: new Counter({
      name: 'glimpse_bus_published_bytes_total',
      help: 'Bytes of the messages that this process published to NATS as the relay.',
      registers,
    }),
  }
}

export type RelayMetrics = ReturnType<typeof relayMetrics>

/** The hooks of a bus or relay that count into the metrics of a relay. */
export function countRelay({
  connected,
  relaying,
  relayed,
  bursts,
  published,
  publishedBytes,
}: RelayMetrics) {
  return {
    onConnected: (is: boolean) => connected.set(is ? 1 : 0),
    onRelaying: (is: boolean) => relaying.set(is ? 1 : 0),
    onPublished: (once: {
      readonly notifications: number
      readonly messages: number
      readonly bytes: number
    }) => {
      bursts.inc()
      relayed.inc(once.notifications)
      published.inc(once.messages)
      publishedBytes.inc(once.bytes)
    },
  }
}

/** As an object, so that the compiler misses a reason that is left out. */
const RESET_REASONS: Record<ResetReason, true> = {
  trimmed: true,
  ahead: true,
  epoch: true,
  invalid: true,
  gap: true,
}

function declareMetrics() {
  const process = processMetrics()
  const registers = [process.registry]
  return {
    ...process,
    connections: new Gauge({
      name: 'glimpse_connections',
      help: 'Open streams.',
      labelNames: ['transport'] as const,
      registers,
    }),
    connectionsOpened: new Counter({
      name: 'glimpse_connections_opened_total',
      help: 'Streams that were opened.',
      labelNames: ['transport'] as const,
      registers,
    }),
    connectionsClosed: new Counter({
      name: 'glimpse_connections_closed_total',
      help: 'Streams that ended; reason is that of stream.close, or gone where the client left.',
      labelNames: ['transport', 'reason'] as const,
      registers,
    }),
    limited: new Counter({
      name: 'glimpse_limited_total',
      help: 'Requests and connections that a limit refused or ended, by limit.',
      labelNames: ['limit'] as const,
      registers,
    }),
    resets: new Counter({
      name: 'glimpse_stream_resets_total',
      help: 'Streams that could not be continued without a possible loss, by reason.',
      labelNames: ['reason'] as const,
      registers,
    }),
    batchRows: new Histogram({
      name: 'glimpse_write_batch_rows',
      help: 'Rows written by one statement.',
      labelNames: ['kind'] as const,
      buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500],
      registers,
    }),
    batchSeconds: new Histogram({
      name: 'glimpse_write_batch_seconds',
      help: 'From sending a writing statement to its commit or failure.',
      labelNames: ['kind'] as const,
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
      registers,
    }),
    delivery: new BatchedHistogram({
      name: 'glimpse_delivery_seconds',
      help: 'From just before the commit, by the clock of Postgres, until an event was written to its sockets; the oldest event of each bus message, without those read from the log.',
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      registers,
    }),
    eventsTrimmed: new Counter({
      name: 'glimpse_events_trimmed_total',
      help: 'Events removed from the log because they were older than EVENT_RETENTION_HOURS.',
      registers,
    }),
    queueMoved: new Counter({
      name: 'glimpse_queue_moved_total',
      help: 'Events moved into the log from the queue of glimpse.enqueue.',
      registers,
    }),
    rowsRemoved: new Counter({
      name: 'glimpse_expired_rows_removed_total',
      help: 'Expired stories removed, with their views and reactions.',
      registers,
    }),
    databaseFailures: new Counter({
      name: 'glimpse_database_failures_total',
      help: 'Statements that failed: row, vanished and contention concern their caller, unavailable passes by itself, a fault of schema, rights or code stays.',
      labelNames: ['kind'] as const,
      registers,
    }),
    requestFailures: new Counter({
      name: 'glimpse_request_failures_total',
      help: 'Requests that failed unexpectedly and were answered 500; the log has the cause of each.',
      registers,
    }),
    problems: new Counter({
      name: 'glimpse_problems_total',
      help: "Requests that were refused, by the problem's code; streams that were answered 200 and closed at once included.",
      labelNames: ['code'] as const,
      registers,
    }),
    cleaned: new Gauge({
      name: 'glimpse_cleaned_timestamp_seconds',
      help: 'When this instance last finished a round of trimming the log and removing what has expired.',
      registers,
    }),
    cleaningFailures: new Counter({
      name: 'glimpse_cleaning_failures_total',
      help: 'Rounds of cleaning that failed.',
      registers,
    }),
    requests: new RequestCounter({
      name: 'glimpse_http_requests_total',
      help: 'HTTP requests answered, by route and status; a stream counts when it begins.',
      registers,
    }),
    busAlive: new Gauge({
      name: 'glimpse_bus_alive',
      help: '1 while canaries come back over the bus in time.',
      registers,
    }),
    busRoundTrip: new Histogram({
      name: 'glimpse_bus_round_trip_seconds',
      help: 'From sending a canary through the pool to hearing it over the bus.',
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
      registers,
    }),
    busReplaced: new Counter({
      name: 'glimpse_bus_replaced_total',
      help: 'LISTEN sessions that were given up and replaced.',
      registers,
    }),
    busFallback: new Gauge({
      name: 'glimpse_bus_fallback',
      help: '1 while this instance listens to Postgres because NATS brings no messages; always 0 without BUS_URL.',
      registers,
    }),
    busFollow: new BatchedHistogram({
      name: 'glimpse_bus_follow_seconds',
      help: "Until NATS had confirmed that it sends a newcomer's events; nothing without BUS_URL.",
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1],
      registers,
    }),
    busHeard: new Counter({
      name: 'glimpse_bus_heard_total',
      help: 'Messages that NATS brought to this instance.',
      registers,
    }),
    relay: relayMetrics(registers),
    notifyQueueUsage: new Gauge({
      name: 'glimpse_notify_queue_usage_ratio',
      help: "How full the cluster's NOTIFY queue is; at 0.5 events are no longer announced and the sweep delivers them.",
      registers,
    }),
  }
}
