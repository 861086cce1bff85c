import { registerGauges, registerRelayGauges } from '../../src/observability/gauges.ts'
import { createMetrics, createRelayMetrics } from '../../src/observability/metrics.ts'
import { createBatchers } from '../../src/store/batchers.ts'

export interface Metric {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary'
  readonly labelNames: readonly string[]
}

/** Every metric that an instance or a relay declares, by name. None of them is read, so it needs no running instance. */
export function declaredMetrics(): ReadonlyMap<string, Metric> {
  const metrics = createMetrics()
  registerGauges(metrics, { config: { maxConnections: 1 }, version: '0' } as never)
  createBatchers({} as never, metrics, 1)
  const relay = createRelayMetrics()
  registerRelayGauges(relay.registry, { unready: () => [], version: '0' })
  const all = [metrics, relay].flatMap(({ registry }) => registry.getMetricsAsArray()) as unknown as Metric[]
  return new Map(all.map((metric) => [metric.name, metric]))
}
