import { readConnection, urlOf } from './connection.ts'
import { findLayout } from './layout.ts'
import { findPostmaster } from './postmaster.ts'

/** The URL of the embedded Postgres that runs on DATA_DIR; undefined if none does. Starts and changes nothing. */
export async function runningUrl(dataDir: string): Promise<string | undefined> {
  const layout = await findLayout(dataDir)
  if (layout === undefined) return undefined
  const postmaster = await findPostmaster(layout)
  const connection = await readConnection(layout)
  if (!postmaster?.ready || connection === undefined) return undefined
  return urlOf({ ...connection, port: postmaster.port })
}
