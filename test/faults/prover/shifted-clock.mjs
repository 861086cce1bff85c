/**
 * Preloaded into an instance (`node --import`): its clock is off by as many milliseconds as the file
 * CLOCK_FOLDER/<PORT> holds now. What the code asks for is shifted (Date); the monotonic clock and timers go on, as they
 * do when a machine's clock is corrected.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const file = join(process.env.CLOCK_FOLDER, process.env.PORT)
const LOOK_EVERY_MS = 20
const RealDate = Date
let offsetMs = 0

function look() {
  try {
    offsetMs = Number(readFileSync(file, 'utf8')) || 0
  } catch {
    // Not there: not shifted.
  }
}

look()
setInterval(look, LOOK_EVERY_MS).unref()

// biome-ignore lint/suspicious/noShadowRestrictedNames: it stands in for Date, its name included.
globalThis.Date = class Date extends RealDate {
  constructor(...parts) {
    if (parts.length === 0) super(RealDate.now() + offsetMs)
    else super(...parts)
  }

  static now() {
    return RealDate.now() + offsetMs
  }
}
