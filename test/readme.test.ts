import { execFile, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
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

/** The shell blocks of docs/quick-start.md that talk to a running service, as they stand but for the port. */
async function walkThrough(): Promise<string> {
  const blocks = [...(await read('docs/quick-start.md')).matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(
    ([, block]) => block ?? '',
  )
  const api = blocks.filter((block) => block.includes('$API') || block.includes('API='))
  return api.join('\n').replace('http://127.0.0.1:8080', url)
}

it("the walk-through of docs/quick-start.md works pasted as it stands, with nothing but npm's scripts and curl", async () => {
  const script = await walkThrough()
  expect(script).toContain('npm run -s sql')
  const { stdout } = await promisify(execFile)('bash', ['-m', '-c', script], {
    cwd: root,
    env: { ...process.env, DATA_DIR: dataDir },
    timeout: 150_000,
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
}, 180_000)

/** The block of a page that holds `text`, as it stands but for the port. */
async function blockWith(page: string, kind: string, text: string): Promise<string> {
  const blocks = (await read(page)).matchAll(new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))
  const block = [...blocks].map(([, inner]) => inner ?? '').find((inner) => inner.includes(text))
  if (block === undefined) throw new Error(`no block with ${text}`)
  return block.replace('http://127.0.0.1:8080', url)
}

it('the quick start shows the first event in a terminal, in own code, and through the lines for an application', async () => {
  const environment = { ...process.env, DATA_DIR: dataDir, PORT: new URL(url).port }
  const lines: string[] = []
  const follow = (command: string, args: readonly string[]) => {
    const child = spawn(command, args, {
      cwd: root,
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    onTestFinished(() => void process.kill(-(child.pid ?? 0), 'SIGKILL'))
    for (const pipe of [child.stdout, child.stderr])
      createInterface({ input: pipe }).on('line', (line) => lines.push(line))
  }
  follow('bash', ['-c', await blockWith('README.md', 'sh', 'glimpse tail')])
  // As if it were saved in this folder: that is where the package finds itself by name.
  follow(process.execPath, [
    '--input-type=module',
    '-e',
    await blockWith('docs/quick-start.md', 'js', 'glimpse/client'),
  ])
  // What an application has of its own: a backend that knows who is signed in, a page, and the package installed.
  const application = (await blockWith('README.md', 'ts', 'glimpse-client'))
    .replace("'glimpse-client'", "'glimpse/client'")
    .replace("fetch('/my-token')", 'myToken()')
  const surroundings = `const headers = { 'content-type': 'application/json' }
    const myToken = async () => {
      const answer = await fetch('${url}/dev/tokens', { method: 'POST', headers, body: '{"user":"alice"}' })
      const { token } = await answer.json()
      return { text: () => token }
    }
    const addViewer = (user) => console.log('viewer added: ' + user)
    const addReaction = (user, emoji) => console.log('reaction added: ' + user + ' ' + emoji)`
  follow(process.execPath, ['--input-type=module', '-e', `${application}\n${surroundings}`])
  await expect.poll(() => lines, { timeout: 60_000 }).toContain('live over websocket')
  const send = await blockWith('README.md', 'sh', 'glimpse send')
  await expect
    .poll(
      async () => {
        await promisify(execFile)('bash', ['-c', send], { cwd: root, env: environment })
        return lines.join('\n')
      },
      { timeout: 60_000 },
    )
    .toMatch(
      /(?=[\s\S]*bob viewed)(?=[\s\S]*bob says 👏)(?=[\s\S]*viewer added: bob)(?=[\s\S]*reaction added: bob 👏)/,
    )
}, 180_000)
