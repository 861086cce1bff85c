/** Colours by role; a series names one of the tones. Glimpse is always the first. */
export type Tone = 'own' | 'own-2' | 'peer' | 'peer-2' | 'bound' | 'quiet'

const LIGHT = `--paper:#ffffff;--edge:#d8dce3;--ink:#1b2330;--soft:#5c6675;--grid:#e8ebf0;--own:#1f66d6;--own-2:#0f8f86;--peer:#d2610a;--peer-2:#a3489c;--bound:#6b7482;--quiet:#a9b0bb`
const DARK = `--paper:#12161d;--edge:#2c3440;--ink:#e8ecf3;--soft:#9aa5b5;--grid:#222a35;--own:#6aa6ff;--own-2:#45cfc0;--peer:#f39a4c;--peer-2:#d78ad2;--bound:#98a3b3;--quiet:#566171`

/** Lives in the file, so that it follows the reader's scheme wherever the file is shown as an image. */
const STYLE = `:root{${LIGHT}}@media (prefers-color-scheme:dark){:root{${DARK}}}
text{font-family:ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-size:12px;fill:var(--soft);font-variant-numeric:tabular-nums}
.title{font-size:16px;font-weight:600;fill:var(--ink)}.name{font-weight:600}.value{fill:var(--ink)}
.paper{fill:var(--paper);stroke:var(--edge)}.grid{stroke:var(--grid);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1}
.line{fill:none;stroke-width:2.25;stroke-linejoin:round;stroke-linecap:round}.range{stroke-width:1.25;opacity:.6}.dash{stroke-dasharray:5 5}`

export interface Box {
  readonly width: number
  readonly height: number
}

/** A whole SVG file with a title, a line under it, and a background of its own in light and in dark. */
export function frame(
  { width, height }: Box,
  title: string,
  subtitle: string,
  content: readonly string[],
): string {
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(title)}">`,
    `<title>${escaped(title)}</title>`,
    `<style>${STYLE}</style>`,
    `<rect class="paper" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="10"/>`,
    `<text class="title" x="24" y="32">${escaped(title)}</text>`,
    `<text x="24" y="52">${escaped(subtitle)}</text>`,
    ...content,
    '</svg>',
  ].join('\n')}\n`
}

interface TextOptions {
  readonly anchor?: 'start' | 'middle' | 'end'
  readonly className?: string
  readonly tone?: Tone
  readonly turned?: boolean
}

export function text(
  x: number,
  y: number,
  words: string,
  { anchor, className, tone, turned }: TextOptions = {},
): string {
  const attributes = [
    `x="${round(x)}" y="${round(y)}"`,
    anchor === undefined ? '' : `text-anchor="${anchor}"`,
    className === undefined ? '' : `class="${className}"`,
    tone === undefined ? '' : `style="fill:var(--${tone})"`,
    turned ? `transform="rotate(-90 ${round(x)} ${round(y)})"` : '',
  ]
  return `<text ${attributes.filter(Boolean).join(' ')}>${escaped(words)}</text>`
}

export function line(x1: number, y1: number, x2: number, y2: number, className: string, tone?: Tone): string {
  const style = tone === undefined ? '' : ` style="stroke:var(--${tone})"`
  return `<line class="${className}" x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}"${style}/>`
}

/** A tenth of a pixel is finer than anybody sees, and keeps a re-made plot's difference small. */
export function round(value: number): number {
  return Math.round(value * 10) / 10
}

export function escaped(words: string): string {
  return words.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`)
}
