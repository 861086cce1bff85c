import type { Handler } from './context.ts'

/** `GET /livez`: the process runs and answers. */
export const getLive: Handler = () => ({ status: 200, body: { status: 'live' } })

/** `GET /readyz`: 200 only while an event sent now would arrive. */
export const getReady: Handler = ({ app }) => {
  const reasons = app.unready()
  return reasons.length === 0
    ? { status: 200, body: { status: 'ready' } }
    : { status: 503, headers: { 'Retry-After': '1' }, body: { status: 'not ready', reasons } }
}

/** `GET /metrics`, in the Prometheus text format. */
export const getMetrics: Handler = async ({ app }) => ({
  status: 200,
  headers: { 'Content-Type': app.metrics.registry.contentType },
  body: await app.metrics.registry.metrics(),
})
