/** Of the rounds. */
export type Spread = Readonly<Record<'median' | 'min' | 'max', number>>

/** The spread of the finite values; NaN thrice where there is none. */
export function spread(values: readonly number[]): Spread {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b)
  const at = (index: number) => sorted[index] ?? Number.NaN
  const middle = (sorted.length - 1) / 2
  const median = (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2
  return { median, min: at(0), max: at(sorted.length - 1) }
}

/**
 * The spread of the ratios taken round by round. Contenders of one round ran within seconds of each other, so a
 * machine that is slow for a minute falls out of the ratio; a ratio of medians would keep it.
 */
export function ratios(of: readonly number[], to: readonly number[]): Spread {
  return spread(of.map((value, round) => value / (to[round] ?? Number.NaN)))
}

/** Straight line through the points by least squares; NaN where fewer than two levels were measured. */
export function fitLine(points: readonly (readonly [x: number, y: number])[]) {
  const finite = points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y))
  const mean = (pick: 0 | 1) => finite.reduce((sum, point) => sum + point[pick], 0) / finite.length
  const [mx, my] = [mean(0), mean(1)]
  const above = finite.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0)
  const below = finite.reduce((sum, [x]) => sum + (x - mx) ** 2, 0)
  const slope = above / below
  return { intercept: my - slope * mx, slope }
}
