import { fetchFailure, serviceUrl } from './caller.ts'
import { CallError, type Command, EXIT, paint, parse, printable, UsageError } from './command.ts'

const HELP = `Usage: glimpse status [--url <url>] [--json]

Asks a running service whether it is ready, which means that an event sent now would arrive.

  --url <url>   the service; otherwise GLIMPSE_URL, otherwise http://HOST:PORT
  --json        {"url", "ready", "reasons"} instead of a line

Examples:
  glimpse status
  until glimpse status; do sleep 1; done

Exit codes: 0 ready, 1 not ready, 2 called wrongly, 3 something else answers there, 5 the service cannot be reached.
`

/** Timeout of an answer, ms. */
const ANSWER_MS = 5000

export const status: Command = {
  help: HELP,
  async run(args, { environment, stdout }) {
    const { values, positionals } = parse(args, { url: { type: 'string' }, json: { type: 'boolean' } })
    if (positionals.length > 0) throw new UsageError('status takes no arguments')
    const url = serviceUrl(environment, values.url)
    const reasons = await unreadiness(url)
    const ready = reasons.length === 0
    const line = ready
      ? `${paint(stdout, 'green', 'ready')}  ${url}`
      : `${paint(stdout, 'red', 'not ready')}  ${url}: ${printable(reasons.join('; '))}`
    stdout.write(`${values.json ? JSON.stringify({ url, ready, reasons }) : line}\n`)
    return ready ? EXIT.ok : EXIT.problem
  },
}

/** Why the service is not ready; empty if it is. */
async function unreadiness(url: string): Promise<readonly string[]> {
  const target = `${url}/readyz`
  let response: Response
  try {
    response = await fetch(target, { signal: AbortSignal.timeout(ANSWER_MS) })
  } catch (error) {
    throw fetchFailure(target, error)
  }
  const answer = (await response.json().catch(() => ({}))) as { status?: unknown; reasons?: unknown }
  if (response.ok && answer.status === 'ready') return []
  if (response.status === 503 && Array.isArray(answer.reasons)) return answer.reasons.map(String)
  throw new CallError(
    EXIT.refused,
    `what answers at ${url} is not Glimpse, or a proxy hides /readyz (${response.status})`,
  )
}
