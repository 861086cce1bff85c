import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { expect, it, onTestFinished } from 'vitest'
import { stablePort } from './faults/prover/ports.ts'
import { call } from './support/api.ts'
import { createDatabase } from './support/database.ts'
import { SERVER_PATH } from './support/listening-program.ts'
import { withoutNats } from './support/nats-server.ts'
import { upTo } from './support/sql-writer.ts'
import { TEST_SECRET } from './support/token.ts'

it('two commands of docs/scaling.md start four instances with NATS, one of them the relay', async ({
  skip,
}) => {
  skip(withoutNats !== undefined, withoutNats)
  const page = await readFile(new URL('../docs/scaling.md', import.meta.url), 'utf8')
  const commands = /```sh\n(nats-server .*?)```/s.exec(page)?.[1] ?? ''
  expect(commands.trim().split('\n')).toHaveLength(2)
  const database = await createDatabase()
  const nats = await stablePort()
  const ports = await Promise.all(upTo(4).map(() => stablePort()))
  const adapted = commands.replaceAll('4222', String(nats)).replace('8080 8081 8082 8083', ports.join(' '))
  const shell = spawn('sh', ['-c', adapted], {
    cwd: new URL('..', import.meta.url),
    env: {
      PATH: SERVER_PATH,
      HOME: process.env.HOME,
      DATABASE_URL: database.url,
      JWT_SECRET: TEST_SECRET,
    },
    stdio: 'ignore',
    // A process group of its own: all of it is ended with one signal.
    detached: true,
  })
  onTestFinished(async () => {
    process.kill(-(shell.pid ?? 0), 'SIGTERM')
    await once(shell, 'close')
    await database.drop()
  })
  const relaying = () =>
    Promise.all(
      ports.map(async (port) => {
        const url = `http://127.0.0.1:${port}`
        if ((await call(url, '/readyz')).status !== 200) return 'not ready'
        const { text } = await call(url, '/metrics')
        return `${/^glimpse_bus_relaying (\d)/m.exec(text)?.[1]}, LISTEN ${/^glimpse_bus_fallback (\d)/m.exec(text)?.[1]}`
      }),
    ).then((states) => states.sort())
  await expect
    .poll(() => relaying().catch(() => []), { timeout: 30_000 })
    .toEqual([...Array(3).fill('0, LISTEN 0'), '1, LISTEN 0'])
})
