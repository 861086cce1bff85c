import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { developmentSecret } from '../../src/auth/development-secret.ts'
import { StartError } from '../../src/errors.ts'

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-secret-'))
})

afterEach(() => rm(folder, { recursive: true, force: true }))

it('is made once and kept, readable by its owner only', async () => {
  const dataDir = join(folder, 'not', 'there', 'yet')
  const secret = await developmentSecret(dataDir)
  expect(secret).toMatch(/^[A-Za-z0-9_-]{43}$/)
  expect(await developmentSecret(dataDir)).toBe(secret)
  expect(await readdir(dataDir)).toEqual(['jwt-secret'])
  expect(await readFile(join(dataDir, 'jwt-secret'), 'utf8')).toBe(secret)
  expect((await stat(join(dataDir, 'jwt-secret'))).mode & 0o777).toBe(0o600)
  expect((await stat(dataDir)).mode & 0o777).toBe(0o700)
})

it('is another one in another folder', async () => {
  expect(await developmentSecret(join(folder, 'a'))).not.toBe(await developmentSecret(join(folder, 'b')))
})

it('is one for all that start at the same time', async () => {
  const secrets = await Promise.all(Array.from({ length: 50 }, () => developmentSecret(join(folder, 'd'))))
  expect(new Set(secrets).size).toBe(1)
  expect(await readdir(join(folder, 'd'))).toEqual(['jwt-secret'])
})

it('may be written by hand, with a line end', async () => {
  await writeFile(join(folder, 'jwt-secret'), `${'s'.repeat(32)}\n`)
  expect(await developmentSecret(folder)).toBe('s'.repeat(32))
})

it.each(['', '\n', 's'.repeat(31)])('is never a short one: %j', async (text) => {
  await writeFile(join(folder, 'jwt-secret'), text)
  await expect(developmentSecret(folder)).rejects.toThrow(StartError)
  expect(await readFile(join(folder, 'jwt-secret'), 'utf8')).toBe(text)
})

it('says which file it is about when it cannot be made', async () => {
  await writeFile(join(folder, 'file'), '')
  const making = developmentSecret(join(folder, 'file'))
  await expect(making).rejects.toThrow(StartError)
  await expect(making).rejects.toThrow(join(folder, 'file', 'jwt-secret'))
})
