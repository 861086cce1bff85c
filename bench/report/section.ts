import { type Table, toMarkdown, toText } from './table.ts'

/** A plot as a file of its own, shown in the page. */
export interface Figure {
  /** Below docs/plots, for instance `writes.svg`. */
  readonly file: string
  /** What a reader who does not see it should know. */
  readonly alt: string
  readonly svg: string
}

/** One part of the page: what was measured, how, and what it gave. */
export interface Section {
  readonly title: string
  /** What was compared and what to bear in mind; paragraphs. */
  readonly note: string
  readonly figures: readonly Figure[]
  readonly tables: readonly Table[]
  /** What went wrong and who was not there, a line each. */
  readonly remarks: readonly string[]
}

export function sectionText({ title, tables, remarks }: Section): string {
  return [`\n${title}`, ...tables.map(toText), ...remarks.map((remark) => `! ${remark}`)].join('\n')
}

export function sectionMarkdown({ title, note, figures, tables, remarks }: Section): string {
  return [
    `## ${title}`,
    note,
    ...figures.map(({ file, alt }) => `![${alt}](plots/${file})`),
    ...tables.map(toMarkdown),
    ...(remarks.length === 0 ? [] : [remarks.map((remark) => `- ${remark}`).join('\n')]),
  ].join('\n\n')
}
