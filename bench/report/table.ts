import type { Spread } from '../harness/rounds.ts'

export interface Table {
  readonly title: string
  /** What was compared and what to bear in mind; one paragraph. */
  readonly note: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
  /** What went wrong, one line each; a run with any of these exits 1. */
  readonly faults: readonly string[]
}

export function toText(table: Table): string {
  const widths = columnWidths(table)
  const line = (cells: readonly string[]) => cells.map((cell, i) => pad(cell, widths[i] ?? 0, i)).join('  ')
  return [
    `\n${table.title}`,
    line(table.columns),
    widths.map((width) => '-'.repeat(width)).join('  '),
    ...table.rows.map(line),
    ...table.faults.map((fault) => `FAULT ${fault}`),
  ].join('\n')
}

export function toMarkdown(table: Table): string {
  const widths = columnWidths(table)
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => pad(cell, widths[i] ?? 0, i)).join(' | ')} |`
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  return [
    `## ${table.title}`,
    '',
    table.note,
    '',
    line(table.columns),
    `| ${rule.join(' | ')} |`,
    ...table.rows.map(line),
    '',
    ...table.faults.map((fault) => `- **Fault:** ${fault}`),
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
export function spreadText(values: Spread, digits = 0): string {
  if (Number.isNaN(values.median)) return '–'
  const { median, min, max } = values
  if (min === max) return numberText(median, digits)
  return `${numberText(median, digits)} (${numberText(min, digits)}–${numberText(max, digits)})`
}

export function numberText(value: number, digits = 0): string {
  if (!Number.isFinite(value)) return '–'
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
