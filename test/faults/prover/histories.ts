import { poll } from '../../support/clients/poll.ts'
import { openSse } from '../../support/clients/sse.ts'
import { openWebSocket } from '../../support/clients/websocket.ts'
import { signToken } from '../../support/token.ts'
import type { Bench } from './bench.ts'
import { until } from './crowd.ts'

/** Waits until every client was told, since then, that the database continues in another history. */
export function untilToldOfHistory(bench: Bench, since: number, timeoutMs: number): Promise<boolean> {
  return until(timeoutMs, () => bench.crowd.clients.every(({ entries }) => entries.some(isTold)))

  function isTold(entry: (typeof bench.crowd.clients)[number]['entries'][number]): boolean {
    return entry.type === 'reset' && entry.reason === 'epoch' && entry.at >= since
  }
}

/** How many resets there were since then for any other reason, or to a client that had been told already. */
export function needlessResets(bench: Bench, since: number): number {
  return bench.crowd.clients.reduce((sum, { entries }) => {
    const resets = entries.filter((entry) => entry.type === 'reset' && entry.at >= since)
    const others = resets.filter((entry) => entry.type === 'reset' && entry.reason !== 'epoch')
    return sum + others.length + Math.max(0, resets.length - others.length - 1)
  }, 0)
}

/** Comes back late, over every transport, with a cursor of another history. What was wrong with the answers. */
export async function comeBackLate(bench: Bench, author: string, cursor: string): Promise<string[]> {
  const wrong: string[] = []
  const { epoch } = await bench.readHeads()
  const options = { url: bench.instance(0).url, token: await signToken(author), lastEventId: cursor }
  for (const open of [openSse, openWebSocket]) {
    const stream = await open(options)
    try {
      const [first, second] = [(await stream.next()).json, (await stream.next()).json]
      if (first.type !== 'stream.open' || first.data.resumed || !first.data.cursor.startsWith(`${epoch}.`))
        wrong.push(`${open.name}: ${cursor} was opened by ${JSON.stringify(first)}`)
      if (second.type !== 'stream.reset' || second.data.reason !== 'epoch')
        wrong.push(`${open.name}: ${cursor} was followed by ${JSON.stringify(second)}`)
    } finally {
      stream.cut()
    }
  }
  const page = await poll(options)
  if (page.json.reset?.reason !== 'epoch' || !page.json.cursor.startsWith(`${epoch}.`))
    wrong.push(`poll: ${cursor} was answered by ${page.text}`)
  return wrong
}
