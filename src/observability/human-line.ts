import { styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

const LEVELS: Readonly<Record<string, Style>> = {
  fatal: ['bold', 'red'],
  error: 'red',
  warn: 'yellow',
  info: 'green',
  debug: 'dim',
  trace: 'dim',
}

/**
 * Formats a JSON log line for a terminal: `15:04:05 info  listening  url=http://127.0.0.1:8080`. Other programs get the
 * JSON. A line that is not a JSON object is returned unchanged.
 */
export function humanLine(json: string, colours: boolean): string {
  const paint = (style: Style, text: string) =>
    colours ? styleText(style, text, { validateStream: false }) : text
  let fields: Record<string, unknown>
  try {
    fields = JSON.parse(json)
  } catch {
    return json
  }
  // The instance is left out: a terminal shows only one.
  const { level, time, msg, err, instance: _, ...others } = fields
  const name = String(level)
  const clock = new Date(String(time)).toLocaleTimeString('en-GB')
  const details = Object.entries(others).map(([key, value]) => paint('dim', `${key}=`) + textOf(value))
  const reason = err === undefined ? [] : [paint('red', reasonOf(err))]
  const head = [paint('dim', clock), paint(LEVELS[name] ?? 'dim', name.padEnd(5)), String(msg ?? '')]
  return `${[head.join(' '), ...details, ...reason].join('  ')}\n`
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function reasonOf(error: unknown): string {
  const { message, type } = error as { readonly message?: unknown; readonly type?: unknown }
  return String(message || type || 'unknown error').split('\n')[0] ?? ''
}
