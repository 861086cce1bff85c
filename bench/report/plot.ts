import type { CustomSeriesRenderItemAPI, CustomSeriesRenderItemParams as Item } from 'echarts'
import { CustomChart, LineChart } from 'echarts/charts'
import { GridComponent, LegendComponent, TitleComponent } from 'echarts/components'
import { type EChartsCoreOption, init, use } from 'echarts/core'
import { LabelLayout } from 'echarts/features'
import { SVGRenderer } from 'echarts/renderers'
import type { Spread } from './statistics.ts'
import { numberText } from './table.ts'

use([CustomChart, LineChart, GridComponent, LegendComponent, TitleComponent, LabelLayout, SVGRenderer])

/** Colours by role, in light and in dark. Glimpse is always `own`. */
const COLOURS = {
  own: ['#1f66d6', '#6aa6ff'],
  'own-2': ['#0f8f86', '#45cfc0'],
  peer: ['#d2610a', '#f39a4c'],
  'peer-2': ['#a3489c', '#d78ad2'],
  bound: ['#6b7482', '#98a3b3'],
  quiet: ['#8a929e', '#7d8898'],
  paper: ['#ffffff', '#12161d'],
  ink: ['#1b2330', '#e8ecf3'],
  soft: ['#5c6675', '#9aa5b5'],
  grid: ['#e8ebf0', '#222a35'],
} as const
export type Tone = keyof typeof COLOURS

const colour = (tone: Tone) => COLOURS[tone][0]

/** GitHub shows a file as an image, which follows the reader's scheme only by a style of its own. */
const DARK = `<style>@media(prefers-color-scheme:dark){${Object.values(COLOURS)
  .map(([light, dark]) => `[fill="${light}"]{fill:${dark}}[stroke="${light}"]{stroke:${dark}}`)
  .join('')}}</style>`

export interface Series {
  readonly name: string
  readonly tone: Tone
  readonly dashed?: boolean
  readonly points: readonly { readonly x: number; readonly y: Spread }[]
}

/** A line for each contender; those that only show what is possible are dashed. */
export function seriesOf(
  tones: Readonly<Record<string, Tone>>,
  xs: readonly number[],
  y: (name: string, x: number) => Spread,
): Series[] {
  return Object.entries(tones).map(([name, tone]) => ({
    name,
    tone,
    dashed: tone === 'bound' || tone === 'quiet',
    points: xs.map((x) => ({ x, y: y(name, x) })),
  }))
}

/** A file of its own below docs/plots, shown in the page. */
interface Titles {
  readonly file: string
  /** What a reader who does not see it should know. */
  readonly alt: string
  readonly title: string
  readonly subtitle?: string
}

export type Plot = LinePlot | BarPlot

/** The content of an SVG file. */
export const drawn = (plot: Plot) => ('bars' in plot ? barPlot(plot) : linePlot(plot))

interface LinePlot extends Titles {
  /** `steps`: each value at its own place, evenly spaced. */
  readonly x: { readonly label: string; readonly scale: 'value' | 'steps'; readonly tick?: typeof tickText }
  readonly y: { readonly label: string; readonly scale: 'value' | 'log' }
  readonly series: readonly Series[]
}

/** Lines named at their ends, with a whisker from the smallest to the largest round at each point. */
function linePlot({ x, y, series, ...titles }: LinePlot): string {
  const measured = series
    .map((one) => ({ ...one, points: one.points.filter((point) => Number.isFinite(point.y.median)) }))
    .filter(({ points }) => points.length > 0)
  const levels = [...new Set(measured.flatMap(({ points }) => points.map((point) => point.x)))]
  levels.sort((a, b) => a - b)
  const place = (value: number) => (x.scale === 'steps' ? levels.indexOf(value) : value)
  const steps = { type: 'category', data: levels.map(x.tick ?? tickText), splitLine: { show: false } }
  return render(430, titles, {
    grid: { left: 84, right: 252, top: 80, bottom: 64 },
    xAxis: { ...axis(x.label, 36), ...(x.scale === 'steps' ? steps : { type: 'value' }) },
    yAxis: { ...axis(y.label, 58), type: y.scale },
    series: measured.flatMap(({ name, tone, dashed, points }) => [
      {
        ...STILL,
        type: 'line',
        name,
        data: points.map((point) => [place(point.x), point.y.median]),
        symbol: 'circle',
        symbolSize: 7,
        color: colour(tone),
        lineStyle: { width: 2.25, type: dashed === true ? 'dashed' : 'solid' },
        endLabel: { show: true, formatter: '{a}', color: colour(tone), fontWeight: 600, lineHeight: 16 },
        labelLayout: { moveOverlap: 'shiftY' },
      },
      {
        ...STILL,
        type: 'custom',
        data: points.map((point) => [place(point.x), point.y.min, point.y.max]),
        renderItem: (_: Item, { coord, value }: CustomSeriesRenderItemAPI) =>
          whisker(coord([value(0), value(1)]), coord([value(0), value(2)]), tone),
      },
    ]),
  })
}

interface BarPlot extends Titles {
  readonly label: string
  /** Logarithmic where the largest would leave nothing to see of the others. */
  readonly scale: 'value' | 'log'
  /** A group of bars for each name. */
  readonly tones: Readonly<Record<string, Tone>>
  /** What a name's bars stand for, with its values; the first is drawn full, those after it paler. */
  readonly bars: Readonly<Record<string, (name: string) => Spread>>
  readonly digits: number
}

const THICK = 13
const PALER = [1, 0.45, 0.25]

/** A group of lying bars a name, with the median beside each and a whisker over the rounds. */
function barPlot({ label, scale, tones, bars, digits, ...titles }: BarPlot): string {
  const names = Object.keys(tones)
  const levels = Object.entries(bars)
  const colours = Object.values(tones).map(colour)
  return render(162 + names.length * (levels.length * THICK + 13), titles, {
    grid: { left: 226, right: 90, top: 96, bottom: 66 },
    legend: { left: 20, top: 62, itemGap: 44, icon: 'roundRect', textStyle: { color: colour('soft') } },
    xAxis: { ...axis(label, 34), type: scale, axisLine: { show: false } },
    yAxis: {
      ...axis('', 0),
      type: 'category',
      inverse: true,
      data: names,
      axisTick: { show: false },
      splitLine: { show: false },
      axisLabel: { fontWeight: 600, margin: 12, color: (_: string, i: number) => colours[i] },
    },
    series: levels.map(([level, spreadOf], nth) => ({
      ...STILL,
      type: 'custom',
      name: level,
      itemStyle: { color: colour('own'), opacity: PALER[nth] },
      encode: { x: 0, y: 1 },
      data: names.map((name, i) => [spreadOf(name).max, i]),
      renderItem: ({ dataIndex: i, coordSys }: Item, { coord }: CustomSeriesRenderItemAPI) => {
        const { median, min, max } = spreadOf(names[i] ?? '')
        const left = (coordSys as unknown as { readonly x: number }).x
        const y = (coord([0, i])[1] as number) + (nth - (levels.length - 1) / 2) * THICK
        // What was not measured has a dash where its bar would begin.
        const at = (value: number) => (Number.isFinite(value) ? (coord([value, i])[0] as number) : left)
        const shape = { x: left, y: y - THICK / 2 + 1, width: at(median) - left, height: THICK - 2, r: 2 }
        const text = { text: numberText(median, digits), x: at(max) + 6, y, verticalAlign: 'middle' }
        return {
          type: 'group',
          children: [
            { type: 'rect', shape, style: { fill: colours[i], opacity: PALER[nth] } },
            whisker([at(min), y], [at(max), y], 'soft'),
            { type: 'text', style: { ...text, fill: colour('ink') } },
          ],
        }
      },
    })),
  })
}

/** A file has no pointer over it: without this every mark carries a style for it. */
const STILL = { silent: true, emphasis: { disabled: true } }

function whisker([x1, y1]: number[], [x2, y2]: number[], tone: Tone) {
  return {
    type: 'line',
    shape: { x1, y1, x2, y2 },
    style: { stroke: colour(tone), lineWidth: 1.5, opacity: 0.7 },
  }
}

function axis(name: string, nameGap: number) {
  const tick = (value: number | string) => (typeof value === 'number' ? tickText(value) : value)
  return {
    name,
    nameGap,
    nameLocation: 'middle',
    nameTextStyle: { color: colour('soft') },
    axisLabel: { color: colour('soft'), formatter: tick },
    axisLine: { lineStyle: { color: colour('soft') } },
    splitLine: { lineStyle: { color: colour('grid') } },
  }
}

function render(height: number, { title: text, ...titles }: Titles, more: EChartsCoreOption): string {
  const { subtitle: subtext = 'Median, smallest and largest round' } = titles
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: 860, height })
  const textStyle = { fontSize: 16, color: colour('ink') }
  chart.setOption({
    animation: false,
    backgroundColor: colour('paper'),
    // No name that needs quotes: the library does not escape them in an attribute.
    textStyle: { fontFamily: 'system-ui, -apple-system, Roboto, Helvetica, Arial, sans-serif' },
    title: { text, subtext, left: 18, top: 14, textStyle, subtextStyle: { color: colour('soft') } },
    ...more,
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  const escaped = text.replace(/[&<>]/g, (char) => `&#${char.charCodeAt(0)};`)
  return `${svg.replace('>', () => `>\n<title>${escaped}</title>\n${DARK}`)}\n`
}

/** A tick as one reads it: `1,000`, `0.5`. */
function tickText(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 4 })
}
