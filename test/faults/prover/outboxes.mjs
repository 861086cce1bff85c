/**
 * Preloaded into an instance (`node --import`): at each SIGUSR2 it says, on one line, what lies unsent in the sockets of
 * its clients. The service has no such switch, so what is measured is what ships.
 */
import { Socket } from 'node:net'

const PORT = Number(process.env.PORT)
const BOUND = Number(process.env.OUTBOX_MAX_BYTES)

process.on('SIGUSR2', () => {
  const unsent = process
    ._getActiveHandles()
    .filter((handle) => handle instanceof Socket && handle.localPort === PORT)
    .map((socket) => socket.writableLength)
  const findings = {
    most: Math.max(0, ...unsent),
    all: unsent.reduce((sum, bytes) => sum + bytes, 0),
    full: unsent.filter((bytes) => bytes > BOUND).length,
    rss: process.memoryUsage.rss(),
  }
  // Past the console, whose lines the service turns into lines of its log.
  process.stdout.write(`findings ${JSON.stringify(findings)}\n`)
})
