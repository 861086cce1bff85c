import type { Spread } from '../statistics.ts'
import { numberText } from '../table.ts'
import { frame, line, round, type Tone, text } from './frame.ts'
import { linearScale, logScale, tickText } from './scale.ts'

export interface Bar {
  readonly name: string
  readonly tone: Tone
  /** One a level, in the order of `levels`. */
  readonly values: readonly Spread[]
}

export interface BarPlot {
  readonly title: string
  readonly subtitle: string
  readonly label: string
  /** Logarithmic where the largest would leave nothing to see of the others. */
  readonly scale?: 'linear' | 'log'
  /** What each bar of a name stands for; the first is drawn full, those after it paler. */
  readonly levels: readonly string[]
  readonly bars: readonly Bar[]
  readonly digits?: number
}

const WIDTH = 860
const AREA = { left: 226, right: 770, top: 96 }
const BAR = 13
const GAP = 13
const PALER = [1, 0.45, 0.25]

/** Bars that lie, a group a name, with a whisker from the smallest to the largest round and the median beside it. */
export function barPlot({ title, subtitle, label, scale, levels, bars, digits = 0 }: BarPlot): string {
  const group = levels.length * BAR + GAP
  const bottom = AREA.top + bars.length * group
  const across = { from: AREA.left, to: AREA.right }
  const measured = bars.flatMap(({ values }) => values).filter(({ median }) => Number.isFinite(median))
  const [low, high] = [
    Math.min(...measured.map(({ min }) => min)),
    Math.max(...measured.map(({ max }) => max)),
  ]
  const xs = scale === 'log' ? logScale(low, high, across) : linearScale(high, across)
  return frame({ width: WIDTH, height: bottom + 60 }, title, subtitle, [
    ...legend(levels),
    ...xs.ticks.flatMap((value) => [
      line(xs.at(value), AREA.top - 8, xs.at(value), bottom, 'grid'),
      text(xs.at(value), bottom + 18, tickText(value), { anchor: 'middle' }),
    ]),
    text((AREA.left + AREA.right) / 2, bottom + 42, label, { anchor: 'middle' }),
    ...bars.flatMap(({ name, tone, values }, i) => {
      const top = AREA.top + i * group
      const middle = top + (levels.length * BAR) / 2
      return [
        text(AREA.left - 12, middle + 4, name, { anchor: 'end', className: 'name', tone }),
        ...values.flatMap((value, j) => drawn(value, top + j * BAR, PALER[j] ?? 0.2, tone, xs.at, digits)),
      ]
    }),
    line(AREA.left, AREA.top - 8, AREA.left, bottom, 'axis'),
  ])
}

function drawn(
  { median, min, max }: Spread,
  y: number,
  opacity: number,
  tone: Tone,
  at: (value: number) => number,
  digits: number,
): string[] {
  const middle = y + BAR / 2
  if (!Number.isFinite(median)) return [text(AREA.left + 6, middle + 4, '–')]
  return [
    `<rect x="${AREA.left}" y="${round(y + 1)}" width="${round(at(median) - AREA.left)}" height="${BAR - 2}" rx="2" style="fill:var(--${tone});opacity:${opacity}"/>`,
    ...(max > min ? [line(at(min), middle, at(max), middle, 'range', 'quiet')] : []),
    text(Math.max(at(median), at(max)) + 6, middle + 4, numberText(median, digits), { className: 'value' }),
  ]
}

function legend(levels: readonly string[]): string[] {
  if (levels.length < 2) return []
  return levels.flatMap((name, i) => [
    `<rect x="${24 + i * 190}" y="64" width="18" height="10" rx="2" style="fill:var(--own);opacity:${PALER[i] ?? 0.2}"/>`,
    text(48 + i * 190, 73, name),
  ])
}
