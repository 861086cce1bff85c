import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import type { Finding } from '../../src/cli/doctor/finding.ts'
import { checkNats } from '../../src/cli/doctor/nats.ts'
import type { Role } from '../../src/cli/doctor/nats-rights.ts'
import { parseRelayConfig } from '../../src/cli/relay.ts'
import { type Config, parseConfig } from '../../src/config.ts'
import { VARIABLES } from '../../src/environment.ts'
import { stablePort } from '../faults/prover/ports.ts'
import { hasOpenssl } from '../support/certificates.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { ListeningProgram } from '../support/listening-program.ts'
import { withoutNats } from '../support/nats-server.ts'
import { upTo } from '../support/sql-writer.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string) => readFile(join(root, path), 'utf8')

type Environment = Readonly<Record<string, string>>

/** Without quotation marks, NATS would take each of these for something else than a text. */
const SECRETS: Environment = {
  GLIMPSE_RELAY_PASSWORD: '24e3aa',
  GLIMPSE_INSTANCE_PASSWORD: '123456789',
  GLIMPSE_BOTH_PASSWORD: 'true',
  POSTGRES_PASSWORD: 'given'.repeat(8),
  JWT_SECRET: 'given'.repeat(8),
}

const IMAGE: Environment = { NODE_ENV: 'production', HOST: '0.0.0.0', PORT: '8080' }

interface Service {
  readonly image: string
  readonly command?: readonly string[]
  readonly entrypoint?: readonly string[]
  readonly environment?: Environment
  readonly volumes?: readonly string[]
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly stop_grace_period?: string
  readonly healthcheck?: { readonly test: readonly string[] }
  readonly scale?: number
}

/** A service of both files, as docker compose merges them: maps by their keys, lists one after the other. */
async function composed(): Promise<Record<string, Service>> {
  const files = await Promise.all(['compose.yaml', 'compose.nats.yaml'].map(read))
  const [base, more] = files.map((text) => parse(text, { merge: true }).services)
  const merged: Record<string, Service> = { ...base, ...more }
  for (const name of Object.keys(base).filter((one) => more[one] !== undefined)) {
    const [before, after] = [base[name] as Service, more[name] as Service]
    merged[name] = {
      ...before,
      ...after,
      environment: { ...before.environment, ...after.environment },
      depends_on: { ...before.depends_on, ...after.depends_on },
      volumes: [...(before.volumes ?? []), ...(after.volumes ?? [])],
    }
  }
  return merged
}

function resolved(environment: Environment = {}): Environment {
  const entries = Object.entries(environment).map(([name, value]) => [
    name,
    String(value).replace(/\$\{(\w+):\?.*?\}/g, (_, variable: string) => {
      if (SECRETS[variable] === undefined) throw new Error(`no value for ${variable}`)
      return SECRETS[variable]
    }),
  ])
  return Object.fromEntries(entries)
}

interface Container {
  readonly image: string
  readonly args?: readonly string[]
  readonly command?: readonly string[]
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[]
  readonly env: readonly {
    readonly name: string
    readonly value?: string
    readonly valueFrom?: { readonly secretKeyRef?: { readonly name: string; readonly key: string } }
  }[]
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[]
  readonly securityContext: unknown
  readonly startupProbe: Probe
  readonly livenessProbe: Probe
  readonly readinessProbe: Probe
}

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string }
}

interface Manifest {
  readonly kind: string
  readonly metadata: { readonly name: string; readonly labels: Environment }
  readonly spec: {
    readonly replicas: number
    readonly serviceName: string
    readonly selector: unknown
    readonly clusterIP: string
    readonly podSelector: { readonly matchLabels: Environment }
    readonly ports: readonly { readonly port: number; readonly targetPort: string }[]
    readonly ingress: readonly {
      readonly from: readonly { readonly podSelector: { readonly matchLabels: Environment } }[]
      readonly ports: readonly { readonly port: string }[]
    }[]
    readonly template: {
      readonly metadata: { readonly labels: Environment }
      readonly spec: {
        readonly terminationGracePeriodSeconds: number
        readonly securityContext: { readonly runAsNonRoot: boolean }
        readonly containers: readonly [Container]
        readonly volumes: readonly { readonly name: string }[]
      }
    }
  }
}

async function manifests(file: string): Promise<ReadonlyMap<string, Manifest>> {
  const documents = parseAllDocuments(await read(file), { strict: true, uniqueKeys: true })
  for (const { errors, warnings } of documents) expect([...errors, ...warnings]).toEqual([])
  const all = documents.map((document) => document.toJS() as Manifest)
  return new Map(all.map((one) => [`${one.kind} ${one.metadata.name}`, one]))
}

/** The variables of a container, with what its secrets hold. */
function variablesOf({ env }: Container, secrets: Environment): Environment {
  const known: Record<string, string> = {}
  for (const { name, value, valueFrom } of env) {
    const { name: secret, key } = valueFrom?.secretKeyRef ?? {}
    known[name] =
      value?.replace(/\$\((\w+)\)/g, (_, other: string) => known[other] ?? `no ${other}`) ??
      secrets[`${secret}/${key}`] ??
      ''
  }
  return known
}

const KUBERNETES_SECRETS: Environment = {
  'glimpse/DATABASE_URL': 'postgres://db/glimpse',
  'glimpse-nats/RELAY_PASSWORD': SECRETS.GLIMPSE_RELAY_PASSWORD ?? '',
  'glimpse-nats/INSTANCE_PASSWORD': SECRETS.GLIMPSE_INSTANCE_PASSWORD ?? '',
  'glimpse-nats/BOTH_PASSWORD': SECRETS.GLIMPSE_BOTH_PASSWORD ?? '',
}

const SERVERS = [0, 1, 2].map((n) => `glimpse-nats-${n}.glimpse-nats`)

/** BUS_CA names a file of the container: here it is one that exists. */
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-nats-deployment-'))
  if (hasOpenssl)
    execFileSync(
      'sh',
      [join(root, 'deploy/nats-certificates.sh'), join(folder, 'tls'), 'nats', '127.0.0.1', ...SERVERS],
      { stdio: 'pipe' },
    )
})
afterAll(() => rm(folder, { recursive: true, force: true }))
const localCa = (environment: Environment): Environment => ({
  ...environment,
  ...(environment.BUS_CA === undefined ? {} : { BUS_CA: join(folder, 'tls/ca.pem') }),
})

function configOf(environment: Environment, role: Role): Config {
  const parsed = (role === 'relay' ? parseRelayConfig : parseConfig)(localCa(environment))
  if (!parsed.ok) throw new Error(parsed.problems.join('; '))
  return parsed.config
}

/** Copies of the configuration files, for servers on this machine. */
async function configured(name: string, replacements: readonly (readonly [string, string])[]) {
  const place = join(folder, name)
  await mkdir(place, { recursive: true })
  for (const file of ['nats.conf', 'nats-tls.conf', 'nats-cluster.conf']) {
    const text = [['/etc/nats/tls', join(folder, 'tls')] as const, ...replacements].reduce(
      (before, [from, to]) => before.replaceAll(from, to),
      await read(`deploy/${file}`),
    )
    await writeFile(join(place, file), text)
  }
  return place
}

async function start(port: number, args: readonly string[], environment: Environment): Promise<void> {
  const program = new ListeningProgram({
    command: 'nats-server',
    args: ['-a', '127.0.0.1', '-p', String(port), ...args],
    port,
    startLimitMs: 20_000,
    environment,
  })
  onTestFinished(() => program.kill())
  await program.launch()
}

describe('compose.nats.yaml', () => {
  let services: Record<string, Service>
  beforeAll(async () => {
    services = await composed()
  })
  const service = (name: string) => services[name] as Service
  const instances = ['glimpse-1', 'glimpse-2']

  it.skipIf(!hasOpenssl)('gives instances and relays variables that there are, and valid ones', () => {
    for (const name of [...instances, 'relay']) {
      const environment = { ...IMAGE, ...resolved(service(name).environment) }
      expect(VARIABLES).toEqual(expect.arrayContaining(Object.keys(environment)))
      const config = configOf(environment, name === 'relay' ? 'relay' : 'instance')
      expect(config).toMatchObject({ production: true, adminPort: 9090 })
      expect(config.bus?.servers).toMatchObject({ servers: ['nats:4222'], tls: true })
      expect(Number.parseInt(service(name).stop_grace_period ?? '0', 10) * 1000).toBeGreaterThan(
        config.drainTimeoutMs,
      )
      if (name !== 'relay') expect(config.bus?.relay).toBe(false)
    }
    expect(service('relay')).toMatchObject({
      command: ['node', 'dist/cli/main.js', 'relay'],
      scale: 2,
    })
    expect(service('relay').healthcheck?.test.join(' ')).toContain(':9090/readyz')
  })

  it('starts NATS after its certificate is made, and instances and relays after NATS', () => {
    expect(service('nats').depends_on).toEqual({
      'nats-certificates': { condition: 'service_completed_successfully' },
    })
    for (const name of [...instances, 'relay'])
      expect(service(name).depends_on).toEqual({
        migrate: { condition: 'service_completed_successfully' },
        nats: { condition: 'service_healthy' },
      })
    expect(service('nats-certificates').entrypoint).toEqual([
      ...['sh', '/nats-certificates.sh', '/etc/nats/tls', 'nats'],
    ])
    for (const name of [...instances, 'relay', 'nats', 'nats-certificates'])
      expect(service(name).volumes?.find((volume) => volume.startsWith('nats-tls:'))).toMatch(
        name === 'nats-certificates' ? /^nats-tls:\/etc\/nats\/tls$/ : /^nats-tls:\/etc\/nats\/tls:ro$/,
      )
  })

  it.skipIf(withoutNats || !hasOpenssl)(
    'is what a real nats-server takes, and gives each of its clients the rights that it needs',
    async () => {
      const { command = [], environment } = service('nats')
      const [, config = '', ...args] = command
      const [port, monitor] = await Promise.all([stablePort(), stablePort()])
      const place = await configured('compose', [])
      await start(
        port,
        [
          '-c',
          config.replace('/etc/nats', place),
          ...args.map((one) => (one === '8222' ? String(monitor) : one)),
        ],
        resolved(environment),
      )
      expect((await fetch(`http://127.0.0.1:${monitor}/healthz`)).status).toBe(200)
      await examine(port, (name) => {
        const { environment: own } = service(name)
        return resolved(own)
      })
    },
  )
})

describe('deploy/kubernetes-nats.yaml', () => {
  let all: ReadonlyMap<string, Manifest>
  let relay: Container
  let nats: Container
  const manifest = (name: string) => all.get(name) as Manifest
  beforeAll(async () => {
    all = await manifests('deploy/kubernetes-nats.yaml')
    relay = manifest('Deployment glimpse-relay').spec.template.spec.containers[0]
    nats = manifest('StatefulSet glimpse-nats').spec.template.spec.containers[0]
  })

  it.skipIf(!hasOpenssl)('gives the relays variables that there are, and valid ones', () => {
    const environment = variablesOf(relay, KUBERNETES_SECRETS)
    const { RELAY_PASSWORD: _, ...own } = environment
    expect(VARIABLES).toEqual(expect.arrayContaining(Object.keys(own)))
    const config = configOf({ ...IMAGE, ...environment }, 'relay')
    expect(config.bus?.servers).toMatchObject({
      servers: SERVERS.map((server) => `${server}:4222`),
      tls: true,
      user: 'relay',
      password: SECRETS.GLIMPSE_RELAY_PASSWORD,
    })
    expect(relay.command).toEqual(['node', 'dist/cli/main.js', 'relay'])
    expect(relay.ports).toEqual([{ name: 'admin', containerPort: config.adminPort }])
    const { terminationGracePeriodSeconds } = manifest('Deployment glimpse-relay').spec.template.spec
    expect(terminationGracePeriodSeconds * 1000).toBeGreaterThan(config.drainTimeoutMs)
  })

  it('probes what answers: of a relay its health, of NATS its monitoring', () => {
    for (const [container, port, paths] of [
      [relay, 'admin', ['/livez', '/livez', '/readyz']],
      [nats, 'monitor', ['/healthz', '/healthz', '/healthz']],
    ] as const) {
      const { startupProbe, livenessProbe, readinessProbe } = container
      const probes = [startupProbe, livenessProbe, readinessProbe].map(({ httpGet }) => httpGet)
      expect(probes).toEqual(paths.map((path) => ({ path, port })))
      expect(container.ports.map(({ name }) => name)).toContain(port)
    }
    expect(nats.args).toEqual([
      ...['-c', '/etc/nats/config/nats-cluster.conf', '-n', '$(POD_NAME)', '-m', '8222'],
    ])
  })

  it('selects the pods there are, and lets only instances and relays reach NATS', async () => {
    const labels = (component: string) => ({
      'app.kubernetes.io/name': 'glimpse',
      'app.kubernetes.io/component': component,
    })
    for (const [name, component] of [
      ['StatefulSet glimpse-nats', 'nats'],
      ['Deployment glimpse-relay', 'relay'],
    ] as const) {
      expect(manifest(name).spec.selector).toEqual({ matchLabels: labels(component) })
      expect(manifest(name).spec.template.metadata.labels).toEqual(labels(component))
      const [, short = ''] = name.split(' ')
      expect(manifest(`PodDisruptionBudget ${short}`).spec.selector).toEqual({
        matchLabels: labels(component),
      })
    }
    expect(manifest('Service glimpse-nats').spec).toMatchObject({
      clusterIP: 'None',
      selector: labels('nats'),
    })
    const policy = manifest('NetworkPolicy glimpse-nats').spec
    expect(policy.podSelector.matchLabels).toEqual(labels('nats'))
    expect(
      policy.ingress.map(({ from, ports }) => [from.map((one) => one.podSelector.matchLabels), ports]),
    ).toEqual([
      [[labels('instance'), labels('relay')], [{ port: 'client' }]],
      [[labels('nats')], [{ port: 'cluster' }]],
    ])
    // Those of the other file are the instances.
    const instances = (await manifests('deploy/kubernetes.yaml')).get('Deployment glimpse')
    expect(instances?.spec.template.metadata.labels).toEqual(labels('instance'))
  })

  it('runs as nobody special, and keeps no key of NATS where an instance or a relay could read it', async () => {
    for (const name of ['StatefulSet glimpse-nats', 'Deployment glimpse-relay']) {
      const { securityContext, containers } = manifest(name).spec.template.spec
      expect(securityContext.runAsNonRoot).toBe(true)
      expect(containers[0].securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      })
    }
    const instances = (await manifests('deploy/kubernetes.yaml')).get('Deployment glimpse') as Manifest
    for (const { spec } of [instances, manifest('Deployment glimpse-relay')]) {
      const { containers, volumes } = spec.template.spec
      expect(containers[0].volumeMounts).toEqual([
        { name: 'nats-ca', mountPath: '/etc/nats/tls', readOnly: true },
      ])
      expect(volumes).toEqual([
        {
          name: 'nats-ca',
          secret: expect.objectContaining({
            secretName: 'glimpse-nats-tls',
            items: [{ key: 'ca.pem', path: 'ca.pem' }],
          }),
        },
      ])
    }
    expect(configuredBusCa(await read('deploy/kubernetes-nats.yaml'))).toBe('/etc/nats/tls/ca.pem')
  })

  it.skipIf(withoutNats || !hasOpenssl)(
    'is what three real servers take for one cluster, with the variables that its comment gives to instances',
    async () => {
      const clients = await Promise.all(upTo(3).map(() => stablePort()))
      const routes = await Promise.all(upTo(3).map(() => stablePort()))
      const monitors = await Promise.all(upTo(3).map(() => stablePort()))
      const environment = variablesOf(nats, KUBERNETES_SECRETS)
      for (const [n, port] of clients.entries()) {
        const place = await configured(`cluster-${n}`, [
          ...SERVERS.map((server, i) => [`${server}:6222`, `127.0.0.1:${routes[i]}`] as const),
          ['0.0.0.0:6222', `127.0.0.1:${routes[n]}`],
        ])
        const args = (nats.args ?? []).map((one) =>
          one
            .replace('/etc/nats/config', place)
            .replace('$(POD_NAME)', `server-${n}`)
            .replace('8222', `${monitors[n]}`),
        )
        await start(port, args, environment)
      }
      for (const monitor of monitors)
        await expect
          .poll(
            async () => {
              const { routes: open } = (await (await fetch(`http://127.0.0.1:${monitor}/routez`)).json()) as {
                routes: { remote_name?: string; remote_id: string }[]
              }
              return new Set(open.map(({ remote_id }) => remote_id)).size
            },
            { timeout: 30_000 },
          )
          .toBe(2)
      const text = await read('deploy/kubernetes-nats.yaml')
      const commented = Object.fromEntries(
        [...text.matchAll(/^# {3}(BUS_\w+)=(.*)$/gm)].map(([, name = '', value = '']) => [
          name,
          value.replaceAll('…', SECRETS.GLIMPSE_INSTANCE_PASSWORD ?? ''),
        ]),
      )
      expect(Object.keys(commented)).toEqual(['BUS_URL', 'BUS_CA', 'BUS_RELAY'])
      const moved = (own: Environment): Environment => ({
        ...own,
        BUS_URL: SERVERS.reduce(
          (url, server, i) => url.replace(`${server}:4222`, `127.0.0.1:${clients[i]}`),
          own.BUS_URL ?? '',
        ),
      })
      await examine(0, (name) => moved(name === 'relay' ? variablesOf(relay, KUBERNETES_SECRETS) : commented))
    },
  )
})

describe('docs/deployment.md', () => {
  it.skipIf(withoutNats || !hasOpenssl)(
    'has commands that start an encrypted nats-server, with passwords that it takes',
    async () => {
      const [, commands = ''] =
        /```sh\n(for kind [\s\S]*?nats-server[\s\S]*?)```/.exec(await read('docs/deployment.md')) ?? []
      const port = await stablePort()
      const place = await configured('by-hand', [['port: 4222', `port: ${port}`]])
      const tls = join(place, 'own-tls')
      await writeFile(
        join(place, 'nats-tls.conf'),
        (await readFile(join(place, 'nats-tls.conf'), 'utf8')).replaceAll(join(folder, 'tls'), tls),
      )
      const adapted = commands
        .replace('/etc/nats/tls nats.example', `${tls} 127.0.0.1`)
        .replace('deploy/nats-certificates.sh', join(root, 'deploy/nats-certificates.sh'))
        .replace('deploy/nats-tls.conf', join(place, 'nats-tls.conf'))
      const shell = new ListeningProgram({
        command: 'sh',
        args: ['-c', `cd '${place}'\n${adapted.replace('(set -a', 'set -a').replace(/\)\s*$/, '')}`],
        port,
        startLimitMs: 20_000,
      })
      onTestFinished(() => shell.kill())
      await shell.launch()
      const passwords = Object.fromEntries(
        (await readFile(join(place, 'nats.env'), 'utf8'))
          .trim()
          .split('\n')
          .map((line) => line.split('=')),
      )
      expect(Object.keys(passwords)).toEqual([
        ...['GLIMPSE_RELAY_PASSWORD', 'GLIMPSE_INSTANCE_PASSWORD', 'GLIMPSE_BOTH_PASSWORD'],
      ])
      for (const [user, role] of [
        ['relay', 'relay'],
        ['instance', 'instance'],
        ['both', 'instance'],
      ] as const) {
        const password = passwords[`GLIMPSE_${user.toUpperCase()}_PASSWORD`]
        const config = configOf(
          {
            JWT_SECRET: SECRETS.JWT_SECRET ?? '',
            DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nowhere',
            BUS_URL: `tls://${user}:${password}@127.0.0.1:${port}`,
            BUS_RELAY: user === 'instance' ? 'off' : 'on',
          },
          role,
        )
        const trusting = {
          ...config,
          bus: config.bus && {
            ...config.bus,
            servers: { ...config.bus.servers, ca: await readFile(join(tls, 'ca.pem'), 'utf8') },
          },
        }
        const findings = await checkNats(trusting, role)
        expect(findings.map(({ check, verdict }) => `${check} ${verdict}`)).toEqual([
          ...['nats ok', 'nats rights ok', 'nats relay skipped'],
        ])
      }
    },
  )
})

const configuredBusCa = (text: string) => /^# {3}BUS_CA=(.*)$/m.exec(text)?.[1]

/** What glimpse doctor says of NATS to an instance and to a relay with these variables: no problem. */
async function examine(port: number, environmentOf: (name: string) => Environment): Promise<void> {
  const database: TestDatabase = await createDatabase()
  onTestFinished(() => database.drop())
  const roles = [
    ['glimpse-1', 'instance'],
    ['relay', 'relay'],
  ] as const
  const findings = await Promise.all(
    roles.map(async ([name, role]): Promise<readonly Finding[]> => {
      const own = environmentOf(name)
      const BUS_URL = own.BUS_URL?.replace('@nats:4222', `@127.0.0.1:${port}`) ?? ''
      const config = configOf(
        { JWT_SECRET: SECRETS.JWT_SECRET ?? '', ...own, DATABASE_URL: database.url, BUS_URL },
        role,
      )
      return checkNats(config, role)
    }),
  )
  for (const found of findings) {
    expect(found.filter(({ verdict }) => verdict === 'problem')).toEqual([])
    expect(found).toContainEqual(expect.objectContaining({ check: 'nats rights', verdict: 'ok' }))
    expect(found.filter(({ check }) => check === 'nats rights')).toHaveLength(1)
    for (const { says } of found.filter(({ check }) => check === 'nats')) expect(says).toMatch(/encrypted/)
  }
}
