/**
 * Rows as the server sent them. After a statement that failed in the midst of its rows, the driver puts the next one's rows
 * as many places too far back (README.md, row 12): read by position, they would be the answers to other requests, and one
 * user would be given another's events.
 */
export function fromTheFirst<Rows>(rows: Rows): Rows {
  if (!Array.isArray(rows) || rows.length === 0 || 0 in rows) return rows
  rows.splice(
    0,
    rows.findIndex((_, i) => i in rows),
  )
  return rows
}
