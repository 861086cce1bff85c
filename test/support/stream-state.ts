import type { StreamHead, StreamPage } from '../../src/event.ts'

/** A stream's state for tests of what reads it: empty, and with the time of each event being its number. */
export function headOf(known: Partial<StreamHead> = {}): StreamHead {
  const { head = 0, oldest = 1, read = 0 } = known
  return {
    epoch: 'e1',
    head,
    headTime: head === 0 ? undefined : head,
    oldest,
    trimmedTime: oldest === 1 ? undefined : oldest - 1,
    read,
    readTime: read === 0 ? undefined : read,
    ...known,
  }
}

/** A page with these numbers, after the number `after`; the time of each event is its number. */
export function pageOf(after: number, seqs: readonly number[], known: Partial<StreamPage> = {}): StreamPage {
  return {
    ...headOf({ head: seqs.at(-1) ?? after, ...known }),
    seqs,
    times: seqs,
    bodies: seqs.map((seq) => (seq === after ? '' : bodyOf(seq))),
    complete: true,
    ...known,
  }
}

/** A body as glimpse.append() writes it. */
export function bodyOf(seq: number, data: unknown = {}): string {
  return `{"seq":${seq},"type":"test.made","data":${JSON.stringify(data)},"timestamp":"2026-01-01T00:00:00.000Z"}`
}
