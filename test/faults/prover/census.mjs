/**
 * Preloaded into an instance (`node --import`): at each SIGUSR2 it collects garbage and says, on one line, what is left.
 * The service has no such switch, and V8 and the kernel are asked, not the service.
 */
import { readdirSync } from 'node:fs'
import { Server, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { queryObjects, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const PORT = Number(process.env.PORT)

const timer = setTimeout(() => {})
const Timeout = timer.constructor
clearTimeout(timer)

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc')

process.on('SIGUSR2', async () => {
  const main = pathToFileURL(process.argv[1])
  const { Connection } = await import(new URL('hub/connection.js', main))
  const { Subscriber } = await import(new URL('hub/subscriber.js', main))
  for (let round = 0; round < 3; round++) {
    collect()
    // What finalizers and closed handles let go, the next round takes.
    await sleep(50)
  }
  const { heapUsed, external, rss } = process.memoryUsage()
  const handles = process._getActiveHandles()
  const sockets = handles.filter((handle) => handle instanceof Socket && handle.remotePort)
  const ofClients = sockets.filter(({ localPort }) => localPort === PORT).length
  // The pools open and close theirs as they need; each has a descriptor.
  const ofDatabase = sockets.length - ofClients
  const emitters = [process, ...handles.filter((handle) => handle instanceof Server)]
  const count = (kind) => queryObjects(kind, { format: 'count' })
  const findings = {
    bytes: heapUsed + external,
    rss,
    timerObjects: count(Timeout),
    exact: {
      sockets: ofClients,
      descriptors: readdirSync('/proc/self/fd').length - ofDatabase,
      connections: count(Connection),
      users: count(Subscriber),
      listeners: emitters.reduce((sum, emitter) => sum + countListeners(emitter), 0),
    },
  }
  // Past the console, whose lines the service turns into lines of its log.
  process.stdout.write(`findings ${JSON.stringify(findings)}\n`)
})

function countListeners(emitter) {
  return emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0)
}
