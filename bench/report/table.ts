import type { Spread } from './statistics.ts'

export interface Table {
  /** Absent where a section has but one. */
  readonly title?: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

export function toText(table: Table): string {
  const widths = columnWidths(table)
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => pad(cell, widths[i] ?? 0, i))
      .join('  ')
      .trimEnd()
  return [
    '',
    ...(table.title === undefined ? [] : [table.title]),
    line(table.columns),
    widths.map((width) => '-'.repeat(width)).join('  '),
    ...table.rows.map(line),
  ].join('\n')
}

export function toMarkdown(table: Table): string {
  const widths = columnWidths(table)
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => pad(cell, widths[i] ?? 0, i)).join(' | ')} |`
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  return [
    ...(table.title === undefined ? [] : [`### ${table.title}`, '']),
    line(table.columns),
    `| ${rule.join(' | ')} |`,
    ...table.rows.map(line),
  ].join('\n')
}

/** Text to the left, figures to the right. */
function pad(cell: string, width: number, column: number): string {
  return column === 0 ? cell.padEnd(width) : cell.padStart(width)
}

function columnWidths(table: Table): number[] {
  return table.columns.map((name, i) =>
    Math.max(3, name.length, ...table.rows.map((row) => row[i]?.length ?? 0)),
  )
}

/** `1,234 (1,100–1,300)`; `digits` after the point. A dash where nothing was measured. */
export function spreadText({ median, min, max }: Spread, digits = 0, unit = ''): string {
  if (Number.isNaN(median)) return '–'
  const [middle, low, high] = [median, min, max].map((value) => numberText(value, digits))
  return low === high ? `${middle}${unit}` : `${middle}${unit} (${low}–${high})`
}

/** How many times: `8.1× (7.2–9.0)`. */
export function timesText(ratio: Spread): string {
  return spreadText(ratio, 2, '×')
}

export function numberText(value: number, digits = 0): string {
  if (!Number.isFinite(value)) return '–'
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
