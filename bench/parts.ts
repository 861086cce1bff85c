import { delivery } from './delivery.ts'
import { idle } from './idle.ts'
import { latency } from './latency.ts'
import type { BenchPart } from './report/part.ts'
import type { Part } from './report/results.ts'
import { scale } from './scale.ts'
import { storm } from './storm.ts'
import { writes } from './writes.ts'

export const BENCH: Readonly<Record<Part, BenchPart>> = { writes, delivery, latency, idle, storm, scale }
