import {
  type Attributes,
  context,
  createTraceState,
  isSpanContextValid,
  type Link,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import { loggedMessage } from './logged-error.ts'

/** The sampled span that asked for a write. */
export type Origin = SpanContext

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>

/** The ids of a trace and a span, for log lines. */
export interface TraceIds {
  readonly trace_id: string
  readonly span_id: string
}

/** The ids in a caller's `traceparent`; undefined if it is missing or not valid. */
export function traceIdsOf(headers: Headers): TraceIds | undefined {
  const caller = parseTraceparent(headers.traceparent)
  return caller && { trace_id: caller.traceId, span_id: caller.spanId }
}

/** The span of a request under way. */
export interface RequestSpan {
  readonly ids: TraceIds
  /** Runs the handler within this span, so that its writes belong to it. */
  within<Result>(work: () => Result): Result
  /** @param route the path's pattern; the path itself would make a span name for every story */
  end(method: string, route: string, status: number): void
}

/** Makes spans from a request to the sockets that receive its event. Exists only if an SDK is registered. */
export interface Tracing {
  request(headers: Headers): RequestSpan
  /** The current span, for the batched statement that will serve it. */
  here(): Origin | undefined
  /** A statement that serves many requests: a child of the first that is traced, with links to all of them. */
  batch<Result>(
    name: string,
    origins: readonly (Origin | undefined)[],
    write: (traceparent: string | undefined) => Promise<Result>,
  ): Promise<Result>
  /** Events have been written to their sockets; `sentAt` is when they were about to be committed, ms on our clock. */
  delivered(traceparent: string, sentAt: number): void
}

/**
 * Undefined if no OpenTelemetry SDK was registered before the service started (`node --import ./otel.js`): then nothing
 * is traced, and a request costs one comparison.
 */
export function createTracing(): Tracing | undefined {
  const provider = trace.getTracerProvider()
  const tracer =
    provider instanceof ProxyTracerProvider
      ? provider.getDelegateTracer('glimpse')
      : provider.getTracer('glimpse')
  return tracer === undefined ? undefined : tracingWith(tracer)
}

function tracingWith(tracer: Tracer): Tracing {
  return {
    request(headers) {
      // If the SDK instruments node:http, it has made the span already.
      const active = context.active()
      const caller = parseTraceparent(headers.traceparent, headers.tracestate)
      const parent =
        trace.getSpan(active) !== undefined || caller === undefined
          ? active
          : trace.setSpanContext(active, caller)
      const span = tracer.startSpan('request', { kind: SpanKind.SERVER }, parent)
      const { traceId, spanId } = span.spanContext()
      return {
        ids: { trace_id: traceId, span_id: spanId },
        within: (work) => context.with(trace.setSpan(parent, span), work),
        end(method, route, status) {
          span.updateName(`${method} ${route}`)
          span.setAttributes({
            'http.request.method': method,
            'http.route': route,
            'http.response.status_code': status,
          })
          if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
          span.end()
        },
      }
    },
    here: () => sampled(trace.getSpanContext(context.active())),
    async batch(name, origins, write) {
      const links: Link[] = origins.flatMap((origin) => (origin === undefined ? [] : [{ context: origin }]))
      const [first] = links
      if (first === undefined) return write(undefined)
      const attributes: Attributes = {
        'db.system.name': 'postgresql',
        'db.operation.batch.size': origins.length,
      }
      const parent = trace.setSpanContext(ROOT_CONTEXT, first.context)
      const span = tracer.startSpan(name, { kind: SpanKind.CLIENT, attributes, links }, parent)
      try {
        return await write(formatTraceparent(span.spanContext()))
      } catch (error) {
        span.setStatus({ code: SpanStatusCode.ERROR, message: loggedMessage(error as Error) })
        throw error
      } finally {
        span.end()
      }
    },
    delivered(traceparent, sentAt) {
      const writer = sampled(parseTraceparent(traceparent))
      if (writer === undefined) return
      const parent = trace.setSpanContext(ROOT_CONTEXT, writer)
      tracer.startSpan('deliver', { kind: SpanKind.CONSUMER, startTime: sentAt }, parent).end()
    },
  }
}

function sampled(spanContext: SpanContext | undefined): SpanContext | undefined {
  return ((spanContext?.traceFlags ?? 0) & TraceFlags.SAMPLED) === 0 ? undefined : spanContext
}

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/

/** W3C Trace Context §3.2; anything else is ignored. */
function parseTraceparent(
  text: string | readonly string[] | undefined,
  state?: string | readonly string[],
): SpanContext | undefined {
  const [, traceId = '', spanId = '', flags = ''] = TRACEPARENT.exec(String(text)) ?? []
  const spanContext: SpanContext = {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16),
    isRemote: true,
    ...(state === undefined ? {} : { traceState: createTraceState(String(state)) }),
  }
  return isSpanContextValid(spanContext) ? spanContext : undefined
}

function formatTraceparent({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
}
