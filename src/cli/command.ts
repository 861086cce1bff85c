import { parseArgs, styleText } from 'node:util'
import { nearest } from './nearest.ts'

/**
 * The exit codes of every command: done; a problem; called wrongly, before anything was asked of the service; refused by the
 * service; its 401, where another token or secret may help; the service cannot be reached, where waiting may.
 */
export const EXIT = { ok: 0, problem: 1, usage: 2, refused: 3, unauthorized: 4, unreachable: 5 } as const

export type Environment = Readonly<Record<string, string | undefined>>

/** What a command works with; only the edge, main.ts, takes it from the process. */
export interface Terminal {
  readonly environment: Environment
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
  /** Aborted by the first Ctrl-C or SIGTERM, from the first time it is asked for. */
  readonly interrupted: AbortSignal
}

export interface Command {
  readonly help: string
  /** Resolves to the exit code. Throws UsageError, or StartError or GlimpseError for a fault told in one line. */
  run(args: readonly string[], terminal: Terminal): Promise<number>
}

/** The command was called wrongly: one line, and exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** The service refused, or couldn't be reached: one line, and the exit code that says which. */
export class CallError extends Error {
  override readonly name = 'CallError'
  readonly exit: number

  constructor(exit: number, message: string, options?: ErrorOptions) {
    super(message, options)
    this.exit = exit
  }
}

export interface Option {
  readonly type: 'string' | 'boolean'
  readonly short?: string
  readonly default?: string
}

export interface Parsed {
  readonly values: Readonly<Record<string, string | boolean | undefined>>
  readonly positionals: readonly string[]
}

/** node:util's parseArgs, whose refusals become UsageErrors that name the nearest option there is. */
export function parse(args: readonly string[], options: Readonly<Record<string, Option>>): Parsed {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options,
      allowPositionals: true,
      strict: true,
    })
    return { values: values as Parsed['values'], positionals }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (!code?.startsWith('ERR_PARSE_ARGS')) throw error
    const [, unknown] = /Unknown option '--([^']+)'/.exec(message) ?? []
    const guess = unknown === undefined ? undefined : nearest(unknown, Object.keys(options))
    const said = message.split('. ')[0]
    throw new UsageError(guess === undefined ? `${said}` : `${said}; did you mean --${guess}?`, {
      cause: error,
    })
  }
}

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'

/** Colours a text where the stream is a terminal that shows colours (NO_COLOR and FORCE_COLOR are heeded). */
export function paint(stream: NodeJS.WriteStream, style: Style, text: string): string {
  // It would look at standard output instead.
  return stream.isTTY && stream.hasColors() ? styleText(style, text, { validateStream: false }) : text
}

/** What others wrote, made fit for a terminal: no control character, no escape sequence, no change of direction. */
export function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  )
}
