import { createServer, type Server } from 'node:http'
import type { Registry } from 'prom-client'
import { GlimpseError } from '../errors.ts'
import { type Answer, sendAnswer } from './answer.ts'
import { liveAnswer, metricsAnswer, readyAnswer } from './health.ts'
import { normalPath } from './path.ts'
import { problemAnswer } from './problem.ts'

export interface Probed {
  /** Undefined: /metrics is served on another port. */
  readonly registry?: Registry
  /** Why the process is not ready; empty if it is. */
  readonly unready: () => readonly string[]
}

/**
 * A server with health and metrics alone, for a process that serves nobody. Not yet listening; it belongs on a port that only
 * probes and Prometheus can reach.
 */
export function createProbeServer(probed: Probed): Server {
  return createServer({ headersTimeout: 5000, requestTimeout: 5000 }, (request, response) => {
    request.resume()
    void answer(probed, request.method ?? 'GET', normalPath(request.url ?? '/')).then((found) =>
      sendAnswer(response, found),
    )
  })
}

async function answer({ registry, unready }: Probed, method: string, path: string): Promise<Answer> {
  try {
    const answers = new Map<string, () => Answer | Promise<Answer>>([
      ['/livez', liveAnswer],
      ['/healthz', liveAnswer],
      ['/readyz', () => readyAnswer(unready())],
    ])
    if (registry !== undefined) answers.set('/metrics', () => metricsAnswer(registry))
    const found = answers.get(path)
    if (found === undefined) throw new GlimpseError('not_found', { detail: 'There is nothing at this path.' })
    if (!['GET', 'HEAD'].includes(method))
      throw new GlimpseError('method_not_allowed', { allow: ['GET'], detail: 'Only GET can be used here.' })
    return await found()
  } catch (error) {
    return problemAnswer(error)
  }
}
