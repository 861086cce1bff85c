import { Counter, Gauge, type Registry } from 'prom-client'
import { logLosses } from './log-destination.ts'
import type { Metrics } from './metrics.ts'

/** The parts of an instance whose state is read at each scrape, so that they need not report it. */
export interface Instance {
  readonly config: { readonly maxConnections: number }
  readonly hub: {
    readonly users: number
    readonly traffic: { readonly pushed: number; readonly caughtUp: number; readonly pages: number }
    survey(): {
      readonly behind: { readonly sse: number; readonly websocket: number }
      readonly unsentBytes: number
    }
  }
  readonly bus: { readonly clock: { readonly now: number | undefined } }
  readonly database: {
    readonly usage: ReadonlyMap<
      string,
      Readonly<
        Record<
          'max' | 'busy' | 'idle' | 'opening' | 'waiting' | 'waits' | 'waitedSeconds' | 'timedOut',
          number
        >
      >
    >
  }
  readonly version: string
  readonly eventLog: { readonly waiting: { readonly head: number; readonly page: number } }
  readonly unready: () => readonly string[]
}

/** Registers metrics that are computed at each scrape and cost nothing in between. */
export function registerGauges(
  { registry }: Metrics,
  { config, hub, bus, database, eventLog, unready, version }: Instance,
): void {
  const registers = [registry]
  registerProcess(registers, version)
  new Gauge({
    name: 'glimpse_ready',
    help: '1 while /readyz answers 200: an event sent now would arrive.',
    registers,
    collect() {
      this.set(unready().length === 0 ? 1 : 0)
    },
  })
  new Gauge({
    name: 'glimpse_connections_max',
    help: 'MAX_CONNECTIONS: past it, new streams are answered 503.',
    registers,
  }).set(config.maxConnections)
  new Gauge({
    name: 'glimpse_users',
    help: 'Users with a connection here.',
    registers,
    collect() {
      this.set(hub.users)
    },
  })
  // The next gauge uses this survey of all connections too: it is collected after this one.
  new Gauge({
    name: 'glimpse_connections_behind',
    help: 'Open streams that wait for events from the log: they catch up, or their peer does not read.',
    labelNames: ['transport'] as const,
    registers,
    collect() {
      const { behind, unsentBytes } = hub.survey()
      for (const [transport, connections] of Object.entries(behind)) this.set({ transport }, connections)
      unsent.set(unsentBytes)
    },
  })
  const unsent = new Gauge({
    name: 'glimpse_outbox_bytes',
    help: 'Bytes written to connections that their peers have not taken yet, of all connections.',
    registers,
  })
  new Counter({
    name: 'glimpse_events_sent_total',
    help: 'Events written to connections: as they came over the bus, or read from the log while catching up.',
    labelNames: ['source'] as const,
    registers,
    collect() {
      this.reset()
      this.inc({ source: 'bus' }, hub.traffic.pushed)
      this.inc({ source: 'log' }, hub.traffic.caughtUp)
    },
  })
  new Counter({
    name: 'glimpse_catch_up_pages_total',
    help: 'Pages read from the log for connections that were behind.',
    registers,
    collect() {
      this.reset()
      this.inc(hub.traffic.pages)
    },
  })
  new Gauge({
    name: 'glimpse_log_reads_waiting',
    help: 'Reads of the log that wait for their statement to be sent: where streams stand, and pages of events.',
    labelNames: ['kind'] as const,
    registers,
    collect() {
      const { head, page } = eventLog.waiting
      this.set({ kind: 'head' }, head)
      this.set({ kind: 'page' }, page)
    },
  })
  new Gauge({
    name: 'glimpse_database_clock_offset_seconds',
    help: "How far Postgres' clock is ahead of this instance's, as the canaries tell.",
    registers,
    collect() {
      const { now } = bus.clock
      if (now !== undefined) this.set((now - Date.now()) / 1000)
    },
  })
  // The following gauges use these figures too: they are collected after this one.
  new Gauge({
    name: 'glimpse_pool_connections',
    help: 'Connections to Postgres, by what they are for and whether a statement is under way on them.',
    labelNames: ['pool', 'state'] as const,
    registers,
    collect() {
      waits.reset()
      waited.reset()
      timedOut.reset()
      for (const [pool, usage] of database.usage) {
        for (const state of ['busy', 'idle', 'opening'] as const) this.set({ pool, state }, usage[state])
        most.set({ pool }, usage.max)
        waiting.set({ pool }, usage.waiting)
        waits.inc({ pool }, usage.waits)
        waited.inc({ pool }, usage.waitedSeconds)
        timedOut.inc({ pool }, usage.timedOut)
      }
    },
  })
  const labelNames = ['pool'] as const
  const most = new Gauge({
    name: 'glimpse_pool_connections_max',
    help: 'Most connections to Postgres for one purpose.',
    labelNames,
    registers,
  })
  const waiting = new Gauge({
    name: 'glimpse_pool_statements_waiting',
    help: 'Statements that wait for a connection.',
    labelNames,
    registers,
  })
  const waits = new Counter({
    name: 'glimpse_pool_waits_total',
    help: 'Statements that had to wait for a connection.',
    labelNames,
    registers,
  })
  const waited = new Counter({
    name: 'glimpse_pool_wait_seconds_total',
    help: 'How long statements have waited for a connection, together.',
    labelNames,
    registers,
  })
  const timedOut = new Counter({
    name: 'glimpse_pool_timeouts_total',
    help: 'Statements that had no answer before their deadline.',
    labelNames,
    registers,
  })
}

/** Registers what concerns the process of `glimpse relay`. */
export function registerRelayGauges(
  registry: Registry,
  { unready, version }: Pick<Instance, 'unready' | 'version'>,
): void {
  registerProcess([registry], version)
  // Not glimpse_ready, which counts the instances that clients can use.
  new Gauge({
    name: 'glimpse_relay_ready',
    help: '1 while this glimpse relay works, or would take over from the one that does.',
    registers: [registry],
    collect() {
      this.set(unready().length === 0 ? 1 : 0)
    },
  })
}

function registerProcess(registers: Registry[], version: string): void {
  new Counter({
    name: 'glimpse_log_lines_lost_total',
    help: 'Lines of the log that could not be written: the disk is full, or their reader is gone or slow.',
    registers,
    collect() {
      this.reset()
      this.inc(logLosses.lines)
    },
  })
  new Gauge({
    name: 'glimpse_build_info',
    help: 'Always 1; the labels say what runs.',
    labelNames: ['version', 'node'] as const,
    registers,
  }).set({ version, node: process.versions.node }, 1)
}
