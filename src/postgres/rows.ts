/**
 * Rows as the server sent them. If a statement failed after some of its rows, the driver shifts the rows of the next
 * statement by as many places (README.md, row 12). Read by position, they would answer the wrong requests, and a user would
 * get the events of another.
 */
export function fromTheFirst<Rows>(rows: Rows): Rows {
  if (!Array.isArray(rows) || rows.length === 0 || 0 in rows) return rows
  rows.splice(
    0,
    rows.findIndex((_, i) => i in rows),
  )
  return rows
}
