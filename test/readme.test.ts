import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseConfig } from '../src/config.ts'
import { MainProcess } from './support/instance.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (name: string) => readFile(join(root, name), 'utf8')

let dataDir: string
let main: MainProcess
let url: string
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'glimpse-readme-'))
  main = new MainProcess({ PORT: '0', DATA_DIR: dataDir })
  url = await main.listening()
})
afterAll(async () => {
  await main.kill('SIGTERM')
  await rm(dataDir, { recursive: true, force: true })
})

/** The README's shell blocks that talk to a running service, as they stand but for the port. */
async function walkThrough(): Promise<string> {
  const blocks = [...(await read('README.md')).matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(
    ([, block]) => block ?? '',
  )
  const api = blocks.filter((block) => block.includes('$API') || block.includes('API='))
  return api.join('\n').replace('http://127.0.0.1:8080', url)
}

it("the walk-through of the README works pasted as it stands, with nothing but npm's scripts and curl", async () => {
  const script = await walkThrough()
  expect(script).toContain('npm run -s sql')
  const { stdout } = await promisify(execFile)('bash', ['-m', '-c', script], {
    cwd: root,
    env: { ...process.env, DATA_DIR: dataDir },
    timeout: 60_000,
  }).catch((error) => {
    // `kill %1` and curl's --max-time end with a status of their own; what counts is what was printed.
    if (typeof error.stdout !== 'string') throw error
    return error as { stdout: string }
  })
  const events = [...stdout.matchAll(/^data: (\{"id":.*\})$/gm)].map(([, json]) => JSON.parse(json ?? ''))
  expect(events.map(({ seq, data }) => [seq, data.viewer_id ?? `${data.user_id} ${data.emoji}`])).toEqual([
    [1, 'bob'],
    [2, 'bob ❤️'],
    [2, 'bob ❤️'],
    [3, 'carol'],
    [4, 'carol 👏'],
  ])
  expect(stdout.match(/^event: stream\.open$/gm)).toHaveLength(3)
}, 90_000)

it('the README and .env.example name every variable, with the default it has', async () => {
  const defaults = parseConfig({})
  if (!defaults.ok) throw new Error('no defaults')
  const example = await read('.env.example')
  const readme = await read('README.md')
  const config = await read('src/config.ts')
  const names = [...config.matchAll(/^ {2}([A-Z][A-Z_]+): /gm)]
    .map(([, name]) => name ?? '')
    .filter((name) => name !== 'NODE_ENV')
  expect(names.length).toBeGreaterThan(15)
  for (const name of names) {
    expect(example, name).toMatch(new RegExp(`^#?${name}=`, 'm'))
    expect(readme, name).toContain(`\`${name}\``)
  }
  const given = Object.fromEntries(
    [...example.matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name, value]),
  )
  expect(parseConfig(given)).toEqual(defaults)
})
