import type { IncomingMessage, RequestListener } from 'node:http'
import { answer } from './http.ts'

/** A subscriber of a bare server: takes the next event's number and its JSON text. */
export interface Subscriber {
  seq: number
  send(seq: number, json: string): void
}

export const OPEN = '{"type":"stream.open","data":{"cursor":"0","oldest":1,"resumed":false}}'

/** Ticks of a paced feed. */
const TICK_MS = 5
/** Events a turn of the event loop, so that reads and writes of the sockets get their turn as well. */
const BURST = 200

const subscribers: Subscriber[] = []

export function subscribe(send: Subscriber['send']): () => void {
  const subscriber = { seq: 0, send }
  subscribers.push(subscriber)
  return () => subscribers.splice(subscribers.indexOf(subscriber), 1)
}

/** `POST /feed?events=…&rate=…`: events from memory, each to a random subscriber; without a rate as fast as it goes. */
export const feedRoute: RequestListener = (request: IncomingMessage, response) => {
  const query = new URL(request.url ?? '', 'http://localhost').searchParams
  const events = Number(query.get('events'))
  const rate = Number(query.get('rate') ?? 0)
  answer(response, 202, { startedAt: performance.timeOrigin + performance.now() })
  if (rate === 0) flood(events)
  else pace(events, rate)
}

function flood(events: number): void {
  const burst = Math.min(BURST, events)
  for (let i = 0; i < burst; i += 1) publish()
  if (events > burst) setImmediate(flood, events - burst)
}

function pace(events: number, rate: number): void {
  const started = performance.now()
  let sent = 0
  const timer = setInterval(() => {
    const due = Math.min(events, ((performance.now() - started) * rate) / 1000)
    for (; sent < due; sent += 1) publish()
    if (sent >= events) clearInterval(timer)
  }, TICK_MS)
}

/** As long as Glimpse's own event, to the byte or two. */
function publish(): void {
  const subscriber = subscribers[Math.floor(Math.random() * subscribers.length)]
  if (subscriber === undefined) return
  subscriber.seq += 1
  const at = '2025-10-01T15:13:26.000Z'
  subscriber.send(
    subscriber.seq,
    `{"id":"7f3a9c2b11de.${subscriber.seq}","seq":${subscriber.seq},"type":"story.viewed","data":{"story_id":"550e8400-e29b-41d4-a716-446655440000","viewer_id":"viewer_1234567","viewed_at":"${at}"},"timestamp":"${at}"}`,
  )
}
