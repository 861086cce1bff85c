import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { call } from '../support/api.ts'
import { openFolder, ROOT, type UserFolder } from '../support/client-package.ts'
import { type Instance, startInstance } from '../support/instance.ts'

/** These install generators from the registry; `npm run test:field -- generated` runs them. */
const inTheField = process.env.GLIMPSE_FIELD === 'on'

/** The last that run on Node 20.19. */
const GENERATORS = [
  'openapi-typescript@7',
  'openapi-fetch@0.17',
  '@hey-api/openapi-ts@0.90',
  'openapi-zod-client@1',
  '@asyncapi/parser@3',
  'typescript@5.9',
  '@types/node@20',
]

let folder: UserFolder
let instance: Instance
let token: string

/**
 * Prints the types of a page of events, read by a generated client: a view, an event of a table with ids of its own whose
 * viewer was forgotten, one of a type of one's own, and one whose data is no object.
 */
const EXPECTED = ['story.viewed', 'story.viewed', 'comment.added', 'note.added']

const PROGRAMS = {
  'openapi-typescript': `
import createClient from 'openapi-fetch'
import type { components, paths } from './types.d.ts'
const client = createClient<paths>({ baseUrl: process.env.URL, headers: { authorization: \`Bearer \${process.env.TOKEN}\` } })
const { data } = await client.GET('/events', { params: { query: { after: '0' } }, headers: { accept: 'application/json' }, parseAs: 'json' })
if (data === undefined || typeof data === 'string') throw new Error('no page')
const page: components['schemas']['PollPage'] = data
const story = await client.PUT('/stories/{id}', { params: { path: { id: crypto.randomUUID() } }, body: { text: 'hi' } })
if (story.response.status !== 201) throw new Error('no story')
console.log(JSON.stringify(page.events.map(({ type }) => type)))
`,
  '@hey-api/openapi-ts': `
import { client } from './hey/client.gen.js'
import { getEvents, putStory } from './hey/sdk.gen.js'
client.setConfig({ baseUrl: process.env.URL ?? '', auth: () => process.env.TOKEN })
const { data } = await getEvents({ query: { after: '0' }, headers: { accept: 'application/json' }, throwOnError: true })
const story = await putStory({ path: { id: crypto.randomUUID() }, body: { text: 'hi' }, throwOnError: true })
if (story.response.status !== 201) throw new Error('no story')
console.log(JSON.stringify(data.events.map(({ type }) => type)))
`,
  'openapi-zod-client': `
import { createApiClient, schemas } from './zod.js'
const api = createApiClient(process.env.URL ?? '', { axiosConfig: { headers: { authorization: \`Bearer \${process.env.TOKEN}\`, accept: 'application/json' } } })
const page = await api.getEvents({ queries: { after: '0' } })
schemas.PollPage.parse(page)
await api.putStory({ text: 'hi' }, { params: { id: crypto.randomUUID() } })
const wrong = { ...page, events: [{ ...page.events[0], type: 'Not a type', data: 5 }] }
if (schemas.PollPage.safeParse(wrong).success) throw new Error('anything is taken for an event')
console.log(JSON.stringify(page.events.map(({ type }) => type)))
`,
} as const

const COMPILER = {
  module: 'esnext',
  moduleResolution: 'bundler',
  target: 'es2022',
  strict: true,
  skipLibCheck: true,
  noEmit: true,
  lib: ['es2023', 'dom', 'dom.iterable'],
  types: ['node'],
}

describe.runIf(inTheField)('clients generated from the documents', { timeout: 300_000 }, () => {
  beforeAll(async () => {
    instance = await startInstance()
    const [alice, bob] = [await instance.caller('alice'), await instance.caller('bob')]
    token = alice.token
    await bob.view(await alice.post())
    const sql = postgres(instance.database.url, { max: 1 })
    await sql`select glimpse.append(
      (${alice.user}, 'story.viewed', '{"story_id":"42","viewer_id":null,"viewed_at":"2025-10-01T15:13:26.000Z"}', now())::glimpse.new_event,
      (${alice.user}, 'comment.added', '{"text":"hi"}', now())::glimpse.new_event,
      (${alice.user}, 'note.added', '["any", 1]', now())::glimpse.new_event)`
    await sql.end()
    folder = await openFolder()
    await folder.write({ 'package.json': '{"private":true,"type":"module"}' })
    for (const name of ['openapi.json', 'asyncapi.json'])
      await writeFile(join(folder.path, name), (await call(instance.url, `/${name}`)).text)
    await folder.run('npm', 'install', '--no-audit', '--no-fund', '--loglevel=error', ...GENERATORS)
  }, 240_000)
  afterAll(async () => {
    await folder?.remove()
    await instance?.close()
  })

  it('are made, typecheck, and read a page with events of one’s own', async () => {
    await folder.run('npx', 'openapi-typescript', 'openapi.json', '-o', 'types.d.ts')
    await folder.run('npx', 'openapi-ts', '-i', 'openapi.json', '-o', 'hey')
    await folder.run('npx', 'openapi-zod-client', 'openapi.json', '-o', 'zod.ts')
    const files = Object.entries(PROGRAMS).map(([, text], i) => [`program-${i}.ts`, text] as const)
    await folder.write({
      ...Object.fromEntries(files),
      'tsconfig.json': JSON.stringify({ compilerOptions: COMPILER, files: files.map(([name]) => name) }),
    })
    await folder.run('npx', 'tsc')
    for (const [i, name] of Object.keys(PROGRAMS).entries()) {
      const printed = await folder.run(
        'env',
        `URL=${instance.url}`,
        `TOKEN=${token}`,
        join(ROOT, 'node_modules/.bin/tsx'),
        `program-${i}.ts`,
      )
      expect([name, JSON.parse(printed)]).toEqual([name, EXPECTED])
    }
  })

  it('the AsyncAPI document is valid by the parser of its makers', async () => {
    await folder.write({
      'parse.mjs': `import { readFileSync } from 'node:fs'
        import { Parser } from '@asyncapi/parser'
        const { document, diagnostics } = await new Parser().parse(readFileSync('asyncapi.json', 'utf8'))
        // 0 is an error, 1 a warning; that there is a newer version than 3.0 is none of these.
        console.log(JSON.stringify([document !== undefined, diagnostics.filter(({ severity }) => severity < 2)]))`,
    })
    expect(JSON.parse(await folder.run(process.execPath, 'parse.mjs'))).toEqual([true, []])
  })
})
