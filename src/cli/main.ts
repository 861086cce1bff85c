#!/usr/bin/env node
import { loadDotenv, takeEnvironment } from '../dotenv.ts'
import { EXIT, type Terminal } from './command.ts'
import { runProgram } from './program.ts'

/** The edge of the command line: it owns the environment, the terminal, signals and the exit code. */

let interruption: AbortController | undefined
let environment: NodeJS.ProcessEnv | undefined
const terminal: Terminal = {
  /** The environment with the variables of .env. */
  get environment() {
    if (environment === undefined) {
      loadDotenv()
      environment = takeEnvironment(process.env)
    }
    return environment
  },
  stdout: process.stdout,
  stderr: process.stderr,
  get interrupted() {
    if (interruption === undefined) {
      const controller = new AbortController()
      interruption = controller
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort())
    }
    return interruption.signal
  },
}
// `glimpse tail alice | head` closes our output early: that is no error.
process.stdout.on('error', () => process.exit(EXIT.ok))
process.exitCode = await runProgram(process.argv.slice(2), terminal)
