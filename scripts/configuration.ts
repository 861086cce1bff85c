import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { replaceBetween } from '../bench/report/markers.ts'
import { Environment } from '../src/environment.ts'
import { type About, GROUPS } from './variables.ts'

/**
 * `npm run configuration` writes the tables of docs/configuration.md and .env.example. Allowed values and defaults come from
 * src/environment.ts, so they cannot differ from what the service does; scripts/variables.ts has the text.
 */

const ROOT = new URL('..', import.meta.url)
const WIDTH = 120

/** Every variable that has a rule refuses one of them, and says what it must be. A list refuses only the second. */
const WRONG = ['*\u0000', ',,']

type Variable = readonly [name: string, about: About]

/** The variable's own message about a wrong value, such as `a whole number from 0 to 65535`. */
function valuesOf([name, { values }]: Variable): string {
  const field =
    name in Environment.shape ? Environment.shape[name as keyof typeof Environment.shape] : undefined
  const [rule] = WRONG.flatMap((text) => field?.safeParse(text).error?.issues[0]?.message ?? [])
  if ((rule === undefined) === (values === undefined))
    throw new Error(
      `${name}: the allowed values must be in src/environment.ts or in scripts/variables.ts, not both`,
    )
  return (
    rule?.replace(/^must be /, '').replace(/^a whole number from (\d+) to (\d+)$/, '$1 to $2') ?? values ?? ''
  )
}

/** The default as one would write it; undefined where the variable has no fixed one. */
function fixedDefault(name: string): string | undefined {
  const value = Environment.parse({})[name as keyof typeof Environment.shape]
  return value === undefined || Array.isArray(value) ? undefined : String(value)
}

function defaultOf([name, { fallback }]: Variable): string {
  const fixed = fixedDefault(name)
  if ((fixed === undefined) === (fallback === undefined))
    throw new Error(`${name}: the default must be in src/environment.ts or in scripts/variables.ts, not both`)
  return fixed === undefined ? (fallback ?? '') : `\`${fixed}\``
}

/** The tables of docs/configuration.md, one for each group. */
export function tables(): string {
  return GROUPS.map(({ title, variables }) => {
    const rows = Object.entries(variables).map((variable) =>
      [`\`${variable[0]}\``, valuesOf(variable), defaultOf(variable), variable[1].about].join(' | '),
    )
    return `### ${title}\n\n| variable | allowed values | default | what it sets |\n| --- | --- | --- | --- |\n${rows.map((row) => `| ${row} |\n`).join('')}`
  }).join('\n')
}

/** .env.example: every variable with its default, or commented out with an example if it has no fixed one. */
export function example(): string {
  const groups = GROUPS.map(({ title, variables }) => {
    const lines = Object.entries(variables).map((variable) => {
      const [name, { about, example: sample }] = variable
      const fixed = fixedDefault(name)
      const notes = [
        about.replace(/^[a-z]/, (letter) => letter.toUpperCase()),
        `Allowed: ${valuesOf(variable)}`,
      ]
      if (fixed === undefined) notes.push(`Default: ${defaultOf(variable)}`)
      return `${notes.map(comment).join('\n')}\n${fixed === undefined ? `#${name}=${sample}` : `${name}=${fixed}`}\n`
    })
    return `# --- ${title} ---\n\n${lines.join('\n')}`
  })
  return `# Copy to .env and change what you need. Every value is the default, unless it is commented out.
# Made by \`npm run configuration\`; docs/configuration.md has the same with links.

${groups.join('\n')}`
}

/** Markdown as lines of a comment, without what is only a link. */
function comment(markdown: string): string {
  const text = markdown
    .replace(/(?: \(\[[^\]]*\]\([^)]*\)\)|\. \[[^\]]*\]\([^)]*\))$/, '')
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll('`', '')
  const lines = ['#']
  for (const word of text.split(' ')) {
    const longer = `${lines.at(-1)} ${word}`
    if (longer.length > WIDTH) lines.push(`# ${word}`)
    else lines[lines.length - 1] = longer
  }
  return lines.join('\n')
}

/** Both files, by their path, as they should be. */
export async function generated(): Promise<Record<string, string>> {
  const page = await readFile(new URL('docs/configuration.md', ROOT), 'utf8')
  return {
    'docs/configuration.md': replaceBetween(page, 'variables', tables()),
    '.env.example': example(),
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const [path, text] of Object.entries(await generated())) await writeFile(new URL(path, ROOT), text)
