import type { Registry } from 'prom-client'
import type { Answer } from './answer.ts'
import type { Handler } from './context.ts'

/** `GET /livez`: the process runs and answers. */
export const getLive: Handler = () => liveAnswer()

/** `GET /readyz`: 200 only while an event sent now would arrive. */
export const getReady: Handler = ({ app }) => readyAnswer(app.unready())

/** `GET /metrics`, in the Prometheus text format. */
export const getMetrics: Handler = ({ app }) => metricsAnswer(app.metrics.registry)

export const liveAnswer = (): Answer => ({ status: 200, body: { status: 'live' } })

export function readyAnswer(reasons: readonly string[]): Answer {
  return reasons.length === 0
    ? { status: 200, body: { status: 'ready' } }
    : { status: 503, headers: { 'Retry-After': '1' }, body: { status: 'not ready', reasons } }
}

export async function metricsAnswer(registry: Registry): Promise<Answer> {
  return {
    status: 200,
    headers: { 'Content-Type': registry.contentType },
    body: await registry.metrics(),
  }
}
