import { access, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compiledPath } from './build.ts'
import type { Contender } from './contenders.ts'
import { type Server, startDaemon, startServer } from './server.ts'

/** A peer that is not installed here: said, and left out. */
export class Absent extends Error {}

/** Where Debian and others put it; a user's PATH often lacks the sbin folders. */
const BINARIES = ['/usr/sbin', '/usr/bin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/bin']
const NCHAN_MODULES = ['/usr/lib/nginx/modules', '/usr/share/nginx/modules', '/usr/lib64/nginx/modules']

/** nginx with Nchan: one worker process, as every contender has one process to deliver with. */
export async function startNchan(): Promise<Contender> {
  const nginx = await find('nginx', BINARIES)
  const module = await find('ngx_nchan_module.so', NCHAN_MODULES)
  if (nginx === undefined || module === undefined)
    throw new Absent('nginx with the Nchan module is not installed (Debian: nginx libnginx-mod-nchan)')
  const [directory, port] = await Promise.all([workFolder('nchan'), freePort()])
  const config = join(directory, 'nginx.conf')
  await writeFile(config, nchanConfig(module, directory, port))
  const server = await startDaemon({
    command: [nginx, '-p', directory, '-c', config, '-e', join(directory, 'error.log')],
    port,
    clean: () => rm(directory, { recursive: true, force: true }),
  })
  return { name: 'Nchan', server }
}

function nchanConfig(module: string, directory: string, port: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${directory}/${kind};`)
    .join('\n  ')
  return `load_module ${module};
${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off;
pid ${directory}/nginx.pid;
worker_processes 1;
worker_rlimit_nofile 20000;
events { worker_connections 16000; }
http {
  access_log off;
  ${temporary}
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  nchan_shared_memory_size 256M;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location = /events { nchan_subscriber eventsource; nchan_channel_id $arg_user; nchan_subscriber_first_message newest; }
    location = /ws { nchan_subscriber websocket; nchan_channel_id $arg_user; nchan_subscriber_first_message newest; }
    location = /publish { nchan_publisher; nchan_channel_id $arg_user; nchan_message_buffer_length 10; nchan_message_timeout 1m; }
  }
}
`
}

/** Pushpin in front of an origin that holds every stream open on its user's channel (GRIP). */
export async function startPushpin(): Promise<Contender & { readonly controlUrl: string }> {
  const [pushpin, zurl] = await Promise.all([find('pushpin', BINARIES), find('zurl', BINARIES)])
  if (pushpin === undefined || zurl === undefined)
    throw new Absent('Pushpin is not installed (Debian: pushpin, which brings zurl)')
  const origin = await startServer({ file: compiledPath('peers/pushpin-origin.ts') })
  const undo: (() => Promise<void>)[] = [origin.stop]
  try {
    const [directory, port, control, pull, sub, command] = await Promise.all([
      workFolder('pushpin'),
      ...Array.from({ length: 5 }, freePort),
    ])
    const config = join(directory as string, 'pushpin.conf')
    await writeFile(join(directory as string, 'routes'), `* ${new URL(origin.url).host}\n`)
    await writeFile(
      config,
      pushpinConfig(directory as string, { port, control, pull, sub, command } as Record<string, number>),
    )
    const zurlConfig = join(directory as string, 'zurl.conf')
    await writeFile(zurlConfig, zurlConfigOf(directory as string))
    const fetcher = await startDaemon({ command: [zurl, `--config=${zurlConfig}`], clean: async () => {} })
    undo.push(fetcher.stop)
    const own = await startDaemon({
      command: [pushpin, `--config=${config}`],
      port: port as number,
      clean: () => rm(directory as string, { recursive: true, force: true }),
    })
    undo.push(own.stop)
    const server: Server = {
      ...own,
      stop: async () => {
        for (const stop of undo.reverse()) await stop()
      },
    }
    return { name: 'Pushpin', server, controlUrl: `http://127.0.0.1:${control}` }
  } catch (error) {
    for (const stop of undo.reverse()) await stop()
    throw error
  }
}

function pushpinConfig(directory: string, port: Record<string, number>): string {
  return `[global]
include={libdir}/internal.conf
rundir=${directory}
ipc_prefix=bench-
[runner]
services=condure,pushpin-proxy,pushpin-handler
http_port=127.0.0.1:${port.port}
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
push_in_spec=tcp://127.0.0.1:${port.pull}
push_in_sub_specs=tcp://127.0.0.1:${port.sub}
push_in_http_addr=127.0.0.1
push_in_http_port=${port.control}
push_in_http_max_headers_size=10000
push_in_http_max_body_size=1000000
command_spec=tcp://127.0.0.1:${port.command}
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

async function find(name: string, folders: readonly string[]): Promise<string | undefined> {
  for (const folder of folders) {
    const path = join(folder, name)
    if (await exists(path)) return path
  }
  return undefined
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

async function workFolder(name: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), `glimpse-bench-${name}-`))
  await mkdir(join(directory, 'logs'))
  return directory
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
