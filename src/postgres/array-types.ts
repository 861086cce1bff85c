/** Object ids of the array types that statements are given (pg_type.dat; they are the same in every database). */
const INT4S = 1007
const TEXTS = 1009
const INT8S = 1016
const UUIDS = 2951

/** How the driver sends the arrays of our statements, for one that does not ask the server for its types. */
export const ARRAYS = {
  to: TEXTS,
  from: [INT4S, TEXTS, INT8S, UUIDS],
  serialize: arrayText,
  parse(): never {
    throw new Error('no statement reads an array')
  },
}

/** The text of a one-dimensional array without nulls (PostgreSQL manual, "Array Input and Output Syntax"): `{"a","b"}`. */
export function arrayText(elements: readonly (string | number)[]): string {
  return elements.length === 0 ? '{}' : `{"${elements.map(escaped).join('","')}"}`
}

function escaped(element: string | number): string {
  const text = String(element)
  // Looking first takes a third of the time, and hardly any has one.
  return /["\\]/.test(text) ? text.replace(/["\\]/g, '\\$&') : text
}
