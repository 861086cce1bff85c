/** Rows as psql shows them: aligned columns under their names, NULL as nothing, and the count of rows. */
export interface Column {
  readonly name: string
  /** Numbers stand to the right. */
  readonly numeric: boolean
}

export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly (string | null)[])[],
): string {
  const cells = rows.map((row) => row.map((value) => printable(value ?? '')))
  const widths = columns.map(({ name }, i) =>
    Math.max(displayWidth(name), ...cells.map((row) => displayWidth(row[i] ?? ''))),
  )
  const line = (row: readonly string[]) =>
    ` ${columns.map(({ numeric }, i) => pad(row[i] ?? '', widths[i] ?? 0, numeric)).join(' | ')}`.trimEnd()
  const rule = widths.map((width) => '-'.repeat(width + 2)).join('+')
  const count = `(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`
  return [line(columns.map(({ name }) => name)), rule, ...cells.map(line), count].join('\n')
}

function pad(text: string, width: number, right: boolean): string {
  const space = ' '.repeat(Math.max(0, width - displayWidth(text)))
  return right ? space + text : text + space
}

/** A value's line breaks would break the table, and its escape sequences could speak to the terminal. */
function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (control) => {
    if (control === '\n') return '\\n'
    return `\\x${control.codePointAt(0)?.toString(16).padStart(2, '0')}`
  })
}

const graphemes = new Intl.Segmenter('en')
const WIDE =
  /\p{Emoji_Presentation}|\uFE0F|\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}/u

/** How many places a terminal gives the text: two to an emoji or an ideograph. */
function displayWidth(text: string): number {
  let width = 0
  for (const { segment } of graphemes.segment(text)) width += WIDE.test(segment) ? 2 : 1
  return width
}
