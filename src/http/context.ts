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

/** What the handlers work with; made once, in service.ts. */
export interface App {
  readonly config: Config
  readonly log: Logger
  readonly metrics: Metrics
  readonly tracing: Tracing | undefined
  readonly limits: Limits
  /** For reading. */
  readonly sql: Pool
  /** For writes outside a batch: they may wait for a lock, which must not keep readers from a connection. */
  readonly edits: Pool
  readonly views: Batcher<View, Recorded>
  readonly reactions: Batcher<Reaction, Recorded>
  readonly reads: Batcher<ReadMark, ReadOutcome>
  readonly eventLog: EventLog
  /** Every request that waits for Postgres other than in a batch goes through it. */
  readonly waiting: Gate
  readonly pressure: Pressure
  /** Pages of one user are made few at a time: until it is sent, each takes some times its size. */
  readonly polls: Turns
  readonly hub: Hub
  readonly presence: Presence
  readonly websockets: WebSocketTransport
  readonly verifier: TokenVerifier
  readonly tickets: Tickets
  /** Signs a development token; undefined in production and where tokens come from a JWKS issuer. */
  readonly issueToken: ((user: string, expiresInSeconds: number) => Promise<string>) | undefined
  /** Why an event sent now would not arrive; empty where it would. */
  readonly unready: () => readonly string[]
}

/** The parts of a request's URL; the query is parsed only where somebody asks for it. */
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

/** One request on its way through a handler. */
export interface Context {
  readonly app: App
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly url: RequestUrl
  /** Where it comes from, as limits count: an address, or the network of an IPv6 one. */
  readonly network: string
  readonly params: Readonly<Record<string, string | undefined>>
  /** Headers that go with every answer, such as those of CORS. */
  readonly headers: OutgoingHttpHeaders
  /** The rest of an upgraded connection's first packet; undefined for a plain request. */
  readonly upgradeHead: Buffer | undefined
  /** The body, where it had to be read before the handler. */
  readonly body: Buffer | undefined
  /** Who calls, once that is known; what the answer takes of our memory is counted against them. */
  user?: string
}

/** Answers a request, or takes its response over and returns undefined. Throws GlimpseError to refuse. */
export type Handler = (context: Context) => Promise<Answer | undefined> | Answer | undefined

/**
 * Who calls. The token comes from the header, from `?token=` where `query` allows it, or from the cookie; where it does, a
 * ticket can stand for it.
 *
 * @throws GlimpseError `unauthorized`, `too_many_requests` where the user asks too often
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
  return app.verifier.cached(token) ?? app.verifier.verify(token)
}

async function byTicket(app: App, ticket: string): Promise<Identity> {
  const holder = await app.waiting.pass(() => app.tickets.redeem(ticket))
  if (holder === undefined) throw badToken(new Refusal('ticket'))
  return holder
}
