import { readFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { describe, expect, it, onTestFinished } from 'vitest'
import { audit } from '../../scripts/audit.ts'

interface Lock {
  readonly packages: Readonly<
    Record<string, { readonly hasInstallScript?: boolean; readonly integrity?: string }>
  >
}

const read = <Shape>(name: string) =>
  JSON.parse(readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')) as Shape

describe('packages', () => {
  it('run an install script only where package.json approves of it', () => {
    const { packages } = read<Lock>('package-lock.json')
    const { allowScripts } = read<{ allowScripts: Record<string, boolean> }>('package.json')
    const scripted = Object.entries(packages)
      .filter(([, { hasInstallScript }]) => hasInstallScript)
      .map(([path]) => path.split('node_modules/').at(-1))
    const approved = Object.keys(allowScripts).filter((name) => allowScripts[name])
    expect(scripted.sort()).toEqual(approved.sort())
  })

  it('are held to the digest in the lock file, wherever they are fetched from', () => {
    const { packages } = read<Lock>('package-lock.json')
    const unheld = Object.entries(packages).filter(
      ([path, { integrity }]) => path !== '' && !integrity?.startsWith('sha512-'),
    )
    expect(unheld).toEqual([])
  })
})

describe('the audit', () => {
  it('finds nothing where the registry knows of nothing', async () => {
    expect(await audit(await registry((_, response) => answer(response, {})))).toMatchObject({
      verdict: 'clean',
    })
  })

  it('names a production dependency that has a known vulnerability', async () => {
    const advisory = {
      id: 1,
      url: 'https://example.test/1',
      title: 'planted',
      severity: 'high',
      vulnerable_versions: '*',
      cwe: [],
      cvss: { score: 0, vectorString: null },
    }
    // npm asks for ws, and for every package that depends on it.
    const packument = (name: string) => ({ name, versions: { '8.23.0': { name, version: '8.23.0' } } })
    const url = await registry(({ method, url = '' }, response) =>
      answer(response, method === 'POST' ? { ws: [advisory] } : packument(decodeURIComponent(url.slice(1)))),
    )
    const { verdict, words } = await audit(url)
    expect(verdict).toBe('vulnerable')
    expect(words).toContain('ws (high)')
  })

  it('says so where no registry answers, and is no failure', async () => {
    const url = await registry((_, response) => response.writeHead(405).end())
    const { verdict, words } = await audit(url)
    expect(verdict).toBe('unanswered')
    expect(words).toContain('not checked')
  })
})

function answer(response: Parameters<RequestListener>[1], body: unknown): void {
  response.setHeader('content-type', 'application/json')
  response.setHeader('content-encoding', 'gzip')
  response.end(gzipSync(JSON.stringify(body)))
}

/** A registry of the test's own. */
async function registry(listener: RequestListener): Promise<string> {
  const server = createServer((request, response) => {
    request.resume()
    request.on('end', () => listener(request, response))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}
