import postgres from 'postgres'

/**
 * The storage of the app one would write first: one INSERT a view, a row trigger that calls pg_notify
 * (insert-per-request.sql). It listens to its own channel, as such an app must to reach its clients, and counts.
 */
const sql = postgres(process.env.DATABASE_URL ?? '', { max: 20 })
let heard = 0
await sql.listen('story_events', () => {
  heard += 1
})

export function heardSoFar(): number {
  return heard
}

export async function postStory(user: string): Promise<object> {
  const [story] =
    await sql`INSERT INTO stories (author_id) VALUES (${user}) RETURNING id, author_id, created_at, expires_at`
  return story as object
}

export async function recordView(story: string, user: string): Promise<object> {
  const [view] = await sql<{ viewed_at: Date }[]>`
    INSERT INTO story_views (story_id, viewer_id) VALUES (${story}, ${user})
    ON CONFLICT DO NOTHING RETURNING viewed_at`
  return {
    story_id: story,
    viewer_id: user,
    viewed_at: view?.viewed_at ?? null,
    recorded: view !== undefined,
  }
}
