import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Contender } from './contenders.ts'
import { Absent, findInstalled, freePort, workFolder } from './installed.ts'
import { startDaemon } from './server.ts'

const MODULES = ['/usr/lib/nginx/modules', '/usr/share/nginx/modules', '/usr/lib64/nginx/modules']

/** nginx with Nchan: one worker process, as every contender has one process to deliver with. */
export async function startNchan(): Promise<Contender> {
  const nginx = await findInstalled('nginx')
  const module = await findInstalled('ngx_nchan_module.so', MODULES)
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
