import type { Part, PartResults } from './results.ts'
import type { Section } from './section.ts'
import { deliverySection } from './sections/delivery.ts'
import { idleSection } from './sections/idle.ts'
import { latencySection } from './sections/latency.ts'
import { scaleSection } from './sections/scale.ts'
import { stormSection } from './sections/storm.ts'
import { writesSection } from './sections/writes.ts'

const SECTIONS: Readonly<Record<Part, (results: PartResults) => Section>> = {
  writes: writesSection,
  delivery: deliverySection,
  latency: latencySection,
  idle: idleSection,
  storm: stormSection,
  scale: scaleSection,
}

/** What the page says of one part. */
export function sectionOf(results: PartResults): Section {
  return SECTIONS[results.part](results)
}
