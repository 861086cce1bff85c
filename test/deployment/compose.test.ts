import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { parseConfig } from '../../src/config.ts'
import { VARIABLES } from '../../src/environment.ts'
import { parseDockerfile } from './dockerfile.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

interface Service {
  readonly image: string
  readonly build?: string
  readonly command?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly depends_on?: Readonly<Record<string, { condition: string }>>
  readonly stop_grace_period?: string
  readonly healthcheck?: { readonly test?: readonly string[] }
  readonly volumes?: readonly string[]
}

let services: Readonly<Record<string, Service>>
beforeAll(async () => {
  services = parse(await readFile(join(root, 'compose.yaml'), 'utf8'), { merge: true }).services
})

const service = (name: string): Service => {
  const found = services[name]
  if (found === undefined) throw new Error(`no service ${name}`)
  return found
}

const instances = ['glimpse-1', 'glimpse-2']

describe('compose.yaml', () => {
  it.for(['compose.yaml', 'compose.yaml compose.nats.yaml'])('%s is what docker compose understands', (all, {
    skip,
  }) => {
    const commands = [
      ['docker', 'compose'],
      ['docker-compose', ''],
    ].map(([command = '', plugin]) => [command, ...(plugin ? [plugin] : [])])
    const found = commands.find(
      ([command = '', ...args]) => spawnSync(command, [...args, 'version']).status === 0,
    )
    if (found === undefined) return skip('docker compose is not installed')
    const [command = '', ...args] = found
    const files = all.split(' ').flatMap((file) => ['-f', file])
    const { status, stderr } = spawnSync(command, [...args, ...files, 'config'], {
      cwd: root,
      encoding: 'utf8',
      env: {
        ...process.env,
        JWT_SECRET: 'x'.repeat(32),
        POSTGRES_PASSWORD: 'secret',
        GLIMPSE_RELAY_PASSWORD: 'secret',
        GLIMPSE_INSTANCE_PASSWORD: 'secret',
        GLIMPSE_BOTH_PASSWORD: 'secret',
      },
    })
    expect(stderr.replace(/^.*level=warning.*$/gm, '').trim()).toBe('')
    expect(status).toBe(0)
  })

  it('migrates once, before two instances start, and lets nginx in when they are ready', () => {
    expect(service('migrate').depends_on).toEqual({ postgres: { condition: 'service_healthy' } })
    for (const name of instances)
      expect(service(name).depends_on).toEqual({ migrate: { condition: 'service_completed_successfully' } })
    expect(Object.keys(service('nginx').depends_on ?? {})).toEqual(instances)
    for (const name of instances) expect(service(name).healthcheck?.test?.join(' ')).toContain(':9090/readyz')
    expect(service('nginx').volumes).toEqual(['./deploy/nginx.conf:/etc/nginx/nginx.conf:ro'])
  })

  it('configures the instances with variables there are, and stops none before it has drained', async () => {
    const dockerfile = parseDockerfile(await readFile(join(root, 'Dockerfile'), 'utf8'))
    const image = dockerfile
      .filter(({ name }) => name === 'ENV')
      .flatMap(({ rest }) => rest.split(' ').map((text) => text.split('=')))
    for (const name of instances) {
      const given = Object.fromEntries(
        Object.entries({ ...Object.fromEntries(image), ...service(name).environment }).map(([key, value]) => [
          key,
          String(value).replace(/\$\{(\w+):.*?\}/g, 'given'.repeat(8)),
        ]),
      )
      const parsed = parseConfig(given)
      if (!parsed.ok) throw new Error(parsed.problems.join('; '))
      expect(parsed.config).toMatchObject({
        production: true,
        migrate: false,
        host: '0.0.0.0',
        port: 8080,
        adminPort: 9090,
      })
      expect(Number.parseInt(service(name).stop_grace_period ?? '0', 10) * 1000).toBeGreaterThan(
        parsed.config.drainTimeoutMs,
      )
      expect(VARIABLES).toEqual(expect.arrayContaining(Object.keys(given)))
    }
  })
})
