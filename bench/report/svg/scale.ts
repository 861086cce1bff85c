/** Values → pixels along one axis, with the ticks that belong on it. */
export interface Scale {
  readonly ticks: readonly number[]
  at(value: number): number
}

export interface Span {
  readonly from: number
  readonly to: number
}

/** From zero to a round number at or above the largest value. */
export function linearScale(largest: number, pixels: Span, wanted = 5): Scale {
  const step = roundStep(largest / wanted)
  const top = Math.max(step, Math.ceil(largest / step - 1e-9) * step)
  const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, i) => i * step)
  return { ticks, at: (value) => pixels.from + (value / top) * (pixels.to - pixels.from) }
}

/** Logarithmic between the smallest and the largest value, which must be above zero; ticks at 1, 2 and 5, or at powers of ten where those would crowd. */
export function logScale(smallest: number, largest: number, pixels: Span): Scale {
  const fine = logStops(smallest, largest, [1, 2, 5])
  const stops = fine.length > MOST_STOPS ? logStops(smallest, largest, [1]) : fine
  const [low, high] = [Math.log(stops[0] as number), Math.log(stops.at(-1) as number)]
  return {
    ticks: stops,
    at: (value) => pixels.from + ((Math.log(value) - low) / (high - low)) * (pixels.to - pixels.from),
  }
}

/** Each value at its own place, evenly spaced: levels and percentiles that no scale would spread well. */
export function stepScale(values: readonly number[], pixels: Span): Scale {
  const step = values.length > 1 ? (pixels.to - pixels.from) / (values.length - 1) : 0
  return { ticks: values, at: (value) => pixels.from + values.indexOf(value) * step }
}

const MOST_STOPS = 9

function logStops(smallest: number, largest: number, digits: readonly number[]): number[] {
  const all: number[] = []
  for (
    let exponent = Math.floor(Math.log10(smallest)) - 1;
    exponent <= Math.ceil(Math.log10(largest));
    exponent += 1
  )
    for (const digit of digits) all.push(Number(`${digit}e${exponent}`))
  const first = all.findLastIndex((stop) => stop <= smallest)
  const last = all.findIndex((stop) => stop >= largest)
  const stops = all.slice(first, last + 1)
  return stops.length > 1 ? stops : all.slice(first, first + 2)
}

/** 1, 2, 2.5 or 5 times a power of ten, at or above the given step. */
function roundStep(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step))
  const factor = [1, 2, 2.5, 5, 10].find((one) => one * power >= step * (1 - 1e-9)) as number
  return Number((factor * power).toPrecision(12))
}

/** A tick as one reads it: `1,000`, `0.5`. */
export function tickText(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 4 })
}
