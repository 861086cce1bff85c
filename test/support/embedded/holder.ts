/** A process that holds a lease: `holder <DATA_DIR> [settings as JSON]`. Tells the URL, leaves on SIGTERM. */

import { startEmbeddedPostgres } from '../../../src/embedded/index.ts'
import type { Logger } from '../../../src/observability/log.ts'

const [, , dataDir = '', settings = '{}'] = process.argv

/** As pino is called: with fields and a message, or with a message alone. */
function say(level: string) {
  return (fields: unknown, message?: string) => {
    const line =
      typeof fields === 'string' ? { level, fields: {}, message: fields } : { level, fields, message }
    process.stdout.write(`${JSON.stringify(line)}\n`)
  }
}
const log = { info: say('info'), warn: say('warn'), error: say('error') } as unknown as Logger

try {
  const { url, release } = await startEmbeddedPostgres({ dataDir, log, settings: JSON.parse(settings) })
  process.once('SIGTERM', async () => {
    await release()
    clearInterval(alive)
  })
  const alive = setInterval(() => {}, 60_000)
  say('ready')({ url })
} catch (error) {
  process.stderr.write(`${(error as Error).name}: ${(error as Error).message}\n`)
  process.exitCode = 1
}
