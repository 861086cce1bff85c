import { parseArgs, styleText } from 'node:util'
import { nearest } from './nearest.ts'

/**
 * The exit codes of all commands: done; a problem; wrong usage, before any call to the service; refused by the service; a 401,
 * where another token or secret may help; service unreachable, where waiting may help.
 */
export const EXIT = { ok: 0, problem: 1, usage: 2, refused: 3, unauthorized: 4, unreachable: 5 } as const

export type Environment = Readonly<Record<string, string | undefined>>

/** What a command gets from the process, by main.ts. */
export interface Terminal {
  readonly environment: Environment
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
  /** Aborted by the first Ctrl-C or SIGTERM after its first use. */
  readonly interrupted: AbortSignal
}

export interface Command {
  readonly help: string
  /** Resolves to the exit code. Throws UsageError; StartError or GlimpseError for a problem that is reported in one line. */
  run(args: readonly string[], terminal: Terminal): Promise<number>
}

/** Wrong usage: one line, and exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** The service refused or could not be reached: one line, and the exit code for it. */
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

/** node:util's parseArgs, with UsageErrors that suggest the nearest option. */
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

/** Colours a text if the stream is a terminal with colours. Respects NO_COLOR and FORCE_COLOR. */
export function paint(stream: NodeJS.WriteStream, style: Style, text: string): string {
  // By default it would check standard output instead.
  return stream.isTTY && stream.hasColors() ? styleText(style, text, { validateStream: false }) : text
}

/** Makes foreign text safe for a terminal: removes control characters, escape sequences and changes of direction. */
export function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  )
}
