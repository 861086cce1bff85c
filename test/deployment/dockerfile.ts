import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, readFile, stat } from 'node:fs/promises'
import { basename, join, relative, resolve } from 'node:path'
import { ignoredBy } from './dockerignore.ts'

interface Instruction {
  readonly name: string
  readonly rest: string
}

/** An image that was built without Docker: its root folder, and what a container of it would run. */
export interface Image {
  readonly root: string
  readonly workdir: string
  readonly env: Readonly<Record<string, string>>
  readonly labels: Readonly<Record<string, string>>
  readonly user: string | undefined
  readonly command: readonly string[]
  readonly healthcheck: readonly string[]
}

/** The instructions of a Dockerfile, in order: comments left out, continued lines joined. */
export function parseDockerfile(text: string): Instruction[] {
  return text
    .replace(/^\s*#.*\n/gm, '')
    .replace(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, name = '', rest = ''] = /^\s*(\w+)\s+(.*)$/.exec(line) ?? []
      return { name: name.toUpperCase(), rest }
    })
}

/**
 * Does what the Dockerfile in `context` says, each stage in a folder of its own under `target`, on this machine's own
 * Node. An instruction that is not understood is an error, so that nothing of the file goes untried.
 */
export async function buildImage(context: string, target: string): Promise<Image> {
  const ignored = ignoredBy(await readFile(join(context, '.dockerignore'), 'utf8'))
  const stages = new Map<string, string>()
  let image: Image | undefined
  for (const { name, rest } of parseDockerfile(await readFile(join(context, 'Dockerfile'), 'utf8'))) {
    if (name === 'ARG' && image === undefined) continue
    if (name === 'FROM') {
      const stage = / AS (\w+)$/.exec(rest)?.[1] ?? `stage${stages.size}`
      const root = join(target, stage)
      stages.set(stage, root)
      await mkdir(root, { recursive: true })
      image = { root, workdir: '/', env: {}, labels: {}, user: undefined, command: [], healthcheck: [] }
      continue
    }
    if (image === undefined) throw new Error(`${name} before FROM`)
    const inside = (path: string) => join(image?.root ?? '', resolve(image?.workdir ?? '/', path))
    switch (name) {
      case 'WORKDIR':
        await mkdir(inside(rest), { recursive: true })
        image = { ...image, workdir: resolve(image.workdir, rest) }
        break
      case 'ENV':
        image = { ...image, env: { ...image.env, ...Object.fromEntries(rest.split(' ').map(pair)) } }
        break
      case 'LABEL':
        image = { ...image, labels: Object.fromEntries(rest.split(' ').map(pair)) }
        break
      case 'USER':
        image = { ...image, user: rest }
        break
      case 'COPY': {
        const [, from, paths = ''] = /^(?:--from=(\w+) )?(.*)$/.exec(rest) ?? []
        const sources = paths.split(' ')
        const destination = sources.pop() ?? ''
        for (const source of sources) {
          const origin = from === undefined ? context : stages.get(from)
          if (origin === undefined) throw new Error(`COPY --from=${from}: no such stage`)
          const path = join(origin, source)
          if (from === undefined && ignored(source))
            throw new Error(`COPY ${source}: .dockerignore leaves it out`)
          const isFolder = (await stat(path)).isDirectory()
          await cp(path, inside(isFolder ? destination : join(destination, fileName(destination, source))), {
            recursive: true,
            filter: (file) => from !== undefined || !ignored(relative(context, file)),
          })
        }
        break
      }
      case 'RUN':
        await run(['sh', '-c', rest], inside('.'), image.env)
        break
      case 'EXPOSE':
        break
      case 'HEALTHCHECK':
        image = { ...image, healthcheck: execForm(rest.replace(/^.*? CMD /, '')) }
        break
      case 'CMD':
        image = { ...image, command: execForm(rest) }
        break
      default:
        throw new Error(`${name}: this builder doesn't know it`)
    }
  }
  if (image === undefined) throw new Error('no FROM')
  return { ...image, root: join(image.root, image.workdir) }
}

/** A file copied to a folder keeps its name. */
function fileName(destination: string, source: string): string {
  return destination.endsWith('/') ? basename(source) : ''
}

function pair(text: string): [string, string] {
  const at = text.indexOf('=')
  return [text.slice(0, at), text.slice(at + 1)]
}

/** `["node", "dist/main.js"]`; the shell form would put a shell between Docker and the process. */
function execForm(text: string): string[] {
  const words: unknown = JSON.parse(text)
  if (!Array.isArray(words)) throw new Error(`not in exec form: ${text}`)
  return words.map(String)
}

async function run(
  [command = '', ...args]: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const child = spawn(command, args, {
    cwd,
    env: { ...inherited(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (chunk) => (output += chunk))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`${args.join(' ')} in ${cwd}: exit code ${code}\n${output}`)
}

/** What npm needs to reach its registry and cache; nothing that npm set for the run of these tests. */
function inherited(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_|VITEST|INIT_CWD)/.test(name)),
  )
}
