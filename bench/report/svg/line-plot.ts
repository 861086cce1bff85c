import type { Spread } from '../statistics.ts'
import { frame, line, round, type Tone, text } from './frame.ts'
import { linearScale, logScale, type Scale, stepScale, tickText } from './scale.ts'

export interface Series {
  readonly name: string
  readonly tone: Tone
  readonly dashed?: boolean
  readonly points: readonly { readonly x: number; readonly y: Spread }[]
}

export interface LinePlot {
  readonly title: string
  readonly subtitle: string
  readonly x: {
    readonly label: string
    readonly scale: 'linear' | 'steps'
    readonly tick?: (value: number) => string
  }
  readonly y: { readonly label: string; readonly scale: 'linear' | 'log' }
  readonly series: readonly Series[]
}

const BOX = { width: 860, height: 430 }
const AREA = { left: 84, right: 606, top: 78, bottom: 366 }
const LABEL_GAP = 17

/** Lines with a mark and a whisker from the smallest to the largest round at every level, named at their ends. */
export function linePlot({ title, subtitle, x, y, series }: LinePlot): string {
  const shown = series
    .map((one) => ({ ...one, points: one.points.filter((point) => Number.isFinite(point.y.median)) }))
    .filter(({ points }) => points.length > 0)
  const points = shown.flatMap((one) => one.points)
  const levels = [...new Set(points.map((point) => point.x))].sort((a, b) => a - b)
  const [low, high] = [Math.min(...points.map((p) => p.y.min)), Math.max(...points.map((p) => p.y.max))]
  const across = { from: AREA.left + 16, to: AREA.right - 16 }
  const up = { from: AREA.bottom, to: AREA.top }
  const xs = x.scale === 'linear' ? linearScale(Math.max(...levels), across) : stepScale(levels, across)
  const ys = y.scale === 'log' ? logScale(low, high, up) : linearScale(high, up)
  return frame(BOX, title, subtitle, [
    ...grid(xs, ys, x.tick ?? tickText),
    text((AREA.left + AREA.right) / 2, BOX.height - 20, x.label, { anchor: 'middle' }),
    text(26, (AREA.top + AREA.bottom) / 2, y.label, { anchor: 'middle', turned: true }),
    ...shown.flatMap((one) => drawn(one, xs, ys)),
    ...names(shown, xs, ys),
  ])
}

function grid(xs: Scale, ys: Scale, tick: (value: number) => string): string[] {
  return [
    ...ys.ticks.flatMap((value) => [
      line(AREA.left, ys.at(value), AREA.right, ys.at(value), 'grid'),
      text(AREA.left - 10, ys.at(value) + 4, tickText(value), { anchor: 'end' }),
    ]),
    ...xs.ticks.flatMap((value) => [
      line(xs.at(value), AREA.bottom, xs.at(value), AREA.bottom + 5, 'axis'),
      text(xs.at(value), AREA.bottom + 20, tick(value), { anchor: 'middle' }),
    ]),
    line(AREA.left, AREA.bottom, AREA.right, AREA.bottom, 'axis'),
  ]
}

function drawn({ points, tone, dashed }: Series, xs: Scale, ys: Scale): string[] {
  const path = points.map(
    ({ x, y }, i) => `${i === 0 ? 'M' : 'L'}${round(xs.at(x))} ${round(ys.at(y.median))}`,
  )
  return [
    ...points
      .filter(({ y }) => y.max > y.min)
      .map(({ x, y }) => line(xs.at(x), ys.at(y.min), xs.at(x), ys.at(y.max), 'range', tone)),
    `<path class="line${dashed ? ' dash' : ''}" style="stroke:var(--${tone})" d="${path.join('')}"/>`,
    ...points.map(
      ({ x, y }) =>
        `<circle cx="${round(xs.at(x))}" cy="${round(ys.at(y.median))}" r="3.5" style="fill:var(--${tone});stroke:var(--paper);stroke-width:1.5"/>`,
    ),
  ]
}

/** Each name beside the end of its line, moved apart where they would cover one another. */
function names(series: readonly Series[], xs: Scale, ys: Scale): string[] {
  const labels = series
    .map((one) => {
      const end = one.points.at(-1) as Series['points'][number]
      return { one, endX: xs.at(end.x), endY: ys.at(end.y.median), y: ys.at(end.y.median) }
    })
    .sort((a, b) => a.endY - b.endY)
  for (let i = 1; i < labels.length; i += 1) {
    const [above, below] = [labels[i - 1], labels[i]] as [(typeof labels)[0], (typeof labels)[0]]
    below.y = Math.max(below.y, above.y + LABEL_GAP)
  }
  const overflow = Math.max(0, (labels.at(-1)?.y ?? 0) - AREA.bottom)
  for (let i = labels.length - 1, limit = Number.POSITIVE_INFINITY; i >= 0 && overflow > 0; i -= 1) {
    const label = labels[i] as (typeof labels)[0]
    label.y = Math.min(label.y, i === labels.length - 1 ? AREA.bottom : limit - LABEL_GAP)
    limit = label.y
  }
  return labels.flatMap(({ one, endX, endY, y }) => [
    line(Math.min(endX + 6, AREA.right), endY, AREA.right + 12, y, 'range', one.tone),
    text(AREA.right + 17, y + 4, one.name, { className: 'name', tone: one.tone }),
  ])
}
