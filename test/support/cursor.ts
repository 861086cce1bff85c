/** A cursor in its parts, as its form says: `<epoch>.<seq>` and perhaps `.<check>`. */
export function partsOf(cursor: string): { epoch: string; seq: number; check: string | undefined } {
  const [epoch = '', seq = '', check] = cursor.split('.')
  return { epoch, seq: Number(seq), check }
}
