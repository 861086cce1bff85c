import createRouter, { type HTTPMethod } from 'find-my-way'
import type { Config } from '../config.ts'
import { GlimpseError } from '../errors.ts'
import { getClientModule } from './client-module.ts'
import { deleteConnection, getConnections } from './connections.ts'
import { getConsole, getConsoleClient } from './console.ts'
import type { Handler } from './context.ts'
import { getAsyncApi, getDocs, getOpenApi } from './documents/handlers.ts'
import { getStream } from './durable-stream.ts'
import { getLive, getMetrics, getReady } from './health.ts'
import { putRead } from './read.ts'
import {
  deleteReaction,
  postReaction,
  postStory,
  postView,
  putStory,
  readStory,
  removeStory,
} from './stories.ts'
import { getEvents, getWebSocket } from './streams.ts'
import { postTicket } from './tickets.ts'
import { postToken } from './tokens.ts'

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'

export type RouteTable = readonly (readonly [Method, string, Handler])[]

const CALLS: RouteTable = [
  ['POST', '/stories', postStory],
  ['PUT', '/stories/:id', putStory],
  ['GET', '/stories/:id', readStory],
  ['DELETE', '/stories/:id', removeStory],
  ['POST', '/stories/:id/view', postView],
  ['POST', '/stories/:id/reactions', postReaction],
  ['DELETE', '/stories/:id/reactions', deleteReaction],
  ['PUT', '/me/read', putRead],
  ['POST', '/tickets', postTicket],
  ['GET', '/events', getEvents],
  ['GET', '/ws', getWebSocket],
  ['GET', '/me/stream', getStream],
  ['GET', '/me/connections', getConnections],
  ['DELETE', '/me/connections/:connection', deleteConnection],
]

/** Served on both ports, because load balancers probe the port that they send requests to. */
const HEALTH: RouteTable = [
  ['GET', '/livez', getLive],
  ['GET', '/healthz', getLive],
  ['GET', '/readyz', getReady],
]

const METRICS: RouteTable = [['GET', '/metrics', getMetrics]]

/** Pages for people; PAGES=off disables them. */
const PAGES: RouteTable = [
  ['GET', '/openapi.json', getOpenApi],
  ['GET', '/asyncapi.json', getAsyncApi],
  ['GET', '/docs', getDocs],
  ['GET', '/client.js', getClientModule],
  ['GET', '/client.js.map', getClientModule],
  ['GET', '/', getConsole],
  ['GET', '/console/:file', getConsole],
  ['GET', '/console/client/:file', getConsoleClient],
]

/** Routes that exist outside production only. */
const DEVELOPMENT: RouteTable = [['POST', '/dev/tokens', postToken]]

/** The routes of `PORT`, as method, pattern and handler. */
export function routeTable({
  production,
  pages = true,
  adminPort,
}: Pick<Config, 'production'> & Partial<Pick<Config, 'pages' | 'adminPort'>>): RouteTable {
  return [
    ...CALLS,
    ...HEALTH,
    ...(adminPort === undefined ? METRICS : []),
    ...(pages ? PAGES : []),
    ...(production ? [] : DEVELOPMENT),
  ]
}

/** The routes of `ADMIN_PORT`. */
export const ADMIN_ROUTES: RouteTable = [...HEALTH, ...METRICS]

export interface Match {
  /** The route's pattern, as metrics and logs name it. */
  readonly route: string
  readonly handler: Handler
  readonly params: Readonly<Record<string, string | undefined>>
}

export class Routes {
  readonly #router = createRouter({ ignoreTrailingSlash: false, maxParamLength: 200 })
  readonly #methods = new Set<HTTPMethod>()

  constructor(table: RouteTable) {
    for (const [method, path, handler] of table) {
      this.#router.on(method, path, () => {}, { route: path, handler })
      this.#methods.add(method)
    }
  }

  /**
   * The route of a request; HEAD is answered as GET is (RFC 9110 §9.3.2), but a stream has no end to leave out.
   *
   * @throws GlimpseError `not_found`, or `method_not_allowed` with the methods that are
   */
  find(method: string, path: string): Match {
    const asked = method === 'HEAD' && path !== '/events' && path !== '/ws' ? 'GET' : method
    const found = this.#lookUp(asked, path)
    if (found !== undefined) return found
    const allow = this.methodsOf(path)
    if (allow.length === 0) throw new GlimpseError('not_found', { detail: 'There is nothing at this path.' })
    throw new GlimpseError('method_not_allowed', {
      allow,
      detail: `Only ${allow.join(', ')} can be used here.`,
    })
  }

  /** The methods a path answers, as `Allow` lists them; none for an unknown path. */
  methodsOf(path: string): string[] {
    const methods: string[] = [...this.#methods].filter((method) => this.#lookUp(method, path) !== undefined)
    return methods.length === 0 ? [] : [...methods, 'OPTIONS']
  }

  #lookUp(method: string, path: string): Match | undefined {
    // The router would take "*" and whatever else is no path for "/".
    if (!path.startsWith('/')) return undefined
    const found = this.#router.find(method as HTTPMethod, path)
    // The router takes an empty segment for a parameter: /stories/ would be a story without a name.
    if (found === null || Object.values(found.params).includes('')) return undefined
    const { route, handler }: Omit<Match, 'params'> = found.store
    return { route, handler, params: found.params }
  }
}
