import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { compiledPath } from './build.ts'
import type { Contender } from './contenders.ts'
import { Absent, findInstalled, freePort, workFolder } from './installed.ts'
import { type Server, startDaemon, startServer } from './server.ts'

interface Ports {
  readonly http: number
  readonly control: number
  readonly pull: number
  readonly sub: number
  readonly command: number
}

/** Pushpin in front of an origin that holds every stream open on its user's channel (GRIP). */
export async function startPushpin(): Promise<Contender & { readonly controlUrl: string }> {
  const [pushpin, zurl] = await Promise.all([findInstalled('pushpin'), findInstalled('zurl')])
  if (pushpin === undefined || zurl === undefined)
    throw new Absent('Pushpin is not installed (Debian: pushpin, which brings zurl)')
  const origin = await startServer({ file: compiledPath('peers/pushpin-origin.ts') })
  const undo: (() => Promise<void>)[] = [origin.stop]
  try {
    const directory = await workFolder('pushpin')
    const ports = {
      http: await freePort(),
      control: await freePort(),
      pull: await freePort(),
      sub: await freePort(),
      command: await freePort(),
    }
    const [config, zurlConfig] = [join(directory, 'pushpin.conf'), join(directory, 'zurl.conf')]
    await writeFile(join(directory, 'routes'), `* ${new URL(origin.url).host}\n`)
    await writeFile(config, pushpinConfig(directory, ports))
    await writeFile(zurlConfig, zurlConfigOf(directory))
    const fetcher = await startDaemon({ command: [zurl, `--config=${zurlConfig}`], clean: async () => {} })
    undo.push(fetcher.stop)
    const own = await startDaemon({
      command: [pushpin, `--config=${config}`],
      port: ports.http,
      clean: () => rm(directory, { recursive: true, force: true }),
    })
    undo.push(own.stop)
    const server: Server = {
      ...own,
      stop: async () => {
        for (const stop of undo.reverse()) await stop()
      },
    }
    return { name: 'Pushpin', server, controlUrl: `http://127.0.0.1:${ports.control}` }
  } catch (error) {
    for (const stop of undo.reverse()) await stop()
    throw error
  }
}

function pushpinConfig(directory: string, ports: Ports): string {
  return `[global]
include={libdir}/internal.conf
rundir=${directory}
ipc_prefix=bench-
[runner]
services=condure,pushpin-proxy,pushpin-handler
http_port=127.0.0.1:${ports.http}
logdir=${directory}
log_level=1
client_buffer_size=8192
client_maxconn=16000
[proxy]
routesfile=${directory}/routes
sig_key=changeme
zurl_out_specs=ipc://${directory}/zurl-in
zurl_out_stream_specs=ipc://${directory}/zurl-in-stream
zurl_in_specs=ipc://${directory}/zurl-out
[handler]
push_in_spec=tcp://127.0.0.1:${ports.pull}
push_in_sub_specs=tcp://127.0.0.1:${ports.sub}
push_in_http_addr=127.0.0.1
push_in_http_port=${ports.control}
push_in_http_max_headers_size=10000
push_in_http_max_body_size=1000000
command_spec=tcp://127.0.0.1:${ports.command}
message_rate=1000000
message_hwm=1000000
`
}

/** Pushpin's own HTTP client for its origin, which Debian runs as a service of its own. */
function zurlConfigOf(directory: string): string {
  return `[General]
in_spec=ipc://${directory}/zurl-in
in_stream_spec=ipc://${directory}/zurl-in-stream
out_spec=ipc://${directory}/zurl-out
in_req_spec=ipc://${directory}/zurl-req
defpolicy=allow
max_open_requests=2000
buffer_size=200000
timeout=600
in_hwm=16000
out_hwm=16000
`
}
