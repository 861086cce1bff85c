import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { describe, expect, it, onTestFinished } from 'vitest'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))

describe('docs/client.md', () => {
  it('names every option, every time and every reason, and the size', async () => {
    const page = await readFile(join(ROOT, 'docs/client.md'), 'utf8')
    const types = await readFile(join(ROOT, 'src/client/types.ts'), 'utf8')
    const members = (name: string) => {
      const [, body = ''] =
        new RegExp(`export interface ${name}(?:<[^{]*>)? \\{(.*?)\\n\\}`, 's').exec(types) ?? []
      return [...body.matchAll(/^ {2}readonly (\w+)\??:/gm)].map(([, member = '']) => member)
    }
    const [, reasons = ''] = /export type ClosedReason =(.*?)\n\n/s.exec(types) ?? []
    const named = [
      ...members('ConnectOptions'),
      ...members('Timing'),
      ...[...reasons.matchAll(/'(\w+)'/g)]
        .map(([, reason = '']) => reason)
        .filter((reason) => reason !== 'by_caller'),
    ]
    expect(named.length).toBeGreaterThan(20)
    expect(named.filter((name) => !page.includes(`\`${name}\``))).toEqual([])
    expect(page).toContain('8 kB minified and gzipped')
  })
})

describe('the package’s client', () => {
  it('depends on nothing', async () => {
    const { metafile } = await build({
      entryPoints: [join(ROOT, 'src/client/index.ts')],
      bundle: true,
      platform: 'neutral',
      write: false,
      metafile: true,
    })
    const inputs = Object.keys(metafile.inputs)
    expect(inputs.length).toBeGreaterThan(10)
    expect(inputs.filter((path) => !/src\/(client\/[\w-]+|event)\.ts$/.test(path))).toEqual([])
  })

  it('can be imported by its name, with its types, by another program', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'glimpse-user-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    await run('mkdir', ['-p', join(folder, 'node_modules')])
    await symlink(ROOT, join(folder, 'node_modules/glimpse'))
    await writeFile(join(folder, 'package.json'), '{"type":"module"}')
    await writeFile(
      join(folder, 'user.ts'),
      `import { connect, type GlimpseEvent, type State } from 'glimpse/client'
       const states: State[] = []
       const stream = connect({
         url: 'http://127.0.0.1:1',
         token: 'any',
         onState: (state) => states.push(state),
         onEvent: (event) => {
           if (event.type === 'story.reacted') console.log(event.data.emoji)
           // @ts-expect-error an event has no such thing
           console.log(event.color)
         },
       })
       // Events of one's own, as docs/client.md shows it.
       interface MyEvents { 'comment.added': { readonly text: string } }
       const token: string | undefined = process.argv[2]
       const mine = connect<MyEvents>({ url: 'http://127.0.0.1:1', token })
       mine.on('comment.added', ({ data }) => { data.text.trim() })
       mine.on('story.viewed', async ({ data }) => { data.viewer_id?.trim() })
       mine.on('*', (event) => { if (event.type === 'comment.added') event.data.text.trim() })
       mine.on('stream.unread', (unread) => { unread.toFixed() })
       // @ts-expect-error a typo
       mine.on('comment.add', () => {})
       // @ts-expect-error it has no such thing
       mine.on('comment.added', ({ data }) => { data.color })
       mine.close()
       const iterate = async () => {
         for await (const event of connect<MyEvents>({ url: 'http://127.0.0.1:1', token }))
           if (event.type === 'comment.added') event.data.text.trim()
           else if (event.type === 'story.reacted') event.data.emoji.trim()
       }
       void iterate
       type Own = { id: string; seq: number; type: 'comment.added'; data: { text: string }; timestamp: string }
       const show = (event: GlimpseEvent | Own) => event.type === 'comment.added' && event.data.text
       connect({ url: 'http://127.0.0.1:1', onEvent: (event: GlimpseEvent | Own) => void show(event) }).close()
       stream.close()
       await stream.done
       console.log(states.at(-1)?.name)`,
    )
    const compilerOptions = {
      strict: true,
      exactOptionalPropertyTypes: true,
      module: 'nodenext',
      target: 'es2022',
      lib: ['es2023', 'dom'],
      types: ['node'],
      typeRoots: [join(ROOT, 'node_modules/@types')],
    }
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    await run(process.execPath, [tsc], { cwd: folder }).catch(({ stdout }) => {
      throw new Error(stdout)
    })
    const { stdout } = await run(process.execPath, ['user.js'], { cwd: folder })
    expect(stdout.trim()).toBe('closed')
  })
})
