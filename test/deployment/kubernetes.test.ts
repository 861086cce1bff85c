import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { type Config, parseConfig } from '../../src/config.ts'
import { VARIABLES } from '../../src/environment.ts'
import { ADMIN_ROUTES } from '../../src/http/routes.ts'
import { createMetrics } from '../../src/observability/metrics.ts'
import { CONNECTIONS } from '../../src/postgres/database.ts'
import { parseDockerfile } from './dockerfile.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string }
}

interface Container {
  readonly image: string
  readonly command?: readonly string[]
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[]
  readonly env?: readonly { readonly name: string; readonly value: string }[]
  readonly envFrom: unknown
  readonly securityContext: unknown
  readonly startupProbe: Probe
  readonly livenessProbe: Probe
  readonly readinessProbe: Probe
  readonly lifecycle: { readonly preStop: { readonly exec: { readonly command: readonly string[] } } }
}

interface Pod {
  readonly metadata: { readonly labels: Readonly<Record<string, string>> }
  readonly spec: {
    readonly terminationGracePeriodSeconds: number
    readonly securityContext: { readonly runAsNonRoot: boolean; readonly runAsUser: number }
    readonly initContainers?: readonly Container[]
    readonly topologySpreadConstraints?: readonly { readonly topologyKey: string }[]
    readonly containers: readonly [Container]
  }
}

interface Manifest {
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly spec: {
    readonly template: Pod
    readonly selector: unknown
    readonly strategy: { readonly rollingUpdate: { readonly maxSurge: number } }
    readonly maxReplicas: number
    readonly metrics: readonly {
      readonly type: string
      readonly pods?: {
        readonly metric: { readonly name: string }
        readonly target: { readonly averageValue: string }
      }
    }[]
    readonly scaleTargetRef: { readonly kind: string; readonly name: string }
    readonly ports: readonly { readonly targetPort: string }[]
  }
}

let manifests: ReadonlyMap<string, Manifest>
let image: ReadonlyMap<string, string>
let deployed: Container
let config: Config
beforeAll(async () => {
  const documents = parseAllDocuments(await readFile(join(root, 'deploy/kubernetes.yaml'), 'utf8'), {
    strict: true,
    uniqueKeys: true,
  })
  for (const { errors, warnings } of documents) expect([...errors, ...warnings]).toEqual([])
  manifests = new Map(documents.map((document) => [document.toJS().kind, document.toJS()]))
  image = new Map(
    parseDockerfile(await readFile(join(root, 'Dockerfile'), 'utf8'))
      .flatMap(({ name, rest }) =>
        name === 'ENV' ? rest.split(' ').map((text) => text.split('=')) : [[name, rest]],
      )
      .map(([name = '', value = '']) => [name, value]),
  )
  deployed = pod('Deployment').spec.containers[0]
  const parsed = parseConfig({
    ...Object.fromEntries(image),
    DATABASE_URL: 'postgres://db/glimpse',
    JWT_SECRET: 'x'.repeat(32),
    ...Object.fromEntries((deployed.env ?? []).map(({ name, value }) => [name, value])),
  })
  if (!parsed.ok) throw new Error(parsed.problems.join('; '))
  config = parsed.config
})

const manifest = (kind: string): Manifest => {
  const found = manifests.get(kind)
  if (found === undefined) throw new Error(`no ${kind}`)
  return found
}
const pod = (kind: string) => manifest(kind).spec.template

describe('the Kubernetes manifests', () => {
  it('probe routes that there are: liveness what lives, readiness what is ready', () => {
    const { startupProbe, livenessProbe, readinessProbe } = deployed
    expect(livenessProbe.httpGet.path).toBe('/livez')
    expect(readinessProbe.httpGet.path).toBe('/readyz')
    const paths = ADMIN_ROUTES.map(([, path]) => path)
    for (const { httpGet } of [startupProbe, livenessProbe, readinessProbe]) {
      expect(paths).toContain(httpGet.path)
      expect(httpGet.port).toBe('admin')
    }
    expect(deployed.ports).toEqual([
      { name: 'http', containerPort: config.port },
      { name: 'admin', containerPort: config.adminPort },
    ])
    expect(manifest('Service').spec.ports.map(({ targetPort }) => targetPort)).toEqual(['http'])
  })

  it('give a pod the time to drain, after the proxies have heard that it goes', () => {
    const [command, seconds] = deployed.lifecycle.preStop.exec.command
    expect(command).toBe('sleep')
    expect(pod('Deployment').spec.terminationGracePeriodSeconds * 1000).toBeGreaterThan(
      Number(seconds) * 1000 + config.drainTimeoutMs,
    )
  })

  it('set only variables there are', async () => {
    for (const { name } of deployed.env ?? []) expect(VARIABLES).toContain(name)
    expect(config).toMatchObject({ production: true, migrate: false, maxConnections: 20_000, trustProxy: 1 })
  })

  it('run what the image has as its user, who is not root', () => {
    for (const kind of ['Job', 'Deployment']) {
      const { securityContext, containers } = pod(kind).spec
      expect(securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: Number(image.get('USER')) })
      expect(containers[0].envFrom).toEqual([{ secretRef: { name: 'glimpse' } }])
      expect(containers[0].image).toBe(deployed.image)
    }
    expect(pod('Job').spec.containers[0].command).toEqual(['node', 'dist/cli/main.js', 'migrate'])
  })

  it('start no instance before the job has brought the schema up to date', () => {
    const { initContainers = [], containers } = pod('Deployment').spec
    expect(initContainers.map(({ command, image, envFrom }) => ({ command, image, envFrom }))).toEqual([
      {
        command: ['node', 'dist/cli/main.js', 'migrate', '--wait'],
        image: deployed.image,
        envFrom: containers[0].envFrom,
      },
    ])
    expect(pod('Job').spec.initContainers).toBeUndefined()
  })

  it('count the connections that all pods may open to Postgres, one of a rollout and the job among them', async () => {
    const each = Object.values(CONNECTIONS).reduce((sum, count) => sum + count, 0)
    const { maxReplicas } = manifest('HorizontalPodAutoscaler').spec
    const { maxSurge } = manifest('Deployment').spec.strategy.rollingUpdate
    const text = (await readFile(join(root, 'deploy/kubernetes.yaml'), 'utf8')).replaceAll(/\n# */g, ' ')
    const [, allowed] = /max_connections = (\d+) or more/.exec(text) ?? []
    const needed = each * (maxReplicas + maxSurge) + 2
    expect(Number(allowed)).toBeGreaterThanOrEqual(needed + 3)
    expect(Number(allowed)).toBeLessThan(needed + each)
    expect(text).toContain(`${each} for each of the ${maxReplicas} pods`)
  })

  it('scale on a metric there is, before a pod is full', () => {
    const metrics = manifest('HorizontalPodAutoscaler').spec.metrics
    const { pods } = metrics.find(({ type }) => type === 'Pods') ?? {}
    const names = createMetrics()
      .registry.getMetricsAsArray()
      .map(({ name }) => name)
    expect(names).toContain(pods?.metric.name)
    // With two pods, one must be able to take the other's streams for a while.
    expect(Number(pods?.target.averageValue)).toBeLessThan(config.maxConnections * 0.7)
  })

  it('write nowhere, drop every capability, and spread the pods', () => {
    for (const kind of ['Job', 'Deployment']) {
      const { containers, initContainers = [] } = pod(kind).spec
      for (const { securityContext } of [...containers, ...initContainers])
        expect(securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        })
    }
    expect(pod('Deployment').spec.topologySpreadConstraints?.map(({ topologyKey }) => topologyKey)).toEqual([
      'kubernetes.io/hostname',
    ])
  })

  it('select the pods there are, and scale the deployment', () => {
    const { labels } = pod('Deployment').metadata
    expect(manifest('Deployment').spec.selector).toEqual({ matchLabels: labels })
    expect(manifest('PodDisruptionBudget').spec.selector).toEqual({ matchLabels: labels })
    expect(manifest('Service').spec.selector).toEqual(labels)
    expect(pod('Job').metadata.labels).not.toEqual(labels)
    const { kind, name } = manifest('HorizontalPodAutoscaler').spec.scaleTargetRef
    expect(manifest(kind).metadata.name).toBe(name)
  })
})
