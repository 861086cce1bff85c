import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { parseConfig } from '../../src/config.ts'

const read = (name: string) => readFile(new URL(`../../deploy/${name}`, import.meta.url), 'utf8')

const parsed = parseConfig({})
if (!parsed.ok) throw new Error(parsed.problems.join('; '))
const { heartbeatIntervalMs, keepAliveTimeoutMs, drainTimeoutMs } = parsed.config

/** `60s` in milliseconds. */
const milliseconds = (text: string) => Number(/^(\d+)s$/.exec(text)?.[1]) * 1000

/** A proxy's idle connections must end before the service's, or a request meets one that is being closed. */
function expectSilence({ stream, idle }: { stream?: string; idle: string }): void {
  if (stream !== undefined) expect(milliseconds(stream)).toBeGreaterThan(2 * heartbeatIntervalMs)
  expect(milliseconds(idle)).toBeLessThan(keepAliveTimeoutMs)
}

describe('samples that could not be run here', () => {
  it('Traefik: streams are not timed, silence fits the service, and no log has a query', async () => {
    const { entryPoints, accessLog, providers } = parse(await read('traefik.yaml'))
    expect(entryPoints.public.transport.respondingTimeouts.writeTimeout).toBe('0s')
    expect(accessLog.fields.names).toMatchObject({ RequestPath: 'drop', RequestLine: 'drop' })
    expect(providers.file.filename).toMatch(/\/traefik-glimpse\.yaml$/)
    const { http } = parse(await read('traefik-glimpse.yaml'))
    const { healthCheck, serversTransport, passHostHeader } = http.services.glimpse.loadBalancer
    expect(healthCheck.path).toBe('/readyz')
    expect(passHostHeader).toBe(true)
    const { idleConnTimeout, responseHeaderTimeout } =
      http.serversTransports[serversTransport].forwardingTimeouts
    expectSilence({ stream: responseHeaderTimeout, idle: idleConnTimeout })
    for (const {
      service,
      middlewares = [],
      entryPoints: [entry],
    } of Object.values<{
      service: string
      middlewares?: string[]
      entryPoints: string[]
    }>(http.routers)) {
      expect(http.services[service]).toBeDefined()
      for (const name of middlewares) expect(Object.keys(http.middlewares[name])).toEqual(['retry'])
      expect(entryPoints[entry ?? '']).toBeDefined()
    }
  })

  it('Envoy: streams have no end, silence fits the service, and no log has a query', async () => {
    const { static_resources } = parse(await read('envoy.yaml'))
    const [listener] = static_resources.listeners
    const manager = listener.filter_chains[0].filters[0].typed_config
    expect(manager.upgrade_configs).toEqual([{ upgrade_type: 'websocket' }])
    expect(manager.access_log[0].typed_config.log_format.text_format_source.inline_string).not.toMatch(
      /REQ\(:PATH/,
    )
    const [streams] = manager.route_config.virtual_hosts[0].routes
    for (const path of ['/events', '/ws', '/me/stream'])
      expect(path).toMatch(new RegExp(`^${streams.match.safe_regex.regex}$`))
    expect(streams.route.timeout).toBe('0s')
    const [cluster] = static_resources.clusters
    expect(cluster.name).toBe(streams.route.cluster)
    expect(cluster.lb_policy).toBe('LEAST_REQUEST')
    expect(cluster.health_checks[0].http_health_check.path).toBe('/readyz')
    const { max_connections, max_requests } = cluster.circuit_breakers.thresholds[0]
    expect(Math.min(max_connections, max_requests)).toBeGreaterThanOrEqual(2 * parsed.config.maxConnections)
    const [options] = Object.values<{ common_http_protocol_options: { idle_timeout: string } }>(
      cluster.typed_extension_protocol_options,
    )
    expectSilence({
      stream: manager.stream_idle_timeout,
      idle: options?.common_http_protocol_options.idle_timeout ?? '',
    })
  })

  it('AWS ALB: silence fits the service, and draining its time', async () => {
    const text = await read('alb.tf')
    const setting = (name: string) => new RegExp(`^\\s*${name}\\s*= "?([^"\\s]+)"?`, 'm').exec(text)?.[1]
    expectSilence({ stream: `${setting('idle_timeout')}s`, idle: `${setting('idle_timeout')}s` })
    expect(Number(setting('deregistration_delay')) * 1000).toBeGreaterThan(drainTimeoutMs)
    expect(setting('path')).toBe('/readyz')
    expect(setting('load_balancing_algorithm_type')).toBe('least_outstanding_requests')
  })

  it.each(['traefik.yaml', 'envoy.yaml', 'alb.tf'])('%s says that it was not run', async (name) => {
    expect((await read(name)).replaceAll(/\s*#\s*/g, ' ')).toMatch(/has not been run/)
  })
})
