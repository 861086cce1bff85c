/** Object ids of the types of our parameters (pg_type.dat; the same in every database). */
const BOOL = 16
const INT4S = 1007
const TEXTS = 1009
const INT8S = 1016
const UUIDS = 2951

/**
 * How the driver sends our parameters; it does not ask the server for types. Each serialiser also accepts its own result:
 * when a prepared statement is lost, the driver retries with parameters that it has already serialised in place (README.md in
 * this folder, row 1).
 */
export const TYPES = {
  arrays: {
    to: TEXTS,
    from: [INT4S, TEXTS, INT8S, UUIDS],
    serialize: (value: readonly (string | number)[] | string) =>
      typeof value === 'string' ? value : arrayText(value),
    parse(): never {
      throw new Error('no statement reads an array')
    },
  },
  booleans: {
    to: BOOL,
    from: [BOOL],
    serialize: (value: boolean | string) => (value === true || value === 't' ? 't' : 'f'),
    parse: (text: string) => text === 't',
  },
}

/** The text of a one-dimensional array without nulls (PostgreSQL manual, "Array Input and Output Syntax"): `{"a","b"}`. */
export function arrayText(elements: readonly (string | number)[]): string {
  return elements.length === 0 ? '{}' : `{"${elements.map(escaped).join('","')}"}`
}

function escaped(element: string | number): string {
  const text = String(element)
  // Testing first takes a third of the time, and hardly any text has such a character.
  return /["\\]/.test(text) ? text.replace(/["\\]/g, '\\$&') : text
}
