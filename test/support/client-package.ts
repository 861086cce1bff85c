import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { packClient } from '../../scripts/pack-client.ts'

const run = promisify(execFile)
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** A program of somebody's own, in a folder of its own. */
export interface UserFolder {
  readonly path: string
  /** Where the package lies. */
  readonly client: string
  write(files: Readonly<Record<string, string>>): Promise<void>
  /** Standard output of a command that is run there; fails with all that was printed. */
  run(command: string, ...args: string[]): Promise<string>
  remove(): Promise<void>
}

export async function openFolder(): Promise<UserFolder> {
  const path = await mkdtemp(join(tmpdir(), 'glimpse-user-'))
  const client = join(path, 'node_modules/glimpse-client')
  return {
    path,
    client,
    async write(files) {
      for (const [name, text] of Object.entries(files)) {
        await mkdir(dirname(join(path, name)), { recursive: true })
        await writeFile(join(path, name), text)
      }
    },
    async run(command, ...args) {
      try {
        const { stdout } = await run(command, args, { cwd: path, maxBuffer: 16 << 20, timeout: 600_000 })
        return stdout
      } catch (error) {
        const { stdout, stderr, message } = error as Error & { stdout: string; stderr: string }
        throw new Error(`${command} ${args.join(' ')}: ${message}\n${stdout}\n${stderr}`)
      }
    },
    remove: () => rm(path, { recursive: true, force: true }),
  }
}

/** A folder with the packed client, unpacked as npm would, and with React from our own tree. */
export async function folderWithClient(): Promise<UserFolder> {
  const folder = await openFolder()
  await mkdir(folder.client, { recursive: true })
  const archive = await packClient(folder.path)
  await run('tar', ['xzf', archive, '-C', folder.client, '--strip-components=1'])
  await mkdir(join(folder.path, 'node_modules/@types'))
  for (const name of ['react', 'react-dom', '@types/react', '@types/node', 'undici-types', 'csstype'])
    await symlink(join(ROOT, 'node_modules', name), join(folder.path, 'node_modules', name))
  return folder
}

/** What a user writes, with all of the package's types in use. */
export const USER_PROGRAM = `
import { connect, localStorageCursor, SignedOutError, StreamError, type State } from 'glimpse-client'
import { createGlimpse, GlimpseProvider, useGlimpse } from 'glimpse-client/react'

interface MyEvents { 'comment.added': { readonly text: string } }
const states: State['name'][] = []
const token: string | undefined = undefined
const stream = connect<MyEvents>({
  url: 'http://127.0.0.1:1', token, store: localStorageCursor('key'), onState: ({ name }) => { states.push(name) },
})
stream.on('comment.added', ({ data }) => { data.text.trim() })
stream.on('story.reacted', ({ data, seq }) => { data.emoji.repeat(seq) })
// @ts-expect-error there is no such thing
stream.on('comment.added', ({ data }) => { data.color })
const own = createGlimpse<MyEvents>()
export function Badge() {
  own.useGlimpse('comment.added', ({ data }) => { data.text.trim() })
  return useGlimpse().unread
}
export const used: unknown[] = [SignedOutError, StreamError, GlimpseProvider, own.GlimpseProvider]
stream.close()
stream.done.then(() => console.log(states.join(' '), used.map((each) => typeof each).join(' ')))
`
