import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { releases, versionsInFiles } from '../scripts/versions.ts'
import { glimpse } from './support/cli.ts'

const { version } = JSON.parse(await readFile('package.json', 'utf8'))

describe('the version', () => {
  it('is one everywhere: package, documents, image and samples', async () => {
    const places = await versionsInFiles()
    expect(places.length).toBeGreaterThan(10)
    for (const [file, found] of places) expect(found, file).toBe(version)
  })

  it('is what the command line says', async () => {
    expect(await glimpse(['version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  it('is the newest in the changelog, with what changed', async () => {
    const [unreleased, newest, ...older] = await releases()
    expect(unreleased).toMatchObject({ version: 'Unreleased', date: undefined })
    expect(newest).toMatchObject({ version, date: expect.any(String) })
    expect(newest?.entries).toBeGreaterThan(0)
    for (const { version: old, date } of older) expect(date, old).toBeDefined()
  })
})
