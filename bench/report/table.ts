import type { Row } from './results.ts'
import type { Spread } from './statistics.ts'

export interface Table {
  /** Absent where a section has but one. */
  readonly title?: string | undefined
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** A title, and the cell below it for one of the things that the table is about. */
export type Column<T = Row> = readonly [title: string, cell: (about: T) => string]

/** A row for each thing. */
export function tableOf<T>(things: readonly T[], columns: readonly Column<T>[], title?: string): Table {
  return {
    title,
    columns: columns.map(([column]) => column),
    rows: things.map((thing) => columns.map(([, cell]) => cell(thing))),
  }
}

const columnsOf = (figures: Readonly<Record<string, string>>, cell: (row: Row, figure: string) => string) =>
  Object.entries(figures).map(([title, figure]): Column => [title, (row) => cell(row, figure)])

/** A generator this busy is taken for the limit. */
const SATURATED = 0.9

/** Columns about one contender at one level. */
export const column = {
  name: (title = 'contender'): Column => [title, ({ name }) => name],
  level: (title: string): Column => [title, ({ level }) => numberText(level)],
  /** Titles → figures, each with so many digits after the point: the spread of the rounds. */
  spreads: (digits: number, figures: Readonly<Record<string, string>>) =>
    columnsOf(figures, (row, figure) => spreadText(row.spread(figure), digits)),
  /** As `spreads`, but only the median. */
  medians: (digits: number, figures: Readonly<Record<string, string>>) =>
    columnsOf(figures, (row, figure) => numberText(row.median(figure), digits)),
  /** How many times the figure of another contender, where `base` names one for a row. */
  times: (title: string, figure: string, base: (name: string) => string | undefined): Column => [
    title,
    (row) => {
      const other = base(row.name)
      return other === undefined || other === row.name ? '' : timesText(row.over(other, figure))
    },
  ],
  /** Cores of a load generator, marked where it was itself the limit. */
  cores: (title: string): Column => {
    const saturated = (row: Row) => row.median('clientCores') >= SATURATED
    return [title, (row) => numberText(row.median('clientCores'), 2, saturated(row) ? '*' : '')]
  },
}

/** Text to the left, figures to the right. */
export function toMarkdown({ title, columns, rows }: Table): string {
  const widths = columns.map((name, i) => Math.max(3, name.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const padded = (cell: string, i: number) =>
    i === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[i] ?? 0)
  const line = (cells: readonly string[]) => `| ${cells.map(padded).join(' | ')} |`
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  const heading = title === undefined ? [] : [`### ${title}`, '']
  return [...heading, ...[columns, rule, ...rows].map(line)].join('\n')
}

/** `1,234 (1,100–1,300)`; `digits` after the point. A dash where nothing was measured. */
export function spreadText({ median, min, max }: Spread, digits = 0, unit = ''): string {
  const [low, high] = [min, max].map((value) => numberText(value, digits))
  return `${numberText(median, digits, unit)}${low === high ? '' : ` (${low}–${high})`}`
}

/** How many times: `8.1× (7.2–9.0)`. */
export function timesText(ratio: Spread): string {
  return spreadText(ratio, 2, '×')
}

/** `1,234 ms`; a dash where there is no number. */
export function numberText(value: number, digits = 0, unit = ''): string {
  if (!Number.isFinite(value)) return '–'
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits }
  return `${value.toLocaleString('en-US', options)}${unit}`
}
