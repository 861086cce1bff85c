import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Identity } from '../auth/claims.ts'
import { badToken, Refusal } from '../auth/refusal.ts'
import type { TokenVerifier } from '../auth/verifier.ts'
import type { Config } from '../config.ts'
import { GlimpseError } from '../errors.ts'
import type { Hub } from '../hub/hub.ts'
import type { Gate } from '../limits/gate.ts'
import type { Limits } from '../limits/limits.ts'
import type { Pressure } from '../limits/pressure.ts'
import type { Turns } from '../limits/turns.ts'
import type { Logger } from '../observability/log.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { Tracing } from '../observability/tracing.ts'
import type { Pool } from '../postgres/pool.ts'
import type { Batcher } from '../store/batcher.ts'
import type { EventLog } from '../store/event-log.ts'
import type { Presence } from '../store/presence.ts'
import type { ReadMark, ReadOutcome } from '../store/read-marker.ts'
import type { Reaction, Recorded, View } from '../store/recording.ts'
import type { Tickets } from '../store/tickets.ts'
import type { WebSocketTransport } from '../transport/websocket.ts'
import type { Answer } from './answer.ts'
import { findTicket, findToken } from './find-token.ts'
import { normalPath, queryOf } from './path.ts'

/** What handlers use; created once, in service.ts. */
export interface App {
  readonly config: Config
  readonly log: Logger
  readonly metrics: Metrics
  readonly tracing: Tracing | undefined
  readonly limits: Limits
  /** The pool for reads. */
  readonly sql: Pool
  /** The pool for writes outside of batches. They may wait for locks, and readers must not wait for their connections. */
  readonly edits: Pool
  readonly views: Batcher<View, Recorded>
  readonly reactions: Batcher<Reaction, Recorded>
  readonly reads: Batcher<ReadMark, ReadOutcome>
  readonly eventLog: EventLog
  /** Bounds the requests that wait for Postgres, except those in batches. */
  readonly waiting: Gate
  readonly pressure: Pressure
  /** Bounds the concurrent polls of one user: until it is sent, a page takes several times its size in memory. */
  readonly polls: Turns
  readonly hub: Hub
  readonly presence: Presence
  readonly websockets: WebSocketTransport
  readonly verifier: TokenVerifier
  readonly tickets: Tickets
  /** Signs a development token; undefined in production and if tokens come from a JWKS issuer. */
  readonly issueToken: ((user: string, expiresInSeconds: number) => Promise<string>) | undefined
  /** Why an event sent now would not arrive; empty if it would. */
  readonly unready: () => readonly string[]
}

/** The parts of a request's URL. The query is parsed on first use. */
export class RequestUrl {
  readonly path: string
  readonly #target: string
  #searchParams: URLSearchParams | undefined

  /** @param target the request-target (RFC 9112 §3.2) */
  constructor(target: string) {
    this.path = normalPath(target)
    this.#target = target
  }

  get searchParams(): URLSearchParams {
    this.#searchParams ??= new URLSearchParams(queryOf(this.#target))
    return this.#searchParams
  }
}

/** One request and what its handler needs. */
export interface Context {
  readonly app: App
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly url: RequestUrl
  /** The network that limits count it against: an IPv4 address, or the /64 of an IPv6 address. */
  readonly network: string
  readonly params: Readonly<Record<string, string | undefined>>
  /** Headers for every answer to it, such as those of CORS. */
  readonly headers: OutgoingHttpHeaders
  /** Bytes after the head of an upgrade request; undefined for other requests. */
  readonly upgradeHead: Buffer | undefined
  /** The body, if it was read before the handler. */
  readonly body: Buffer | undefined
  /** The caller, once authenticated. Unsent bytes of the answer count against this user. */
  user?: string
}

/** Answers a request; or takes over its response and returns undefined. Throws GlimpseError to refuse. */
export type Handler = (context: Context) => Promise<Answer | undefined> | Answer | undefined

/**
 * Authenticates the caller. The token comes from the header, from `?token=` if `query` is set, or from the cookie; with
 * `query`, a ticket may replace it.
 *
 * @throws GlimpseError `unauthorized`; `too_many_requests` if the user sends too many requests
 */
export async function authenticate(context: Context, { query = false } = {}): Promise<Identity> {
  const { app, request, url } = context
  const ticket = query ? findTicket(request, url) : undefined
  const identity =
    ticket === undefined ? await byToken(app, request, url, query) : await byTicket(app, ticket)
  context.user = identity.user
  app.limits.count('user_requests', identity.user)
  return identity
}

function byToken(
  app: App,
  request: IncomingMessage,
  url: RequestUrl,
  query: boolean,
): Identity | Promise<Identity> {
  const { tokenInUrl, corsOrigins } = app.config
  const token = findToken(request, url, { query, tokenInUrl, corsOrigins })
  if (token === undefined) throw new GlimpseError('unauthorized', { detail: 'A token is needed.' })
  return app.verifier.identify(token)
}

async function byTicket(app: App, ticket: string): Promise<Identity> {
  const holder = await app.waiting.pass(() => app.tickets.redeem(ticket))
  if (holder === undefined) throw badToken(new Refusal('ticket'))
  return holder
}
